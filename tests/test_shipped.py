"""The shipped adapters: small, safe to load, and the page, the cards and the model cards tell the same figures."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from assistant.catalog import CARD_FILE, CONFIG_FILE, README_FILE, WEIGHTS_FILE, Score, read_adapter
from assistant.training.model_card import render

ROOT = Path(__file__).parents[1]

MOST_BYTES = 12_000_000
"""Of the weights of one adapter."""

DATA = {
    "SST-2": "sentiment/test.jsonl",
    "IMDB": "sentiment/transfer_imdb.jsonl",
    "XQuAD English": "qa/test.jsonl",
    "SciTLDR": "summarisation/test.jsonl",
    "PolicyQA": "legal/policyqa_test.jsonl",
    "clauses in plain English": "legal/plain_english_test.jsonl",
    "Davidson et al.": "moderation/test.jsonl",
    "PubMedQA": "medical/pubmedqa_test.jsonl",
    "MedQuAD": "medical/medquad_test.jsonl",
}
"""What cards say for the test data, by the words that the page's table begins with."""

METRICS = {"accuracy": "accuracy", "exact match": "em", "F1": "f1", "macro F1": "f1", "ROUGE-L": "rouge_l"}

NOT_ON_A_CARD = {("instruct", "each of these")}
"""Rows without a figure: they point to a table of their own."""

FIGURE = re.compile(r"([\d.]+) %(?: \[([\d.]+), ([\d.]+)\])?")


def shipped() -> list[Path]:
    """Those that git knows, for a user's own lie beside them; in a copy without git all that are there."""
    pattern = f"adapters/*/{CARD_FILE}"
    try:
        told = subprocess.run(["git", "ls-files", pattern], cwd=ROOT, capture_output=True, text=True, check=True)
        cards = [ROOT / line for line in told.stdout.splitlines()]
    except (OSError, subprocess.CalledProcessError):
        cards = list(ROOT.glob(pattern))
    return sorted(card.parent for card in cards if (card.parent / WEIGHTS_FILE).is_file())


SHIPPED = shipped()


def measured() -> list[tuple[str, str, str, str, str]]:
    """The rows of the page's table of measured adapters: name, data, measure, the base's figure, the adapter's."""
    section = (ROOT / README_FILE).read_text(encoding="utf-8").partition("\n## Measured\n")[2]
    lines = [line for line in section.partition("\n\n|")[2].partition("\n\n")[0].splitlines()[2:] if line]
    rows, name, data = [], "", ""
    for line in lines:
        first, second, measure, base, adapter = (cell.strip() for cell in line.strip()[1:-1].split("|"))
        # What is left empty is as in the row above.
        name, data = first.partition(" ")[0].strip("`") or name, re.split("[,;]", second)[0] or data
        rows.append((name, data, measure, base, adapter))
    return rows


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_shipped_adapter_is_small_and_says_where_its_figures_come_from(folder: Path) -> None:
    assert read_adapter(folder).is_usable
    assert {path.name for path in folder.iterdir()} == {CARD_FILE, CONFIG_FILE, README_FILE, WEIGHTS_FILE}
    assert (folder / WEIGHTS_FILE).stat().st_size <= MOST_BYTES
    card = json.loads((folder / CARD_FILE).read_text(encoding="utf-8"))
    assert (folder / README_FILE).read_text(encoding="utf-8") == render(folder.name, card)
    assert card["scores"]
    for score in card["scores"]:
        assert all(score[name] for name in ("command", "commit", "date", "data")), score


@pytest.mark.parametrize("row", measured(), ids=lambda row: " ".join(row[:3]).strip())
def test_figures_of_the_page_are_those_of_the_cards(row: tuple[str, str, str, str, str]) -> None:
    name, data, measure, base, adapter = row
    if (name, data) in NOT_ON_A_CARD:
        assert not FIGURE.search(base + adapter)
        return
    score = score_of(name, data, measure)
    shown = FIGURE.match(adapter)
    assert shown is not None
    for figure, value in zip(shown.groups(), (score.value, score.low, score.high), strict=True):
        assert agrees(figure, value)
    of_base = FIGURE.match(base)
    # Cards keep no interval of the base's figure.
    assert of_base is not None and agrees(of_base[1], score.base)


def test_every_shipped_adapter_that_answers_is_on_the_page() -> None:
    named = {name for name, *_ in measured()}
    assert named == {folder.name for folder in SHIPPED if not read_adapter(folder).is_reward}


def score_of(name: str, data: str, measure: str) -> Score:
    """The figure on the card, asked as users ask; there is exactly one."""
    card = read_adapter(ROOT / "adapters" / name).card
    [score] = [
        score
        for score in card.scores
        if score.metric == METRICS[measure] and score.data.endswith(DATA[data])
        if score.mode in (None, "tuned") and score.constraint is None
    ]
    return score


def agrees(shown: str | None, value: float | None) -> bool:
    """Whether a share is what is shown of it in per cent: no more than half a unit of the last place away."""
    if shown is None or value is None:
        return shown is None and value is None
    return abs(100 * value - float(shown)) <= 0.5 * 10.0 ** -len(shown.partition(".")[2]) + 1e-9
