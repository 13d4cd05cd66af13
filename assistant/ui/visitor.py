"""Who is looking: a random id that the browser keeps, and the conversation that is open there."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

import gradio as gr

# Gradio hands this key to every browser that opens the page, so it hides nothing from anyone. It is fixed
# because what a browser has kept could otherwise not be read after a restart.
STORAGE_KEY = "swapboard"


@dataclass(frozen=True)
class Visitor:
    """`conversation` is empty where a new one is about to begin."""

    owner: str
    conversation: str = ""

    @property
    def kept(self) -> dict[str, str]:
        """What the browser keeps."""
        return {"owner": self.owner, "conversation": self.conversation}


def read_visitor(kept: Any) -> Visitor:
    """The visitor whom the browser remembers, or a new one."""
    known = kept if isinstance(kept, dict) else {}
    owner, conversation = known.get("owner"), known.get("conversation")
    if not isinstance(owner, str) or not owner:
        return Visitor(secrets.token_urlsafe(24))
    return Visitor(owner, conversation if isinstance(conversation, str) else "")


def browser_state() -> gr.BrowserState:
    return gr.BrowserState({}, storage_key=STORAGE_KEY, secret=STORAGE_KEY)
