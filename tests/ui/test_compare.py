"""What the Compare tab computes beside the event loop."""

from __future__ import annotations

from types import SimpleNamespace

import gradio as gr

from assistant.ui import board as board_module
from assistant.ui import compare_view as view
from assistant.ui.board import from_record
from assistant.ui.compare import CompareTab
from tests.threads import threads_of
from tests.ui.test_compare_view import answered, part, record, request

RECORD = record(
    answered(0, 0, part("Ann did")), answered(1, 1, part("Bob did")), request=request(references=["Ann"]).record()
)


def tab() -> CompareTab:
    store = SimpleNamespace(comparison=lambda id, owner: RECORD)
    made = CompareTab(SimpleNamespace(comparator=SimpleNamespace(service=None, store=store)), None)
    with gr.Blocks():
        made.parts.build()
    return made


async def test_scores_are_computed_beside_the_event_loop(monkeypatch):
    made, threads = tab(), threads_of(monkeypatch, board_module, "score")
    shown = await made._answers(from_record(RECORD))
    assert "ROUGE-L" in shown[made.parts.columns[0]] and threads == ["asyncio", "asyncio"]


async def test_what_differs_is_found_beside_the_event_loop(monkeypatch):
    made, threads = tab(), threads_of(monkeypatch, view, "difference")
    assert "<del>Ann</del> did" in await made.verdicts._differ({"owner": "me"}, RECORD.id, 0, 1)
    assert threads == ["asyncio"]
