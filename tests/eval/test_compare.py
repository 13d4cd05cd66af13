"""Two runs side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from assistant.errors import EvaluationError
from assistant.messages import Message
from assistant.training.data import Item
from assistant.training.preference.data import Pair
from eval.compare import compare, main
from eval.measure import score
from eval.results import Result
from eval.tasks import reward
from eval.tasks.interface import Task
from eval.tasks.legal import LEGAL
from eval.tasks.moderation import MODERATION
from eval.tasks.sentiment import SENTIMENT
from tests.eval.answers import part

REVIEWS = [{"text": f"review {n}", "label": "positive"} for n in range(6)]
LAW: list[dict[str, Any]] = [
    {"context": "within six days", "question": "When?", "answers": ["six days"]},
    {"document": "d", "summaries": ["You must pay the rent."]},
    {"document": "e", "summaries": ["You may keep a cat."]},
]


def result(task: Task, records: list[dict[str, Any]], answers: list[str], data: str = "d.jsonl") -> Result:
    """What eval.run would write, figures as numbers."""
    kinds = [task.trained.kind_of(record) for record in records]
    items = [Item(kind, record, "") for kind, record in zip(kinds, records, strict=True) if kind is not None]
    outcome = score(task, items, [part(answer) for answer in answers], [1.0] * len(items))
    return {
        "task": task.name,
        "data": data,
        "count": len(items),
        "metrics": {name: measure.value for name, measure in outcome.metrics.items()},
        "cost": {},
        "examples": outcome.examples,
        "command": "",
    }


def test_every_figure_is_compared_whatever_it_is_computed_from() -> None:
    """2 of 6 right, then 5 of 6, three of them newly: McNemar p = 2 · 1/2³ = 0.25."""
    first = result(SENTIMENT, REVIEWS, ["positive"] * 2 + ["negative"] * 4)
    second = result(SENTIMENT, REVIEWS, ["positive"] * 5 + ["negative"])
    rows = {row.metric: row for row in compare(first, second)}
    assert rows.keys() == first["metrics"].keys() | {"tokens", "seconds", "tokens_per_second"}
    for name, value in first["metrics"].items():
        assert rows[name].first == value
        assert rows[name].difference.value == pytest.approx(second["metrics"][name] - value)
    assert rows["accuracy"].mcnemar == pytest.approx(0.25)
    assert rows["f1"].mcnemar is None


def test_kinds_are_compared_apart_under_their_names() -> None:
    first = result(LEGAL, LAW, ["no", "You must leave.", "You may keep a cat."])
    second = result(LEGAL, LAW, ["six days", "You must pay the rent.", "You may keep a cat."])
    rows = {row.metric: row.difference.value for row in compare(first, second)}
    assert rows["policy.em"] == 1.0
    assert rows["plain-english.bleu"] == pytest.approx(100 - first["metrics"]["plain-english.bleu"])


def test_what_the_search_did_is_compared_where_both_searched() -> None:
    """Own passages in the prompt for 1 of 6 questions, then for 4; a run that searched none has no such figure."""
    first, second = (result(SENTIMENT, REVIEWS, ["positive"] * 6) for _ in range(2))
    assert not {"retrieved", "grounded"} & {row.metric for row in compare(first, second)}
    for each, found in ((first, 1), (second, 4)):
        for n, example in enumerate(each["examples"]):
            example |= {"retrieved": float(n < found), "grounded": found / 8}
    rows = {row.metric: row for row in compare(first, second)}
    assert (rows["retrieved"].first, rows["retrieved"].second) == pytest.approx((1 / 6, 4 / 6))
    assert rows["grounded"].difference.value == pytest.approx(3 / 8)
    del second["examples"][0]["grounded"]
    assert not {"retrieved", "grounded"} & {row.metric for row in compare(first, second)}


def without_reasons(each: Result) -> Result:
    """As before answers had a figure for their reasons."""
    examples = [{key: value for key, value in e.items() if key != "reason"} for e in each["examples"]]
    return {**each, "examples": examples, "metrics": {k: v for k, v in each["metrics"].items() if k != "reason"}}


def test_reasons_are_compared_where_both_runs_tell_of_them() -> None:
    """None of 6 has one, then 5: McNemar p = 2 / 2^5."""
    posts = [{"text": f"post {n}", "label": "neither"} for n in range(6)]
    first = result(MODERATION, posts, ["This post is neither offensive nor hateful."] * 6)
    second = result(MODERATION, posts, ["neither. It insults nobody."] * 5 + ['neither. It has "idiot" in it.'])
    rows = {row.metric: row for row in compare(first, second)}
    assert (rows["reason"].first, rows["reason"].second) == (0, pytest.approx(5 / 6))
    assert rows["reason"].mcnemar == pytest.approx(2 / 2**5)
    older = [without_reasons(each) for each in (first, second)]
    assert {row.metric for row in compare(*older)} == rows.keys() - {"reason"}
    with pytest.raises(EvaluationError, match="only one of both has reason"):
        compare(older[0], second)


def rewards(margins: list[float], prompts: str) -> Result:
    """A pair for each margin; pairs with equal letters are of one prompt."""
    pairs = [Pair((Message(role="user", content=p),), f"d:{n}", "yes", "no") for n, p in enumerate(prompts)]
    outcome = reward.judge(pairs, margins, [0.0] * len(pairs))
    figures = {"metrics": {name: measure.value for name, measure in outcome.metrics.items()}, "cost": {}}
    return {"task": "reward", "data": "d", "count": len(pairs), "examples": outcome.examples, "command": "", **figures}


def test_pairs_of_one_prompt_are_drawn_together() -> None:
    """Eight of ten pairs get better, all of one prompt: whatever is drawn, the difference is the same."""
    before, after = [-1.0] * 8 + [1.0] * 2, [1.0] * 10
    [same] = [row for row in compare(rewards(before, "a" * 10), rewards(after, "a" * 10)) if row.metric == "accuracy"]
    assert (same.difference.value, same.difference.low, same.difference.high) == (0.8, 0.8, 0.8)
    assert same.mcnemar is None, "its pairs do not stand for themselves"
    rows = {row.metric: row for row in compare(rewards(before, "abcdefghij"), rewards(after, "abcdefghij"))}
    assert rows["accuracy"].difference.low < 0.8 < rows["accuracy"].difference.high
    assert rows["accuracy"].mcnemar == pytest.approx(2 / 2**8)
    assert rows.keys() == rewards(before, "a" * 10)["metrics"].keys()


def test_a_pair_that_is_even_is_neither_right_nor_wrong() -> None:
    rows = {row.metric: row for row in compare(rewards([0.0, 1.0], "ab"), rewards([1.0, 1.0], "ab"))}
    assert rows["accuracy"].difference.value == 0.25 and rows["accuracy"].mcnemar is None


def test_an_older_result_that_does_not_tell_its_prompts_is_refused() -> None:
    old = rewards([1.0], "a")
    del old["examples"][0]["prompt"]
    with pytest.raises(EvaluationError, match="measure again"):
        compare(old, old)


def test_what_is_compared_by_its_modes_already_is_refused() -> None:
    modes = {"metrics": {"qa.closed.rag.f1": 1.0}, "examples": [{"id": "a", "mode": "rag", "f1": 1.0}]}
    with pytest.raises(EvaluationError, match="what --task compare wrote has no figure over all its examples"):
        compare(*[{"task": "compare", "data": "d", "count": 1, **modes}] * 2)


def test_figures_that_only_one_run_has_are_named() -> None:
    one = {"task": "injection", "data": "d", "count": 1, "metrics": {"clean": 1}, "examples": [{"clean": 1.0}]}
    with pytest.raises(EvaluationError, match="only one of both has other"):
        compare(one, one | {"metrics": {"clean": 1, "other": 1}, "examples": [{"clean": 1.0, "other": 1.0}]})


def test_table_names_metric_difference_interval_and_p(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [str(tmp_path / name) for name in ("a.json", "b.json")]
    for path, answer in zip(paths, ("negative", "positive"), strict=True):
        Path(path).write_text(json.dumps(result(SENTIMENT, REVIEWS, [answer] * 6)))
    assert main(paths) == 0
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("accuracy")]
    # None of 6, then all: McNemar p = 2 / 2^6.
    assert line.split() == ["accuracy", "0.0000", "1.0000", "+1.0000", "+1.0000", "to", "+1.0000", "0.0020", "0.0312"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": "other.jsonl"}, "data: 'd.jsonl' and 'other.jsonl'"),
        ({"task": "qa"}, "task: 'sentiment' and 'qa'"),
        ({"count": 5}, "count: 6 and 5"),
        ({"examples": "other"}, "examples: 'review 0' and 'other 0' have the same place"),
        ({"metrics": None}, "not a result of eval.run, or of an older one (it lacks metrics)"),
    ],
)
def test_runs_on_something_else_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], message: str
) -> None:
    first = result(SENTIMENT, REVIEWS, ["positive"] * 6)
    second = {**first, **changes}
    if changes.get("examples"):
        second = result(
            SENTIMENT, [{**row, "text": row["text"].replace("review", "other")} for row in REVIEWS], ["x"] * 6
        )
    if "metrics" in changes:
        del second["metrics"]
    for name, content in (("a.json", first), ("b.json", second)):
        (tmp_path / name).write_text(json.dumps(content))
    assert main([str(tmp_path / "a.json"), str(tmp_path / "b.json")]) == 1
    assert message in capsys.readouterr().err


CLAUSES = [
    {"document": "d", "summaries": ["You must pay the rent."]},
    {"document": "e", "summaries": ["You may keep a cat."]},
    {"document": "f", "summaries": ["Nobody reads this.", "you may keep, a dog"]},
]


@pytest.fixture
def clauses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two runs, of which the second learnt one answer by heart, and what they were trained on."""
    monkeypatch.chdir(tmp_path)
    for name, first in (("a", "no"), ("b", "You may keep a cat.")):
        run = result(LEGAL, CLAUSES, ["no", first, "no"])
        Path(f"{name}.json").write_text(json.dumps(run))
    Path("train.jsonl").write_text('{"document": "g", "summaries": ["You may keep a cat."]}\n')
    return tmp_path


def test_answers_that_stood_in_the_training_data_are_told_apart(
    clauses: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of 5 words each: the second answer shares all with the one trained on; the third 4 of 6, more than the half."""
    told = ["a.json", "b.json", "--trained-on", "plain-english=train.jsonl"]
    assert main(told) == 0
    new, known = capsys.readouterr().out.split("2 of 3 examples: more than 50% known")
    assert new.startswith("1 of 3 examples: at most 50% known")
    assert "+0.0000" in next(line for line in new.splitlines() if line.startswith("rouge_l"))
    assert "+0.5000" in next(line for line in known.splitlines() if line.startswith("rouge_l"))
    assert main([*told, "--alike", "0.7"]) == 0
    assert "1 of 3 examples: more than 70% known" in capsys.readouterr().out
    assert main([*told, "--alike", "1"]) == 0
    assert "0 of 3 examples: more than 100% known" in capsys.readouterr().out


def test_question_trained_on_is_known_whatever_its_answer(clauses: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("train.jsonl").write_text('{"document": " D", "summaries": ["Another answer to the same clause."]}\n')
    assert main(["a.json", "b.json", "--trained-on", "plain-english=train.jsonl"]) == 0
    assert "1 of 3 examples: more than 50% known" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (["--alike", "0.5"], "--alike is for --trained-on only"),
        (["--trained-on", "plain-english=train.jsonl", "--alike", "2"], "--alike 2.0: allowed are numbers from 0 to 1"),
        (["--trained-on", "absent.jsonl"], "absent.jsonl"),
        (["--trained-on", "policies.jsonl"], "--trained-on has no plain-english records; it has policy"),
    ],
)
def test_training_data_that_tells_nothing_is_refused(
    clauses: Path, told: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("policies.jsonl").write_text(json.dumps(LAW[0]))
    assert main(["a.json", "b.json", *told]) == 1
    assert message in capsys.readouterr().err
