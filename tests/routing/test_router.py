from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from assistant.catalog import Adapter, Card, Score
from assistant.messages import BASE
from assistant.routing.router import Router, best_of, chat_examples
from tests.bag_of_words import BagOfWords

MOOD = ("Is this review positive or negative? The soup was cold.", "Classify the mood as positive or negative: so dull")
SHORT = (
    "Summarise this text: the mill has burned down twice.",
    "Summarise the following: rain fell and the river rose.",
)


def adapter(name: str, task: str, examples: tuple[str, ...], digest: str = "", **fields: object) -> Adapter:
    scores = fields.pop("scores", ())
    return Adapter(
        name=name,
        folder=Path(name),
        digest=digest or name,
        card=Card(task=task, examples=examples, scores=scores),  # type: ignore[arg-type]
        **fields,  # type: ignore[arg-type]
    )


def score(value: float, metric: str = "accuracy", data: str = "set", **told: Any) -> Score:
    return Score(metric=metric, value=value, data=data, command="measure", date="2026-01-01", **told)


@pytest.fixture
def shelf() -> list[Adapter]:
    return [adapter("mood", "sentiment", MOOD), adapter("short", "summarisation", SHORT)]


def test_message_near_an_example_goes_to_its_adapter_with_a_reason(shelf: list[Adapter]) -> None:
    text = "Is this review positive or negative? We loved every dish."
    [route] = Router(BagOfWords().embed, lambda: shelf).route(text)
    assert route.adapter == "mood"
    assert route.text == text
    assert 0.5 < route.confidence <= 1
    assert "The soup was cold." in route.reason


def test_general_chat_goes_to_the_base_and_names_the_nearest_adapter_and_threshold(shelf: list[Adapter]) -> None:
    [route] = Router(BagOfWords().embed, lambda: shelf, threshold=0.6).route("Tell me something interesting, please.")
    assert route.adapter == BASE
    assert "below the threshold 0.60" in route.reason
    assert "mood" in route.reason or "short" in route.reason
    assert 0 <= route.confidence <= 1


def test_threshold_of_one_sends_everything_to_the_base(shelf: list[Adapter]) -> None:
    [route] = Router(BagOfWords().embed, lambda: shelf, threshold=1.0).route("Summarise this text: it rained.")
    assert route.adapter == BASE


@pytest.mark.parametrize("text", ["", "   \n", "?", "\ue000\ue001", "…", "'''\"\"", "1.", "- \n- \n"])
def test_odd_messages_get_exactly_one_route_with_their_own_text(shelf: list[Adapter], text: str) -> None:
    [route] = Router(BagOfWords().embed, lambda: shelf).route(text)
    assert route.text == text


def test_without_examples_the_base_answers_and_says_why() -> None:
    bare = [adapter("mute", "x", ()), adapter("broken", "y", MOOD, error="torn file")]
    [route] = Router(BagOfWords().embed, lambda: bare).route("hello")
    assert (route.adapter, route.confidence) == (BASE, 1.0)
    assert "no adapter has example prompts" in route.reason


def test_new_adapter_becomes_a_route_with_no_restart(shelf: list[Adapter]) -> None:
    router = Router(BagOfWords().embed, lambda: shelf)
    text = "Translate this sentence to French: the door is open"
    assert router.route(text)[0].adapter != "french"
    shelf.append(adapter("french", "translation", ("Translate this sentence to French: good morning",)))
    assert router.route(text)[0].adapter == "french"
    shelf.pop()
    assert router.route(text)[0].adapter != "french"


def test_examples_are_embedded_once_and_again_when_the_digest_changes(shelf: list[Adapter]) -> None:
    words = BagOfWords()
    router = Router(words.embed, lambda: shelf)
    router.route("hello")
    first = len(words.calls)
    router.route("hello")
    assert len(words.calls) == first + 1
    shelf[0] = adapter("mood", "sentiment", MOOD, digest="another")
    router.route("hello")
    assert len(words.calls) == first + 3


PASSAGE = ("Context: Tea reached the port in spring.\n\nQuestion: When did tea reach the port?",)


def test_with_documents_what_the_base_would_answer_is_a_question_on_a_passage(shelf: list[Adapter]) -> None:
    shelf.append(adapter("reader", "qa", PASSAGE))
    router = Router(BagOfWords().embed, lambda: shelf, threshold=0.6)
    text = "Tell me something interesting, please."
    [bare], [route] = router.route(text), router.route(text, has_documents=True)
    assert bare.adapter == BASE
    assert (route.adapter, route.text, route.confidence) == ("reader", text, bare.confidence)
    assert route.reason == f"answers from your documents; without them: {bare.reason}"


def test_with_documents_a_task_that_auto_is_sure_of_and_several_intents_stay(shelf: list[Adapter]) -> None:
    shelf.append(adapter("reader", "qa", PASSAGE))
    router = Router(BagOfWords().embed, lambda: shelf)
    several = "Summarise this text and classify the mood as positive or negative:\n\nThe stove smoked."
    for text, adapters in ((MOOD[0], ["mood"]), (several, ["short", "mood"])):
        assert [route.adapter for route in router.route(text, has_documents=True)] == adapters
        assert router.route(text, has_documents=True) == router.route(text)


@pytest.mark.parametrize("fields", [{"task": "law"}, {"task": "qa", "error": "made for another base"}])
def test_with_documents_the_base_answers_where_no_adapter_reads_passages(
    shelf: list[Adapter], fields: dict[str, str]
) -> None:
    shelf.append(adapter("reader", examples=PASSAGE, **fields))
    router = Router(BagOfWords().embed, lambda: shelf, threshold=0.6)
    text = "Tell me something interesting, please."
    assert router.route(text, has_documents=True) == router.route(text)
    assert router.route(text)[0].adapter == BASE


def test_several_intents_become_steps_in_the_order_of_the_message(shelf: list[Adapter]) -> None:
    material = "The stove smoked. Tell me why anyone would come back? The lake is nice, though."
    text = f"Summarise this text and classify the mood as positive or negative:\n\n{material}"
    routes = Router(BagOfWords().embed, lambda: shelf).route(text)
    assert [route.adapter for route in routes] == ["short", "mood"]
    assert routes[0].text == f"Summarise this text\n\n{material}"
    assert routes[1].text == f"Classify the mood as positive or negative\n\n{material}"


def test_a_message_of_more_requests_than_become_steps_is_answered_whole_by_one_adapter(shelf: list[Adapter]) -> None:
    words = BagOfWords()
    router = Router(words.embed, lambda: shelf)
    ask = "Summarise this text. Classify the mood as positive or negative. "
    material = "\n\nThe stove smoked and the lake is nice."
    assert len(router.route(ask * 4 + material)) == 8
    [route] = router.route(ask * 5 + material)
    assert route.text == ask * 5 + material
    assert "it asks for 10 things, more than 8, and stays whole" in route.reason
    assert len(words.calls[-1]) == 2, "only the whole is looked up"


def test_a_message_of_very_many_questions_is_one_step(shelf: list[Adapter]) -> None:
    words = BagOfWords()
    router = Router(words.embed, lambda: shelf)
    assert [len(router.route(text)) for text in ("is it? " * 5000, "Summarise it and translate it and " * 150)] == [
        1,
        1,
    ]
    assert all(len(texts) == 2 for texts in words.calls[-2:])


def test_equal_neighbours_are_one_step(shelf: list[Adapter]) -> None:
    text = "Summarise this text and summarise the following: rain fell"
    [route] = Router(BagOfWords().embed, lambda: shelf).route(text)
    assert (route.adapter, route.text) == ("short", text)


def test_pasted_material_is_never_split_into_intents(shelf: list[Adapter]) -> None:
    text = 'Summarise this text: "Classify the mood as positive or negative. Is this review positive or negative?"'
    [route] = Router(BagOfWords().embed, lambda: shelf).route(text)
    assert route.text == text


def test_of_two_adapters_for_a_task_the_better_score_is_taken_and_said() -> None:
    shelf = [
        adapter("a-soft", "sentiment", MOOD, scores=(score(0.90),)),
        adapter("b-lora", "sentiment", MOOD, scores=(score(0.95),)),
    ]
    [route] = Router(BagOfWords().embed, lambda: shelf).route(MOOD[0])
    assert route.adapter == "b-lora"
    assert "best accuracy (0.950)" in route.reason


@pytest.mark.parametrize(
    ("scores", "chosen"),
    [
        (((), ()), "a"),
        (((), (score(0.1),)), "b"),
        (((score(9.0, "perplexity"),), (score(7.0, "perplexity"),)), "b"),
        (((score(0.1, data="one"),), (score(0.9, data="other"),)), "a"),
        (((score(0.5),), (score(0.5),)), "a"),
        (((score(0.1, count=400),), (score(0.9, count=4),)), "a"),
        (((score(0.1, mode="tuned"),), (score(0.9, mode="rag"),)), "a"),
        (((score(0.1, count=4, mode="tuned"),), (score(0.9),)), "b"),
    ],
)
def test_choice_among_adapters_of_one_task(scores: tuple[tuple[Score, ...], ...], chosen: str) -> None:
    shelf = [adapter(name, "t", MOOD, scores=given) for name, given in zip("ab", scores, strict=True)]
    assert best_of("t", shelf)[0].name == chosen
    assert best_of("t", shelf[::-1])[0].name == chosen


def test_adapters_of_unknown_task_are_routes_of_their_own() -> None:
    shelf = [adapter("x", "unknown", MOOD), adapter("y", "unknown", SHORT)]
    router = Router(BagOfWords().embed, lambda: shelf)
    assert [router.route(text)[0].adapter for text in (MOOD[0], SHORT[0])] == ["x", "y"]


def test_chat_examples_differ_from_each_other() -> None:
    assert len(set(chat_examples())) == len(chat_examples()) >= 100


def test_router_loads_no_torch() -> None:
    code = "import sys, assistant.routing.router; sys.exit(any(m in sys.modules for m in ('torch', 'sentence_transformers')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
