"""A button that was switched off comes back, whatever went wrong."""

from __future__ import annotations

from types import SimpleNamespace

import gradio as gr

from assistant.comparison.request import Contestant, Setup
from assistant.ui import batches as batches_module
from assistant.ui.adapters import AdaptersTab
from assistant.ui.batches import BatchPanel
from tests.fakes import fake_service

REQUEST = SimpleNamespace(session_hash="s")
SETUP = Setup(contestants=(Contestant(mode="prompt"), Contestant(mode="rag")))


async def failing(*arguments: object) -> None:
    raise ZeroDivisionError("secret detail")


async def test_an_upload_that_fails_unexpectedly_is_told_and_can_be_tried_again(tmp_path, monkeypatch):
    service = fake_service(tmp_path)
    monkeypatch.setattr(service, "upload_adapter", failing)
    tab = AdaptersTab(service)
    with gr.Blocks():
        tab.build()
    *_, last = [updates async for updates in tab._upload(REQUEST, "mood.zip", "")]
    assert last[tab.upload].interactive and "Unexpected error: ZeroDivisionError" in last[tab.outcome]
    assert "secret" not in last[tab.outcome]


async def test_a_batch_that_fails_unexpectedly_is_told_and_can_be_tried_again(monkeypatch):
    told: list[str] = []
    monkeypatch.setattr(batches_module, "tell", lambda message, title: told.append(f"{title}: {message}"))
    panel = BatchPanel(SimpleNamespace(start_batch=failing))
    with gr.Blocks():
        panel.build()
    panel._sets = lambda blind: SETUP
    *_, last = [updates async for updates in panel._start({"owner": "ann"}, "one", None, "", False)]
    assert last[panel.start].interactive and told == ["Not started: unexpected error: ZeroDivisionError"]
