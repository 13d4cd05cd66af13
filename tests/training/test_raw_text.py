"""Raw text: how it is cut, what is refused, and that it is learnt before the task."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from assistant.errors import DataError
from assistant.prompt import Prompter
from assistant.training import course, run
from assistant.training.raw_text import raw_examples
from tests.tiny import tokenizer
from tests.training.harness import command


def test_documents_are_cut_into_pieces_that_predict_all_but_their_first_token(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("abcdefgh\n")
    (tmp_path / "b.jsonl").write_text(json.dumps({"title": "x", "body": "y", "other": "z"}))
    prompter = Prompter(tokenizer())
    paths = [tmp_path / "a.txt", tmp_path / "b.jsonl"]
    pieces = raw_examples(paths, ["title", "body"], prompter, max_tokens=4)
    texts = [prompter.tokenizer.decode([*piece.prompt, *piece.answer]) for piece in pieces]
    # The end-of-turn token would be alone in a third piece of the first document, where it predicts nothing.
    assert texts == ["abcd", "efgh", "x\n\ny"]
    whole = raw_examples(paths[:1], [], prompter, max_tokens=9)
    assert prompter.tokenizer.decode(list(whole[0].answer)) == "bcdefgh<|end|>"
    assert all(len(piece.prompt) == 1 for piece in pieces)


@pytest.mark.parametrize(
    ("name", "content", "fields", "fault"),
    [
        ("none.txt", "  \n", [], r"none\.txt: empty"),
        ("bad.jsonl", '{"text": "x"}\n{"other": "x"}', ["text"], r"bad\.jsonl:2: text is None"),
        ("bad.jsonl", '{"text": "x"}', [], "need --raw-fields"),
        ("bad.jsonl", "{", ["text"], r"bad\.jsonl:1: no JSON"),
    ],
)
def test_bad_raw_text_is_named(tmp_path: Path, name: str, content: str, fields: list[str], fault: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=fault):
        raw_examples([tmp_path / name], fields, Prompter(tokenizer()), 10)


def test_absent_raw_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.txt: cannot be read"):
        raw_examples([tmp_path / "absent.txt"], [], Prompter(tokenizer()), 10)


def test_raw_text_is_trained_on_first_and_not_again_after_a_kill(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "corpus.txt").write_text("a long film about a good dog. " * 20)
    options = {"raw-text": "corpus.txt", "raw-epochs": 2, "max-tokens": 300}
    phases = []
    train_phase = course.train_phase

    def counted(*arguments: object, **others: object) -> object:
        phases.append(arguments[6])
        if len(phases) == 2:
            raise KeyboardInterrupt
        return train_phase(*arguments, **others)

    monkeypatch.setattr(course, "train_phase", counted)
    with pytest.raises(KeyboardInterrupt):
        run.main(command(**options))
    assert run.main(command(**options)) == 0
    [folder] = (place / "runs").iterdir()
    # The raw text, the task that was cut off, and the task again.
    assert phases == [Path("runs") / folder.name / "raw", *[Path("runs") / folder.name] * 2]
    report = json.loads((folder / "report.json").read_text())
    assert report["raw_steps"] == 4
    assert report["raw_loss"] > 0
    with (folder / "raw" / "loss.csv").open(newline="") as file:
        assert next(csv.DictReader(file))["validation_loss"] == ""
    assert run.main(command(**options, out="adapters/whole")) == 0
    one, other = ((place / "adapters" / n / "adapter_model.safetensors").read_bytes() for n in ("tiny", "whole"))
    assert one == other
    assert run.main(command(out="adapters/taskonly")) == 0
    assert one != (place / "adapters" / "taskonly" / "adapter_model.safetensors").read_bytes()
