"""Votes as training data, over cases made by hand."""

from __future__ import annotations

import pytest

from assistant.feedback.pairs import is_test, labelled, pairs
from assistant.messages import Message
from tests.feedback.cases import case, rating_case


def triples(cases) -> list[tuple[str, str, float]]:
    return [(pair.chosen, pair.rejected, round(pair.weight, 6)) for pair in pairs(cases)]


def test_a_ranking_of_three_gives_its_three_pairs_a_third_each():
    assert triples([case(["a", "b", "c"], ranks=(2, 1, 3))]) == [
        ("a", "c", round(1 / 3, 6)),
        ("b", "a", round(1 / 3, 6)),
        ("b", "c", round(1 / 3, 6)),
    ]


@pytest.mark.parametrize("count", [2, 3, 4, 5, 6])
def test_every_ranking_counts_the_same(count):
    answers = [f"answer {number}" for number in range(count)]
    found = pairs([case(answers, ranks=range(1, count + 1))])
    assert len(found) == count * (count - 1) // 2
    assert sum(pair.weight for pair in found) == pytest.approx(1)


def test_ties_give_no_pair_and_leave_their_weight_to_the_others():
    assert triples([case(["a", "b", "c"], ranks=(1, 1, 2))]) == [("a", "c", 0.5), ("b", "c", 0.5)]
    assert pairs([case(["a", "b"], ranks=(1, 1))]) == []


def test_failed_answers_and_the_same_words_give_no_pair():
    assert triples([case(["a", "", "c"], ranks=(2, 0, 1))]) == [("c", "a", 1.0)]
    assert pairs([case(["a", "a"], ranks=(1, 2))]) == []


@pytest.mark.parametrize(
    ("answers", "ranks", "told"),
    [
        (["a", "a", "b"], (1, 1, 2), [("a", "b", 1.0)]),
        (["a", "b", "a", "c"], (1, 2, 1, 2), [("a", "b", 0.5), ("a", "c", 0.5)]),
        (["a", "b", "a"], (1, 2, 3), []),
        (["a", "b", "a", "c"], (1, 2, 3, 4), [("a", "c", 0.5), ("b", "c", 0.5)]),
    ],
)
def test_answers_in_the_same_words_are_one_and_what_contradicts_itself_is_no_pair(answers, ranks, told):
    assert triples([case(answers, ranks)]) == told


@pytest.mark.parametrize("verdict", ["all_bad", "skipped"])
def test_verdicts_without_an_order_give_no_pair(verdict):
    assert pairs([case(["a", "b"], verdict=verdict)]) == []


def test_a_correction_is_better_than_the_answer():
    (pair,) = pairs([rating_case("4", correction="5")])
    assert (pair.chosen, pair.rejected, pair.source, pair.weight) == ("5", "4", "correction", 1.0)
    assert pair.rejected_adapter == "mood" and pair.chosen_adapter == ""
    assert pairs([rating_case("4", correction="4")]) == []


def test_what_several_voters_say_alike_is_one_pair_with_the_sum_of_the_weights():
    (pair,) = pairs([case(["a", "b"], ranks=(1, 2), voter=voter) for voter in ("ann", "bob")])
    assert (pair.weight, pair.votes) == (2.0, 2)


def test_a_voter_who_judged_the_same_texts_twice_counts_once_and_last():
    old, new = case(["a", "b"], ranks=(1, 2), day=1), case(["b", "a"], ranks=(1, 2), day=2)
    assert triples([old, new]) == triples([new, old]) == [("b", "a", 1.0)]


def test_voters_who_contradict_each_other_leave_two_pairs():
    found = pairs([case(["a", "b"], ranks=(1, 2)), case(["a", "b"], ranks=(2, 1), voter="bob")])
    assert {(pair.chosen, pair.rejected) for pair in found} == {("a", "b"), ("b", "a")}


def test_another_prompt_is_another_pair():
    assert len(pairs([case(["a", "b"], ranks=(1, 2), question=text) for text in ("one", "two")])) == 2


@pytest.mark.parametrize(
    ("fields", "label"),
    [
        ({"thumb": True}, True),
        ({"thumb": False, "scales": {"fluency": 5}}, False),
        ({"scales": {"fluency": 5, "relevance": 3}}, True),
        ({"scales": {"fluency": 2}}, False),
        ({"scales": {"fluency": 3}}, None),
        ({"comment": "hm"}, None),
    ],
)
def test_thumbs_and_clear_scales_label_an_answer(fields, label):
    assert [one.label for one in labelled([rating_case("4", **fields)])] == ([] if label is None else [label])


def test_labels_are_merged_as_pairs_are():
    cases = [
        rating_case("4", thumb=True, day=1),
        rating_case("4", thumb=False, day=2),
        rating_case("4", thumb=True, voter="bob"),
        rating_case("4", thumb=True, voter="eve"),
    ]
    assert sorted((one.label, one.votes) for one in labelled(cases)) == [(False, 1), (True, 2)]


def test_raw_text_gives_neither_pairs_nor_labels():
    raw = rating_case("4", thumb=True, correction="5", is_chat=False)
    assert pairs([raw]) == [] and labelled([raw]) == []


def prompt(text: str) -> tuple[Message, ...]:
    return (Message(role="user", content=text),)


def test_the_split_is_by_prompt_and_stays():
    prompts = [prompt(f"question {number}") for number in range(4000)]
    sides = [is_test(one, 0.2) for one in prompts]
    assert 0.18 < sum(sides) / len(sides) < 0.22
    assert sides == [is_test(one, 0.2) for one in prompts]
    # A larger share only adds prompts to the test part.
    assert all(is_test(one, 0.5) for one, side in zip(prompts, sides, strict=True) if side)
    assert not any(is_test(one, 0.0) for one in prompts) and all(is_test(one, 1.0) for one in prompts)


def test_the_split_does_not_mind_case_and_white_space():
    for number in range(50):
        assert is_test(prompt(f"What is {number}?"), 0.5) == is_test(prompt(f"what  IS {number}?\n"), 0.5)
