"""Tasks: how examples are asked and answers are read."""

from __future__ import annotations

import pytest

from assistant.errors import EvaluationError
from eval.run import TASKS
from eval.tasks.qa import QuestionAnswering
from eval.tasks.sentiment import Sentiment, label_of


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("positive", "positive"),
        ("Negative.", "negative"),
        ("The sentiment is **positive**, not negative", "positive"),
        ("seronegative", "other"),
        ("I cannot tell", "other"),
        ("", "other"),
    ],
)
def test_label_is_the_first_one_named(answer: str, label: str) -> None:
    assert label_of(answer) == label


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_own_set_is_large_enough_and_every_prompt_ends_with_the_user(task: object) -> None:
    records = task.load(None)  # type: ignore[attr-defined]
    assert len(records) >= 40
    assert len({record["id"] for record in records}) == len(records)
    modes = set()
    for prompt in task.prompts:  # type: ignore[attr-defined]
        messages = prompt.messages(records[0])
        modes.add(prompt.mode)
        assert messages[-1].role == "user"
        assert len(messages) == 1 or prompt.mode == "few-shot"
    assert modes == {"prompt", "few-shot", "tuned"}


def test_own_answers_stand_in_their_contexts() -> None:
    for record in QuestionAnswering().load(None):
        assert any(answer in record["context"] for answer in record["answers"]), record["id"]


def test_own_sentiment_set_is_balanced() -> None:
    labels = [record["label"] for record in Sentiment().load(None)]
    assert labels.count("positive") == labels.count("negative")


def test_sentiment_counts_bare_labels_apart() -> None:
    records = [{"text": "a", "label": "positive"}, {"text": "b", "label": "negative"}]
    outcome = Sentiment().score(records, ["It is positive.", "negative"])
    assert outcome.metrics["accuracy"].value == 1.0
    assert outcome.metrics["exact"].value == 0.5
    assert [example["predicted"] for example in outcome.examples] == ["positive", "negative"]


def test_qa_scores_are_means_over_the_examples() -> None:
    """EM 1 and 0; F1 1 and 2·1/(2+1) = 2/3: means 0.5 and 5/6; letter by letter neither is equal."""
    records = [
        {"question": "q", "context": "c", "answers": ["Orla"]},
        {"question": "q", "context": "c", "answers": ["six"]},
    ]
    outcome = QuestionAnswering().score(records, ["the Orla", "six weeks"])
    assert outcome.metrics["em"].value == 0.5
    assert outcome.metrics["f1"].value == pytest.approx(5 / 6)
    assert outcome.metrics["raw_accuracy"].value == 0.0


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_scoring_nothing_is_an_error(task: object) -> None:
    with pytest.raises(EvaluationError):
        task.score([], [])  # type: ignore[attr-defined]
