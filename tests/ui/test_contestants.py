"""Who is compared: presets, and what the rows of the picker say."""

from __future__ import annotations

import gradio as gr
import pytest

from assistant.comparison.request import Contestant
from assistant.errors import InvalidRequest
from assistant.messages import BestOf, Decoding
from assistant.ui.contestants import (
    PRESETS,
    WIDTH,
    ContestantPicker,
    favourite,
    judges,
    preset,
    read_best_of,
    read_contestants,
    usable,
    values_of,
)
from assistant.ui.setup import EXAMPLES, read_examples, read_references, read_setup, write_references
from tests.fakes import fake_service, write_adapter
from tests.test_best_of import write_reward

ONES = (
    Contestant(mode="prompt", decoding=Decoding(temperature=0.5, seed=3, top_p=0.9, stop=("END", "###"))),
    Contestant(mode="tuned", adapter="mood", decoding=Decoding(max_tokens=9), best_of=BestOf(n=4, judge="taste")),
)


def flat(contestants) -> list[object]:
    return [value for row in values_of(contestants) for value in row]


def test_contestants_are_the_same_after_they_have_been_in_the_picker():
    assert read_contestants(2, flat(ONES)) == ONES
    assert read_contestants(2, flat(ONES))[1].decoding.model_fields_set == {"max_tokens"}


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        (2, "9", "Column 1, Prompt only: Temperature: '9'"),
        (12, None, "Column 2, Fine-tuned: pick the adapter"),
        (20, "17", "Column 2, Fine-tuned: Best of: '17' is not allowed"),
        (20, "few", "Column 2, Fine-tuned: Best of: 'few' is not allowed"),
        (21, None, "Column 2, Fine-tuned: Best of: pick the judge"),
        (13, "0", "Column 2, Fine-tuned: temperature 0 gives one answer n times"),
    ],
)
def test_a_wrong_value_is_named_with_its_column(place, value, told):
    values = flat(ONES)
    values[place] = value
    with pytest.raises(InvalidRequest, match=told):
        read_contestants(2, values)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_can_be_asked_with_an_adapter(name):
    made = read_setup(preset(name, "mood"), False, [EXAMPLES, [], 4, "", "", ""])
    assert [one.mode for one in made.contestants] == list(PRESETS[name])


def test_without_adapters_a_preset_keeps_what_the_base_can_do():
    assert {one.adapter for name in PRESETS for one in preset(name, None)} == {"base"}
    assert all(len(preset(name, None)) >= 2 for name in PRESETS)


def test_a_newcomer_starts_with_an_adapter_that_answers_questions(tmp_path):
    write_adapter(tmp_path / "mood")
    assert favourite(fake_service(tmp_path).adapters()) == "mood"
    write_adapter(tmp_path / "zebra", task="qa")
    (tmp_path / "torn").mkdir()
    statuses = fake_service(tmp_path).adapters()
    assert favourite(statuses) == "zebra" and usable(statuses) == ["mood", "zebra"]


def test_one_that_gives_rewards_judges_and_does_not_answer(tmp_path):
    write_adapter(tmp_path / "mood")
    write_reward(tmp_path / "taste")
    statuses = fake_service(tmp_path).adapters()
    assert (usable(statuses), judges(statuses)) == (["mood"], ["taste"])


@pytest.mark.parametrize("drawn", ["", " 1 ", None])
def test_one_answer_is_drawn_unless_more_are_asked_for(drawn):
    assert read_best_of(drawn, "taste") is None and read_best_of("2", "taste") == BestOf(n=2, judge="taste")


def test_the_set_up_takes_only_what_was_filled_in():
    made = read_setup(ONES, True, [[["one", "1"], ["", ""], [None, " "]], ["c"], 7, " 5 ", "  ", "taste"])
    assert (made.blind, made.seed, made.system, made.reward_by) == (True, 5, None, "taste")
    assert [one.question for one in made.examples] == ["one"]
    assert (made.retrieval.collections, made.retrieval.top_k) == (("c",), 7)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([[["one", ""]], [], 4, "", "", ""], "Worked example 1 needs both"),
        ([[], [], 4, "-1", "", ""], "Seed: '-1'"),
        ([[], [], 99, "", "", ""], "Passages: 99"),
    ],
)
def test_a_wrong_set_up_is_named(values, told):
    with pytest.raises(InvalidRequest, match=told):
        read_setup(ONES, False, values)


def test_examples_of_a_table_that_was_never_opened_are_none():
    assert read_examples(None) == ()


def test_accepted_answers_are_paragraphs():
    assert read_references("Paris\nby the Seine\n\n \nparis ") == ("Paris\nby the Seine", "paris")
    assert read_references(write_references(("a", "b"))) == ("a", "b") and read_references(None) == ()


async def test_a_field_left_empty_hints_at_what_holds_for_the_one_that_answers(tmp_path):
    write_adapter(tmp_path / "mood", decoding={"temperature": 0, "max_tokens": 9})
    statuses = fake_service(tmp_path).adapters()
    picker = ContestantPicker()
    with gr.Blocks():
        picker.build(statuses)
    updates = picker.show(values_of([Contestant(mode="prompt"), Contestant(mode="tuned", adapter="mood")]), statuses)
    told = [[updates[field]["placeholder"] for field in picker.fields[at + 2 : at + 4]] for at in (0, WIDTH)]
    assert told == [["0.7", "512"], ["0", "9"]]


async def test_settings_that_were_asked_for_are_not_folded_away(tmp_path):
    picker = ContestantPicker()
    with gr.Blocks():
        picker.build([])
    plain = [Contestant(mode="prompt"), Contestant(mode="rag", decoding=Decoding(seed=1))]
    asked = [*plain[:1], Contestant(mode="rag", decoding=Decoding(top_k=4))]
    assert picker.more not in picker.show(values_of(plain), [])
    assert picker.show(values_of(asked), [])[picker.more] is True
