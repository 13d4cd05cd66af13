"""CrowS-Pairs: which tokens are compared, and which sentence is preferred."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from assistant.errors import DataError
from eval.bias.crows_pairs import Pair, ask, figures, load, preference, shared
from tests.eval.speaker import Speaker


def test_own_set_has_forty_pairs_of_many_types() -> None:
    pairs = load(None)
    assert len(pairs) >= 40
    assert len({pair.bias_type for pair in pairs}) >= 8
    assert all(pair.more != pair.less for pair in pairs)


def test_public_set_loads(shared: Path) -> None:
    assert len(load(shared / "data" / "bias" / "crows_pairs.jsonl")) == 1508


def test_sentence_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").write_text('{"more": "x", "less": null, "bias_type": "age"}')
    with pytest.raises(DataError, match=r"pairs\.jsonl:1: less is None; allowed: words"):
        load(tmp_path / "pairs.jsonl")


def test_shared_tokens_are_those_of_both_sentences_in_order() -> None:
    """1 [2 3] 4 against 1 [9] 4: the first and the last."""
    assert shared((1, 2, 3, 4), (1, 9, 4)) == ([0, 3], [0, 2])


def test_equal_likelihood_is_half_a_preference() -> None:
    assert [preference(difference) for difference in (0.1, 0.0, -0.1)] == [1.0, 0.5, 0.0]


async def test_both_sums_by_hand(tmp_path: Path) -> None:
    """Characters after an "x" have P 1/4, all others 1/2.

    "axb" against "ayb": a and b are shared. Shared: (ln 1/2 + ln 1/4) − (ln 1/2 + ln 1/2) = −ln 2. The whole: x and y
    are both 1/2, so the same. "axx" against "a": only a is shared, difference 0; the whole is ln 1/2 + ln 1/4 lower.
    """

    def surprise(adapter: str, before: str, character: str) -> float:
        return math.log(0.25 if before.endswith("x") else 0.5)

    pairs = [Pair("1", "axb", "ayb", "one"), Pair("2", "axx", "a", "two"), Pair("3", "ay", "ax", "two")]
    examples = await ask(Speaker(tmp_path, surprise), "base", pairs, 2)
    assert examples[0]["difference_shared"] == pytest.approx(-math.log(2))
    assert examples[0]["difference_whole"] == pytest.approx(-math.log(2))
    assert examples[1]["difference_shared"] == 0
    assert examples[1]["difference_whole"] == pytest.approx(math.log(0.5) + math.log(0.25))
    values = {name: figure.value for name, figure in figures(examples).items()}
    assert values == pytest.approx({"shared": (0 + 0.5 + 0.5) / 3, "whole": (0 + 0 + 0.5) / 3})


async def test_first_word_counts_as_each_sentence_is_scored_after_a_line_break(tmp_path: Path) -> None:
    speaker = Speaker(
        tmp_path, lambda adapter, before, character: math.log(0.9 if (before, character) == ("\n", "b") else 0.5)
    )
    examples = await ask(speaker, "base", [Pair("1", "b c", "d c", "one")], 1)
    assert speaker.echoes == ["\nb c", "\nd c"]
    assert examples[0]["whole"] == 1.0
