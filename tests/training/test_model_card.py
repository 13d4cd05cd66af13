"""The README.md of an adapter: what it tells of card.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from assistant.catalog import CARD_FILE, README_FILE, Score
from assistant.training.model_card import render

ADAPTERS = Path(__file__).parents[2] / "adapters"


def card(name: str = "moderation") -> dict[str, Any]:
    content: dict[str, Any] = json.loads((ADAPTERS / name / CARD_FILE).read_text(encoding="utf-8"))
    return content


def scores(readme: str) -> str:
    return readme.partition("\n## Scores\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize("name", sorted(path.parent.name for path in ADAPTERS.glob(f"*/{README_FILE}")))
def test_scores_of_shipped_cards_are_rendered_as_they_lie_there(name: str) -> None:
    there = (ADAPTERS / name / README_FILE).read_text(encoding="utf-8")
    assert scores(render(name, card(name))) == scores(there)


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ({}, "0.162"),
        ({"base_date": "2026-11-21", "base_commit": "c0ffee"}, "0.162"),
        ({"base_date": "2026-11-28", "base_commit": "badcab"}, "0.162 (2026-11-28, `badcab`)"),
        ({"base_date": "2026-11-28", "base_commit": "c0ffee"}, "0.162 (2026-11-28)"),
        ({"base_date": "2026-11-21", "base_commit": "badcab"}, "0.162 (`badcab`)"),
        ({"base_date": "2026-11-28", "base_commit": None}, "0.162 (2026-11-28)"),
        ({"base_constraint": "span"}, "0.162 (held to span)"),
        ({"base_date": "2026-11-28", "base_constraint": "nothing"}, "0.162 (2026-11-28, held to nothing)"),
        ({"base": None}, "–"),
    ],
)
def test_the_base_tells_its_day_commit_and_constraint_where_they_are_not_the_scores_own(
    told: dict[str, Any], shown: str
) -> None:
    score = {"metric": "accuracy", "value": 0.828, "low": 0.8, "high": 0.86, "base": 0.162, "data": "d"}
    score |= {"command": "c", "date": "2026-11-21", "commit": "c0ffee", **told}
    row = f"| accuracy | 0.828 (0.800–0.860) | {shown} | `d` | 2026-11-21 | `c0ffee` |"
    assert row in render("moderation", {**card(), "scores": [score]}).splitlines()
    whole = Score.model_validate(score).model_dump(mode="json")
    assert row in render("moderation", {**card(), "scores": [whole]}).splitlines(), "as a card that was written now"
