"""Tasks: how examples are asked and answers are scored."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assistant.errors import DataError, EvaluationError
from assistant.training.data import MADE_COUNT, Item
from assistant.training.tasks import moderation
from assistant.training.tasks.prescriptions import HELD_OUT, prescriptions
from assistant.training.tasks.task import Record
from eval.measure import score
from eval.tasks.interface import Outcome, Task
from eval.tasks.legal import LEGAL
from eval.tasks.medical import MEDICAL
from eval.tasks.moderation import MODERATION
from eval.tasks.qa import QA
from eval.tasks.registry import TASKS
from eval.tasks.scorers import Label, confidence
from eval.tasks.sentiment import SENTIMENT
from eval.tasks.summarisation import SUMMARISATION
from eval.tasks.translation import TRANSLATION
from tests.eval.answers import part

LABEL = Label(("positive", "negative"))


def scored(task: Task, *answered: tuple[Record, str]) -> Outcome:
    items = []
    for record, _ in answered:
        kind = task.trained.kind_of(record)
        assert kind is not None
        items.append(Item(kind, record, ""))
    return score(task, items, [part(answer) for _, answer in answered], [1.0] * len(items))


def values(outcome: Outcome) -> dict[str, float]:
    return {name: measure.value for name, measure in outcome.metrics.items()}


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
    assert LABEL.named(answer)[0] == label


def test_confidence_is_the_product_over_the_tokens_of_the_label() -> None:
    """ "Posi" 0.5 · "tive" 0.8 = 0.4; the space and the end count for nothing."""
    tokens = part("It is Positive.", [("It is", 0.1), (" Posi", 0.5), ("tive", 0.8), (".", 0.3), ("", 0.2)]).scores
    _, start, end = LABEL.named("It is Positive.")
    assert confidence(tokens, start, end) == pytest.approx(0.4)


def test_confidence_of_an_answer_without_a_label_is_that_of_its_first_token() -> None:
    assert confidence(part("No idea", [("No", 0.7), (" idea", 0.5)]).scores, 0, 0) == pytest.approx(0.7)


def test_answer_without_scores_has_no_confidence() -> None:
    with pytest.raises(EvaluationError, match="without the scores"):
        confidence((), 0, 3)


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_own_set_is_large_enough_and_of_every_kind(task: Task) -> None:
    items = task.load(None)
    assert len(items) >= 40
    assert len({item.record["id"] for item in items}) == len(items)
    assert {item.kind for item in items} == {measured.kind for measured in task.measured} == set(task.trained.kinds)
    texts = [item.kind.forms[0](item.record) for item in items]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_every_kind_has_several_prompts_of_each_mode_with_names_of_their_own(task: Task) -> None:
    for measured in task.measured:
        record = next(item.record for item in task.load(None) if item.kind is measured.kind)
        modes: dict[str, list[str]] = {}
        for prompt in measured.all_prompts:
            messages = prompt.messages(record)
            modes.setdefault(prompt.mode, []).append(prompt.name)
            assert messages[-1].role == "user"
            asked = [message for message in messages if message.role != "system"]
            assert len(asked) == 1 or prompt.mode == "few-shot"
        assert len(modes["prompt"]) >= 2
        assert modes["few-shot"]
        assert modes["tuned"] == ["plain", "instruction"]
        assert all(len(set(names)) == len(names) for names in modes.values())


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_right_answers_score_highest(task: Task) -> None:
    items = task.load(None)
    answers = {}
    for kind in task.trained.kinds:
        own = [item for item in items if item.kind is kind]
        wanted = task.of(kind).scorer.judge(own[0].record, part("x"))["expected"]
        answers.update({id(own[0]): wanted if isinstance(wanted, str) else wanted[0]})
    chosen = [item for item in items if id(item) in answers]
    found = values(score(task, chosen, [part(answers[id(item)]) for item in chosen], [1.0] * len(chosen)))
    for name, value in found.items():
        metric = name.rpartition(".")[2]
        if metric in ("em", "raw_accuracy", "accuracy", "exact", "rouge_1", "rouge_l"):
            assert value == pytest.approx(1.0), name
        if metric == "chrf":
            assert value == pytest.approx(100.0), name


def test_own_answers_stand_in_their_contexts() -> None:
    for item in (*QA.load(None), *LEGAL.load(None)):
        if "answers" in item.record:
            # The plainest of the answers may be in other words, the first may not.
            assert any(answer in item.record["context"] for answer in item.record["answers"]), item.record["id"]


@pytest.mark.parametrize("task", [SENTIMENT, MODERATION], ids=lambda task: task.name)
def test_own_labels_are_balanced(task: Task) -> None:
    labels = [item.record["label"] for item in task.load(None)]
    assert len({labels.count(label) for label in labels}) == 1


def test_own_prescriptions_hold_the_one_that_is_never_trained_on_and_no_other_trained_one() -> None:
    own = [item.record["prescription"] for item in MEDICAL.load(None) if item.kind.name == "prescription"]
    assert set(own) == HELD_OUT
    trained = {record["prescription"].lower() for record in prescriptions(MADE_COUNT, seed=0)}
    assert not {line.lower() for line in own} & trained


def test_sentiment_counts_bare_labels_apart() -> None:
    outcome = scored(
        SENTIMENT,
        ({"text": "a", "label": "positive"}, "It is positive."),
        ({"text": "b", "label": "negative"}, "negative"),
    )
    assert outcome.metrics["accuracy"].value == 1.0
    assert outcome.metrics["exact"].value == 0.5
    assert [example["predicted"] for example in outcome.examples] == ["positive", "negative"]
    assert outcome.confusion == {"sentiment": {"positive": {"positive": 1}, "negative": {"negative": 1}}}


def test_moderation_takes_the_label_before_the_reason_and_hateful_for_hate() -> None:
    outcome = scored(
        MODERATION,
        ({"text": "a", "label": "hate"}, 'hate. It attacks people for what they are, as "a" shows.'),
        ({"text": "b", "label": "hate"}, "This is hateful"),
        ({"text": "c", "label": "neither"}, "offensive. It is rude"),
    )
    assert [example["accuracy"] for example in outcome.examples] == [1, 1, 0]
    assert [example["exact"] for example in outcome.examples] == [1, 0, 0]


RUDE = 'It is rude, as "fool" shows, but attacks no group of people.'


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (f"offensive. {RUDE}", 1),
        (f"hate. {RUDE}\n", 1),  # Whether the label is right is what accuracy tells.
        ("neither: Nobody is insulted here!", 1),
        ('offensive. It says "Fool" and “you & me” to 3.5 people.', 1),
        ("offensive", 0),
        ("offensive.", 0),
        ("offensive. neither.", 0),
        (RUDE, 0),
        ("offensiveness. It is rude.", 0),
        ("hate speech is rude.", 0),
        ("This is offensive. It is rude.", 0),
        ("offensive. It is rude. It attacks nobody.", 0),
        ("offensive. It is rude.\nIt attacks nobody.", 0),
        ("offensive. It is rude, as it", 0),
        ('offensive. It is rude, as "idiot" shows.', 0),
        ('offensive. It is rude, as "foo" shows.', 0),
        ('offensive. It is rude, as "fool" and "idiot" show.', 0),
        ('offensive. It is rude, as "fool shows.', 0),
        ('offensive. It is rude, as "" shows.', 0),
        ("", 0),
    ],
)
def test_a_reason_is_one_sentence_that_quotes_what_stands_in_the_post(answer: str, reason: float) -> None:
    outcome = scored(MODERATION, ({"text": "A FOOL! You &amp;  me.", "label": "offensive"}, answer))
    assert outcome.examples[0]["reason"] == outcome.metrics["reason"].value == reason


def test_the_reasons_that_are_learnt_count_as_reasons() -> None:
    items = MODERATION.load(None)
    answers = moderation.explained([item.record for item in items])
    assert values(score(MODERATION, items, [part(answer) for answer in answers], [1.0] * len(items)))["reason"] == 1
    words = "a fool's, @fool x_fool fool2 FOOL-ish /fool café"
    records = [{"text": words, "label": "offensive"}, {"text": "@fool :)", "label": "hate"}]
    answers = moderation.explained(records)
    assert scored(MODERATION, *zip(records, answers, strict=True)).metrics["reason"].value == 1


def test_only_answers_that_are_to_explain_have_a_figure_for_it() -> None:
    outcome = scored(SENTIMENT, ({"text": "a", "label": "positive"}, "positive. It is good."))
    assert "reason" not in outcome.metrics and "reason" not in outcome.examples[0]


def test_calibration_error_of_certain_answers_is_the_share_of_wrong_ones() -> None:
    outcome = scored(
        SENTIMENT,
        ({"text": "a", "label": "positive"}, "positive"),
        ({"text": "b", "label": "positive"}, "negative"),
    )
    assert outcome.metrics["ece"].value == 0.5


def test_qa_scores_are_means_over_the_examples() -> None:
    """EM 1 and 0; F1 1 and 2·1/(2+1) = 2/3: means 0.5 and 5/6; letter by letter neither is equal."""
    outcome = scored(
        QA,
        ({"question": "q", "context": "c", "answers": ["Orla"]}, "the Orla"),
        ({"question": "q", "context": "c", "answers": ["six"]}, "six weeks"),
    )
    assert values(outcome) == pytest.approx({"em": 0.5, "f1": 5 / 6, "raw_accuracy": 0.0})


@pytest.mark.parametrize(
    ("meanings", "message"),
    [
        ("every day", "meanings is 'every day'; allowed: a list of one or more texts"),
        (["every day", 1], "allowed: a list of one or more texts"),
        (["every day", "The"], "meanings has 'The'; allowed: texts with more in them"),
    ],
)
def test_meanings_that_would_be_matched_by_letters_or_by_nothing_are_refused(
    tmp_path: Path, meanings: object, message: str
) -> None:
    row = {"abbreviation": "qd", "meaning": "every day"}
    (tmp_path / "m.jsonl").write_text(f"{json.dumps(row)}\n{json.dumps({**row, 'meanings': meanings})}")
    with pytest.raises(DataError, match=rf"m\.jsonl:2: .*{message}"):
        MEDICAL.load(str(tmp_path / "m.jsonl"))


def test_end_tokens_of_other_models_are_no_part_of_a_reference() -> None:
    record = {"document": "d", "summaries": ["The cat sleeps .<|endoftext|>"]}
    assert scored(SUMMARISATION, (record, "x")).examples[0]["expected"] == ["The cat sleeps."]


def test_kinds_of_one_file_are_scored_apart_under_their_names() -> None:
    outcome = scored(
        LEGAL,
        ({"context": "within six days", "question": "q", "answers": ["six days"]}, "six days"),
        ({"document": "d", "summaries": ["You must pay."]}, "You must leave."),
    )
    assert outcome.metrics["policy.em"].value == 1.0
    # "you must pay", "you must leave": 2 of 3 words in common.
    assert outcome.metrics["plain-english.rouge_1"].value == pytest.approx(2 / 3)
    assert outcome.examples[0]["policy.em"] == 1.0
    assert "em" not in outcome.examples[0]
    assert outcome.examples[1]["plain-english.rouge_1"] == pytest.approx(2 / 3)


def test_translation_is_scored_by_corpus_metrics_only() -> None:
    outcome = scored(
        TRANSLATION, ({"text": "a", "translation": "Où est la gare ?", "to": "French"}, "Où est la gare ?")
    )
    assert values(outcome) == pytest.approx({"bleu": 100.0, "chrf": 100.0})


def test_cost_counts_tokens_and_seconds() -> None:
    """1 token in 2 s and 3 in 2 s: 2 tokens and 2 s on average, 4 tokens in 4 s."""
    items = SENTIMENT.load(None)[:2]
    parts = [part("positive"), part("positive", [("pos", 1), ("itive", 1), ("", 1)])]
    cost = {name: measure.value for name, measure in score(SENTIMENT, items, parts, [2.0, 2.0]).cost.items()}
    assert cost == {"tokens": 2, "seconds": 2, "tokens_per_second": 1}


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_scoring_nothing_is_an_error(task: Task) -> None:
    with pytest.raises(EvaluationError):
        score(task, [], [], [])
