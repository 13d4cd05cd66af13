from __future__ import annotations

import pytest

from assistant.routing.clauses import quotations, read_request


@pytest.mark.parametrize(
    ("text", "asks", "material"),
    [
        ("summarise this: the mill burned", ["summarise this"], "the mill burned"),
        ("tldr\n\nthe mill burned. twice.", ["tldr"], "the mill burned. twice."),
        ("Context: It rained.\n\nQuestion: Did it rain?", ["Did it rain?"], "It rained."),
        ("Question: Did it rain?\n\nContext: It rained.", ["Did it rain?"], "It rained."),
        ("It rained in Lund.\n\nWhere did it rain?", ["Where did it rain?"], "It rained in Lund."),
        ("Review: Not bad at all.\nSentiment?", ["Sentiment?"], "Not bad at all."),
        ("A dull, overlong film.", [], "A dull, overlong film."),
        ("What a wonderful film!", [], "What a wonderful film!"),
        ("what is 2+2", ["what is 2+2"], ""),
        ("my knee hurts, what should I do", ["my knee hurts, what should I do"], ""),
        ("summarise this and then translate it: a b c", ["summarise this", "translate it"], "a b c"),
        ("1. summarise this\n2. translate it\n\nText: a\nb", ["summarise this", "translate it"], "a\nb"),
        ("For the text below: 1) is it rude 2) translate it\n\na b c", ["is it rude", "translate it"], "a b c"),
        ("Read this and tell me if it is rude: a b c", ["Read this, tell me if it is rude"], "a b c"),
        (
            "Summarise it. It was cold. Why go? It was wet.\n\nAlso tell me whether it is positive.",
            ["Summarise it.", "tell me whether it is positive"],
            "It was cold. Why go? It was wet.",
        ),
        (
            "Is this kind: why would you say that? tell me a joke",
            ["Is this kind"],
            "why would you say that? tell me a joke",
        ),
    ],
)
def test_message_is_taken_apart(text: str, asks: list[str], material: str) -> None:
    request = read_request(text)
    assert [ask.rstrip(".") for ask in request.asks] == [ask.rstrip(".") for ask in asks]
    assert request.material == material


def test_quotation_inside_an_ask_stays_with_it() -> None:
    request = read_request('How is a sprain treated? Also translate "I twisted my ankle" into Italian.')
    assert request.asks == ("How is a sprain treated?", 'translate "I twisted my ankle" into Italian')
    assert [quotations(ask) for ask in request.asks] == [[], ["I twisted my ankle"]]
    assert request.material == ""


def test_short_quotation_is_a_word_the_ask_speaks_of() -> None:
    assert quotations('What does "force majeure" mean?') == []


def test_line_breaks_and_paragraphs_of_the_material_are_kept() -> None:
    assert read_request("Summarise this:\n\none\ntwo\n\nthree").material == "one\ntwo\n\nthree"


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "unit", ["a ", "please ", "and then ", "'a b c' ", '"', "is it? ", "\n", "1) ", "a: ", "\n\n- ", ", and "]
)
def test_long_messages_are_read_in_little_time(unit: str) -> None:
    read_request(unit * 20_000)


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "text", ["“" * 200_000, "«" * 200_000, "'a " * 66_000, "what is " + "plus " * 40_000], ids=["“", "«", "'a", "plus"]
)
def test_quotations_that_never_end_and_endless_sums_are_read_in_little_time(text: str) -> None:
    read_request(text)


def test_a_quotation_does_not_reach_over_the_next_opening_mark() -> None:
    assert quotations("Translate “a lamp and «the old mill burned»") == ["the old mill burned"]
    assert quotations("Translate “a lamp “the old mill burned”") == ["the old mill burned"]


def test_a_sentence_of_very_many_parts_is_one_ask() -> None:
    text = "what is " + "and what is a mill " * 40
    assert read_request(text).asks == (text.strip(),)


@pytest.mark.timeout(5)
@pytest.mark.parametrize("blank", [" ", "\t", "\n", " \n"])
@pytest.mark.parametrize(
    "after", ["what it says", "and tell me a joke", ", tell me a joke", "1) tell me a joke", "- a b c"]
)
def test_long_runs_of_blanks_are_read_in_little_time(blank: str, after: str) -> None:
    read_request(f"Summarise this{blank * 20_000}{after}")
