"""Measured figures on an adapter's card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from assistant.catalog import Catalog
from eval import record
from tests.fakes import write_adapter
from tests.test_best_of import write_reward


@pytest.fixture
def adapters(tmp_path: Path, monkeypatch) -> Path:
    folder = tmp_path / "adapters"
    write_reward(folder / "taste")
    write_adapter(folder / "mood")
    monkeypatch.setenv("SWAPBOARD_ADAPTERS_DIR", str(folder))
    return folder


def measured(
    adapters: Path,
    name: str,
    task: str,
    count: int = 1,
    mode: str | None = None,
    constraint: str | None = None,
    command: str = "",
    date: str = "2026-11-21",
    commit: str | None = "c0ffee",
    **figures: float,
) -> Path:
    """A file as `eval.run` writes it, of one example unless told."""
    digest = None if name == "base" else Catalog(adapters).get(name).digest
    result = {
        "task": task,
        "adapter": name,
        "adapter_digest": digest,
        "base_digest": "b",
        "data": "held-out.jsonl",
        "count": count,
        "mode": mode,
        "config": {"decoding": {task: {"temperature": 0.0} | ({"constraint": constraint} if constraint else {})}},
        "metrics": {key: {"value": value, "low": value - 0.1, "high": value + 0.1} for key, value in figures.items()},
        "cost": {},
        "examples": [{"id": str(n)} for n in range(count)],
        "command": command or f"measure {name}",
        "date": date,
        "commit": commit,
    }
    path = adapters.parent / f"{name}.json"
    path.write_text(json.dumps(result), encoding="utf-8")
    return path


def test_a_reward_stands_on_its_card_beside_length_and_a_coin(adapters):
    figures = {"accuracy": 0.7, "length_accuracy": 0.6, "random_accuracy": 0.5, "above_length": 0.1, "ece": 0.05}
    path = measured(adapters, "taste", "reward", **figures)
    assert record.main([str(path)]) == 0
    scores = Catalog(adapters).get("taste").card.scores
    assert {score.metric: score.value for score in scores} == figures
    assert all(score.base is None and score.command == "measure taste" for score in scores)
    assert (scores[0].low, scores[0].high, scores[0].data) == (pytest.approx(0.6), pytest.approx(0.8), "held-out.jsonl")


def test_a_reward_is_held_against_no_base(adapters, capsys):
    path = measured(adapters, "taste", "reward", accuracy=0.7)
    base = measured(adapters, "base", "reward", accuracy=0.5)
    assert record.main([str(path), "--against", str(base)]) == 1
    assert "the base gives no rewards" in capsys.readouterr().err
    assert Catalog(adapters).get("taste").card.scores == ()


def test_any_other_adapter_stands_beside_the_base(adapters, capsys):
    path = measured(adapters, "mood", "sentiment", accuracy=0.9)
    assert record.main([str(path)]) == 1
    assert "give --against BASE.json" in capsys.readouterr().err
    base = measured(adapters, "base", "sentiment", accuracy=0.6)
    assert record.main([str(path), "--against", str(base)]) == 0
    (score,) = Catalog(adapters).get("mood").card.scores
    assert (score.value, score.base, score.command) == (0.9, 0.6, "measure base\nmeasure mood")


def test_a_score_tells_when_its_base_was_measured_and_at_which_commit(adapters):
    path = measured(adapters, "mood", "sentiment", accuracy=0.9)
    base = measured(adapters, "base", "sentiment", date="2026-11-28", commit="badcab+", accuracy=0.6)
    assert record.main([str(path), "--against", str(base)]) == 0
    (score,) = Catalog(adapters).get("mood").card.scores
    assert (score.date, score.commit) == ("2026-11-21", "c0ffee")
    assert (score.base_date, score.base_commit) == ("2026-11-28", "badcab+")
    assert record.main([str(measured(adapters, "taste", "reward", accuracy=0.7))]) == 0
    (score,) = Catalog(adapters).get("taste").card.scores
    assert (score.base_date, score.base_commit) == (None, None), "a reward has no base"


@pytest.mark.parametrize(
    ("constraint", "bases", "told"),
    [(None, None, None), ("span", "span", None), (None, "span", "span"), ("span", None, "nothing")],
)
def test_a_score_tells_what_its_base_was_held_to_where_that_is_something_else(adapters, constraint, bases, told):
    path = measured(adapters, "mood", "qa", constraint=constraint, em=0.9)
    base = measured(adapters, "base", "qa", constraint=bases, em=0.6)
    assert record.main([str(path), "--against", str(base)]) == 0
    (score,) = Catalog(adapters).get("mood").card.scores
    assert (score.constraint, score.base_constraint) == (constraint, told)


def test_a_quick_run_or_one_that_asked_otherwise_stands_beside_the_whole_one(adapters):
    """Recorded twice, each of the four is on the card once, with its latest figure."""
    ways: list[dict[str, Any]] = [
        {"count": 4, "mode": "tuned"},
        {"count": 2, "mode": "tuned"},
        {"count": 4, "mode": "rag"},
        {"count": 4, "mode": "tuned", "constraint": "span"},
    ]
    for more in (0.0, 0.05):
        for place, way in enumerate(ways):
            command = f"measure {place} {more}"
            path = measured(adapters, "mood", "qa", command=command, accuracy=place / 10 + more, **way)
            base = measured(adapters, "base", "qa", count=way["count"], accuracy=0.5)
            assert record.main([str(path), "--against", str(base)]) == 0
    scores = Catalog(adapters).get("mood").card.scores
    assert [(score.count, score.mode, score.constraint) for score in scores] == [
        (4, "tuned", None), (2, "tuned", None), (4, "rag", None), (4, "tuned", "span"),
    ]  # fmt: skip
    assert [score.value for score in scores] == pytest.approx([0.05, 0.15, 0.25, 0.35])
    assert [score.told for score in scores] == [" (4)", " (2)", " (4, rag)", " (4, held to span)"]


def test_a_score_that_does_not_tell_how_much_it_measured_is_replaced_by_the_same_command_only(adapters):
    for value, command in ((0.9, "measure all"), (0.8, "measure some"), (0.7, "measure all")):
        path = measured(adapters, "taste", "reward", command=command, accuracy=value)
        assert record.main([str(path)]) == 0
        card = adapters / "taste" / "card.json"
        content = json.loads(card.read_text())
        for score in content["scores"]:
            score.pop("count", None)
        card.write_text(json.dumps(content))
    scores = Catalog(adapters).get("taste").card.scores
    assert [(score.value, score.count, score.told) for score in scores] == [(0.8, None, ""), (0.7, None, "")]


def test_a_base_that_was_asked_in_another_way_is_refused(adapters, capsys):
    path = measured(adapters, "mood", "qa", em=0.9, retrieved=0.8)
    base = measured(adapters, "base", "qa", em=0.6)
    assert record.main([str(path), "--against", str(base)]) == 1
    refused = (
        "only one of both has retrieved; allowed: the base asked in the same way, in mode rag where the adapter was"
    )
    assert f"{refused}, and measured again where the figure is newer" in capsys.readouterr().err
    assert Catalog(adapters).get("mood").card.scores == ()


def test_figures_of_another_revision_are_refused(adapters, capsys):
    path = measured(adapters, "taste", "reward", accuracy=0.7)
    path.write_text(path.read_text().replace(Catalog(adapters).get("taste").digest, "another"), encoding="utf-8")
    assert record.main([str(path)]) == 1
    assert "another revision of 'taste'" in capsys.readouterr().err
