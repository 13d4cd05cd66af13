"""How somebody is asked: prompts that would not be seen whole are refused before anything is asked."""

from __future__ import annotations

import pytest

from assistant.catalog import Card
from assistant.errors import EvaluationError
from assistant.messages import PromptTemplate
from eval.measure import Asked, choose_prompts
from eval.tasks.registry import TASKS
from eval.tasks.sentiment import SENTIMENT

SINGLE = Card(template=PromptTemplate(system="Judge.", single_turn=True))
CHATTING = Card(template=PromptTemplate(system="Judge."))
REVIEWS = SENTIMENT.load(None)


def test_earlier_turns_are_not_measured_of_an_adapter_that_is_shown_the_last_only() -> None:
    message = (
        r"prompt 'turns-8' of mode few-shot has 17 messages, and 'mood' is shown the last one only.*allowed for "
        r"sentiment in this mode: list-8$"
    )
    with pytest.raises(EvaluationError, match=message):
        choose_prompts(SENTIMENT, REVIEWS, Asked("mood", "few-shot", SINGLE), [])
    [prompt] = choose_prompts(SENTIMENT, REVIEWS, Asked("mood", "few-shot", SINGLE), ["list-8"]).values()
    assert prompt.name == "list-8"


def test_where_no_prompt_of_a_mode_is_one_message_the_error_says_so() -> None:
    qa = TASKS["qa"]
    with pytest.raises(EvaluationError, match=r"'turns-short'.*allowed for qa in this mode: none"):
        choose_prompts(qa, qa.load(None), Asked("short", "few-shot", SINGLE), [])


@pytest.mark.parametrize("card", [None, Card(), CHATTING], ids=["base", "no template", "chats"])
def test_others_are_shown_every_turn(card: Card | None) -> None:
    [prompt] = choose_prompts(SENTIMENT, REVIEWS, Asked("any", "few-shot", card), []).values()
    assert prompt.name == "turns-8"


@pytest.mark.parametrize("mode", ["prompt", "tuned"])
def test_a_system_message_is_no_turn_of_its_own(mode: str) -> None:
    for task in TASKS.values():
        items = task.load(None)
        chosen = choose_prompts(task, items, Asked("short", mode, SINGLE), [])  # type: ignore[arg-type]
        assert {prompt.mode for prompt in chosen.values()} == {mode}
