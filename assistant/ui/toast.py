"""Short messages over the page."""

from __future__ import annotations

import html

import gradio as gr

from assistant.errors import SwapboardError


def tell(message: str | SwapboardError, title: str = "That did not work") -> None:
    """Warn. Gradio shows a toast as HTML, and names from outside may be part of it."""
    gr.Warning(html.escape(str(message)), title=title, duration=12)


def inform(message: str, title: str = "Done") -> None:
    gr.Info(html.escape(message), title=title, duration=5)
