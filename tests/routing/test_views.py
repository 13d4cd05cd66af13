from __future__ import annotations

import pytest

from assistant.routing.views import Spelling, view


def test_frame_is_free_of_the_topic_and_says_that_material_came_along() -> None:
    seen = view("Who built the lighthouse?", "The lighthouse was built by Ana Rivas.")
    assert seen.frame == "Who … the …? (asked about the text below)"
    assert seen.is_grounded
    assert seen.whole.startswith("Who built the lighthouse? The lighthouse")


def test_ask_that_shares_no_words_with_its_material_is_not_grounded() -> None:
    seen = view("Is this positive or negative?", "The soup was cold.")
    assert not seen.is_grounded
    assert seen.has_material


def test_bare_material_is_compared_as_it_stands() -> None:
    seen = view("", "An absolute delight.")
    assert (seen.frame, seen.whole, seen.is_ask) == ("An absolute delight.", "An absolute delight.", False)


@pytest.mark.timeout(15)
def test_a_long_ask_is_seen_in_little_time() -> None:
    words = " ".join(f"w{number}" for number in range(80_000))
    assert view(f"Which of {words} is it?", words).is_grounded


def test_names_for_a_text_are_all_one_in_a_frame() -> None:
    assert view("Summarise this feedback", "").frame == view("Summarise this article", "").frame


@pytest.mark.parametrize(
    ("written", "corrected"),
    [("clasify", "classify"), ("Sentimant", "sentiment"), ("contact", "contact"), ("letter", "letter"), ("a", "a")],
)
def test_only_vowels_and_doubled_letters_are_put_right(written: str, corrected: str) -> None:
    assert Spelling(["classify the sentiment of this contract", "later"]).corrected(written) == corrected
