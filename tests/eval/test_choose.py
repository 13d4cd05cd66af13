"""Every prompt of the base is asked of the same records."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from eval import choose
from eval import command as running
from eval.tasks.qa import QA
from eval.tasks.sentiment import SENTIMENT
from tests.eval.test_run import Reader


def test_every_prompt_is_measured_on_the_same_drawn_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader()

    @asynccontextmanager
    async def measured_service() -> AsyncIterator[Reader]:
        yield reader

    monkeypatch.setattr(choose, "measured_service", measured_service)
    monkeypatch.setattr(running, "commit", lambda: "later" if reader.seen else "c0ffee")
    rows = [{"text": f"good {n}", "label": "positive" if n % 2 else "negative"} for n in range(20)]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    out = tmp_path / "choose.json"
    given = ["--task", "sentiment", "--data", str(tmp_path / "train.jsonl"), "--limit", "6", "--out", str(out)]
    assert choose.main(given) == 0
    prompts = SENTIMENT.measured[0].prompts
    assert len(reader.seen) == 6 * len(prompts)
    told = json.loads(out.read_text())
    assert told["commit"] == "c0ffee", "of the code that measured"
    assert [row["prompt"] for row in told["prompts"]] == [prompt.name for prompt in prompts]
    assert {row["mode"] for row in told["prompts"]} == {"prompt", "few-shot"}
    asked = [{request.messages[-1].content for request in reader.seen[n : n + 6]} for n in (0, 6)]
    assert all(len(texts) == 6 for texts in asked)


async def test_prompts_that_need_documents_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader()

    @asynccontextmanager
    async def measured_service() -> AsyncIterator[Reader]:
        yield reader

    monkeypatch.setattr(choose, "measured_service", measured_service)
    rows = await choose.ask_each(QA, QA.load(None)[:2], 1)
    assert [row["prompt"] for row in rows] == [p.name for p in QA.measured[0].prompts if p.mode != "rag"]
    assert all(request.retrieval is None for request in reader.seen)


def test_wrong_data_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "train.jsonl").write_text('{"text": "x"}')
    given = ["--task", "sentiment", "--data", str(tmp_path / "train.jsonl"), "--out", str(tmp_path / "o.json")]
    assert choose.main(given) == 1
    assert "train.jsonl:1: no field 'label'" in capsys.readouterr().err


def test_no_records_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--task", "sentiment", "--data", "unread", "--limit", "0", "--out", str(tmp_path / "o.json")]
    assert choose.main(given) == 1
    assert "--limit 0: allowed are numbers from 1" in capsys.readouterr().err
    assert not (tmp_path / "o.json").exists()
