"""Noise: how much of it, where, and that it is the same each time."""

from __future__ import annotations

import math

import pytest

from assistant.errors import EvaluationError
from eval.noise import KINDS, WORD, noise, share_changed
from eval.noise_words import DISTRACTORS, MISSPELLINGS, NEIGHBOURS, SLANG

TEXT = (
    "I Am Going To Tell My Friends That The Film Was Really Beautiful Because Of The People Who Wrote And Performed It"
)
WORDS = TEXT.removeprefix("I Am Going To Tell ")
"""18 words; what misspellings and slang change in them they change one word by one."""
TEXTS = [f"{TEXT}, and this is visit {number} to the cinema" for number in range(300)]


def gaps(text: str) -> set[int]:
    """Where a text has spaces, by how many other characters stand before."""
    places = [0]
    for character in text:
        places.append(places[-1] + (character != " "))
    return {place for place, character in zip(places, text, strict=False) if character == " "}


@pytest.mark.parametrize("kind", KINDS)
def test_rate_zero_is_the_text_itself_and_rate_one_is_not(kind: str) -> None:
    for text in (TEXT, "", "  odd \n spaces  "):
        assert noise(kind, text, 0, seed=1) == text
    assert noise(kind, TEXT, 1, seed=1) != TEXT


@pytest.mark.parametrize("kind", KINDS)
def test_noise_is_the_same_for_the_same_seed_and_another_for_another(kind: str) -> None:
    assert [noise(kind, text, 0.4, 3) for text in TEXTS] == [noise(kind, text, 0.4, 3) for text in TEXTS]
    assert [noise(kind, text, 0.4, 3) for text in TEXTS] != [noise(kind, text, 0.4, 4) for text in TEXTS]


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.2, 0.4, 1.0])
def test_typos_hit_the_stated_share_of_words(rate: float) -> None:
    """Of the 30 words of a text 28 have two letters or more ("I" has one, the number none)."""
    changed = [share_changed(text, noise("typos", text, rate, 0)) for text in TEXTS]
    assert sum(changed) / len(changed) == pytest.approx(rate * 28 / 30, abs=0.005)


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.2, 0.4, 1.0])
@pytest.mark.parametrize(("kind", "words"), [("misspellings", 7), ("slang", 18)])
def test_misspellings_and_slang_hit_the_stated_share_of_what_they_know(kind: str, words: int, rate: float) -> None:
    """Of the 30 words of a text 7 are ever misspelt (Friends, Was, Really, Beautiful, Because, People, cinema); slang has
    16 places, two of which are of two words (I Am, Going To)."""
    changed = [share_changed(text, noise(kind, text, rate, 0)) for text in TEXTS]
    assert sum(changed) / len(changed) == pytest.approx(rate * words / 30, abs=0.01)


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.2, 0.4, 1.0])
def test_spacing_hits_the_stated_share_of_words(rate: float) -> None:
    """Of the 30 words of a text all but two have a place: "It", a comma after it and short, and the number.

    At 0.1 that is 2.8 of the 28, so 2 or 3 in each text.
    """
    counts = [len(gaps(text) ^ gaps(noise("spacing", text, rate, 0))) for text in TEXTS]
    assert set(counts) <= {int(rate * 28), math.ceil(rate * 28)}
    assert sum(counts) / len(counts) == pytest.approx(rate * 28, abs=0.1)


@pytest.mark.parametrize("rate", [0.1, 0.4])
def test_distractors_hit_the_stated_share_of_texts_and_leave_them_whole(rate: float) -> None:
    noised = [noise("distractors", text, rate, 0) for text in TEXTS]
    assert sum(new != old for old, new in zip(TEXTS, noised, strict=True)) / 300 == pytest.approx(rate, abs=0.06)
    for old, new in zip(TEXTS, noised, strict=True):
        assert old in new
        assert new.replace(old, "").strip() in {"", *DISTRACTORS}


def test_lower_case_hits_the_stated_share_of_words_with_capitals() -> None:
    """TEXT has 22 words, each with a capital: at 0.4 that is 8.8, so 8 or 9 of them."""
    for seed in range(20):
        left = sum(word.group()[0].isupper() for word in WORD.finditer(noise("lower-case", TEXT, 0.4, seed)))
        assert 22 - left in (8, 9)


@pytest.mark.parametrize("kind", ["typos", "misspellings", "slang", "lower-case"])
def test_higher_rate_keeps_what_a_lower_one_changed(kind: str) -> None:
    """All of these have six places or more in WORDS: at 0.2 at most a third are changed, at 0.6 a half at least."""
    words = WORDS.split()
    for seed in range(20):
        low, high = (noise(kind, WORDS, rate, seed).split() for rate in (0.2, 0.6))
        assert len(low) == len(high) == len(words)
        first, then = ({n for n, word in enumerate(words) if noisy[n] != word} for noisy in (low, high))
        assert first and first < then
        assert all(high[n] == low[n] for n in first)


def test_higher_rate_keeps_the_spaces_that_a_lower_one_changed() -> None:
    for seed in range(20):
        low, high = (gaps(WORDS) ^ gaps(noise("spacing", WORDS, rate, seed)) for rate in (0.2, 0.6))
        assert low and low < high


def test_higher_rate_keeps_the_distractors_of_a_lower_one() -> None:
    low, high = ([noise("distractors", text, rate, 0) for text in TEXTS] for rate in (0.2, 0.6))
    first, then = ({n for n, text in enumerate(TEXTS) if noisy[n] != text} for noisy in (low, high))
    assert first and first < then
    assert all(high[n] == low[n] for n in first)


def test_spacing_changes_no_letter() -> None:
    for seed in range(20):
        assert noise("spacing", TEXT, 0.5, seed).replace(" ", "") == TEXT.replace(" ", "")


def test_slang_takes_the_longest_phrase_and_keeps_a_capital() -> None:
    assert noise("slang", "I am going to eat, thank you", 1, 0) == "Im gonna eat, thx"
    assert noise("slang", "You were singing", 1, 0) == "U were singin"


def test_misspelling_comes_from_the_table_or_else_from_a_rule() -> None:
    assert noise("misspellings", "Definitely a dinner", 1, 0) == "Definately a diner"


def test_share_changed_counts_words_that_are_gone() -> None:
    """Of "a b c d", "a c d" has kept three in order; "b a" of "a b" only one."""
    assert share_changed("a b c d", "a c d") == 0.25
    assert share_changed("a b", "b a") == 0.5
    assert share_changed("", "x") == 0.0


def test_tables_change_what_they_list() -> None:
    assert len(MISSPELLINGS) > 80
    assert len(SLANG) > 60
    for table in (MISSPELLINGS, SLANG):
        for plain, other in table.items():
            assert plain != other
            assert plain == plain.lower()
    assert set(NEIGHBOURS["g"]) == set("fhtyvb")


@pytest.mark.parametrize(("kind", "rate", "message"), [("shouting", 0.1, "allowed: typos"), ("typos", 1.5, "0 to 1")])
def test_unknown_kind_or_rate_is_refused(kind: str, rate: float, message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        noise(kind, "x", rate, 0)
