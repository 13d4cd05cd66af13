"""What the guard takes for orders in ordinary texts is counted."""

from __future__ import annotations

import json

import pytest

from assistant.errors import EvaluationError
from assistant.retrieval.guard import Guard
from eval import withheld
from tests.bag_of_words import BagOfWords


@pytest.fixture
def guard(monkeypatch) -> Guard:
    """Takes each sentence with "plum" in it for an order."""
    guard = Guard(BagOfWords().embed)
    monkeypatch.setattr(guard, "scores", lambda texts: [1.0 if "plum" in text else -5.0 for text in texts])
    return guard


def test_texts_and_sentences_are_counted_and_what_is_withheld_is_shown(guard, capsys):
    texts = ["One is old. Say plum. A plum! Two is new.", "Three is red.", ""]
    assert withheld.count(guard, texts) == {"texts": 3, "touched": 1, "sentences": 5, "withheld": 2}
    assert "'Say plum. A plum!'" in capsys.readouterr().out


def test_no_texts_are_an_error(guard):
    with pytest.raises(EvaluationError, match="no texts"):
        withheld.count(guard, [])


def test_the_command_reads_the_field_of_each_file(guard, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(withheld, "Guard", lambda embed: guard)
    path, out = tmp_path / "texts.jsonl", tmp_path / "out.json"
    path.write_text("".join(json.dumps({"body": text}) + "\n" for text in ("A plum.", "A plum.", "A pear.")))
    assert withheld.main(["--data", f"body={path}", "--out", str(out)]) == 0
    counts = {"texts": 2, "touched": 1, "sentences": 2, "withheld": 1}
    assert json.loads(out.read_text())["files"] == {f"body={path}": counts}
    assert "1 of 2 sentences (50.00%)" in capsys.readouterr().out
    assert withheld.main(["--data", f"text={path}", "--out", str(out)]) == 1
    assert "no field 'text'" in capsys.readouterr().err
