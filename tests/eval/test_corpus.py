"""Contexts of records as documents, and questions asked without them."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from assistant.database.connection import Database
from assistant.errors import EvaluationError
from assistant.messages import Finished, Retrieval, Timing, Usage
from assistant.retrieval.library import Library
from assistant.retrieval.retriever import Retriever
from assistant.training.data import Item
from assistant.training.tasks.legal import CLAUSE
from eval import ask, robustness
from eval import run as command
from eval.corpus import contexts, load_corpus, searching
from eval.run import main
from eval.tasks.qa import QA
from eval.tasks.registry import TASKS
from tests.bag_of_words import BagOfWords
from tests.fakes import EchoBackend, fake_service, write_adapter

RECORDS = [
    {
        "context": "The lighthouse was built by Ana Rivas.",
        "question": "Who built the lighthouse?",
        "answers": ["Ana Rivas"],
    },
    {"context": "The ferry leaves at noon.", "question": "When does the ferry leave?", "answers": ["noon"]},
    {"context": "The ferry leaves at noon.", "question": "What leaves at noon?", "answers": ["The ferry"]},
    {"context": "Copper melts at 1085 degrees.", "question": "Zyx wvut qpo?", "answers": ["1085 degrees"]},
]


class FirstWords(EchoBackend):
    """Answers with the last two words of the first passage."""

    async def generate(self, generation):
        self.seen.append(generation)
        passage = "".join(map(chr, generation.prompt)).split('[1] "')[1].split('"')[0]
        yield " ".join(passage.split()[-2:])
        yield Finished(finish_reason="stop", usage=Usage(completion_tokens=2), timing=Timing(total=1))


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The command in an empty folder with a fake base, one adapter, and a library of its own."""
    monkeypatch.chdir(tmp_path)
    write_adapter(tmp_path / "adapters" / "qa", task="qa", decoding={"max_tokens": 8})
    (tmp_path / "qa.jsonl").write_text("\n".join(map(json.dumps, RECORDS)))
    database = Database(f"sqlite:///{tmp_path}/library.db")
    database.migrate()
    embed = BagOfWords().embed
    library = Library(database, embed, lambda text: len(text.split()))
    fake = fake_service(tmp_path / "adapters", FirstWords(), library=library, retriever=Retriever(library, embed))

    @asynccontextmanager
    async def measured_service(settings: object) -> AsyncIterator[object]:
        yield fake

    for module in (command, robustness):
        monkeypatch.setattr(module, "measured_service", measured_service)
    yield fake
    database.close()


def test_a_context_that_several_records_share_is_loaded_once(tmp_path: Path) -> None:
    (tmp_path / "qa.jsonl").write_text("\n".join(map(json.dumps, RECORDS)))
    assert contexts(QA.load(str(tmp_path / "qa.jsonl"))) == [RECORDS[n]["context"] for n in (0, 1, 3)]


def test_a_record_without_a_context_cannot_be_searched_for() -> None:
    with pytest.raises(EvaluationError, match="f:1: a plain-english record has no context"):
        contexts([Item(CLAUSE, {"document": "x", "summaries": ["y"]}, "f:1")])


async def test_loading_nothing_is_an_error(service) -> None:
    with pytest.raises(EvaluationError, match="no contexts"):
        await load_corpus(service.library, [])


@pytest.mark.parametrize("adapter", ["base", "qa"])
def test_the_question_alone_is_asked_of_all_contexts(service, tmp_path: Path, adapter: str) -> None:
    """The backend says the last two words: right for the first record, wrong for the next two."""
    arguments = ["--task", "qa", "--data", "qa.jsonl", "--adapter", adapter, "--mode", "rag", "--top-k", "1"]
    assert main([*arguments, "--out", "r.json"]) == 0
    result = json.loads((tmp_path / "r.json").read_text())
    assert result["mode"] == "rag" and result["config"]["top_k"] == 1
    assert [example["answer"] for example in result["examples"]] == ["Ana Rivas.", "at noon.", "at noon.", ""]
    assert [example["em"] for example in result["examples"]] == [1, 0, 0, 0]
    assert [example["retrieved"] for example in result["examples"]] == [1, 1, 1, 0], "nothing fits the last question"
    assert result["metrics"]["retrieved"]["value"] == result["metrics"]["grounded"]["value"] == 0.75
    prompts = ["".join(map(chr, generation.prompt)) for generation in service.backend.seen]
    question = "Question: Who built the lighthouse?"
    told = question if adapter == "qa" else f"{question}\nAnswer with a few words copied from the context."
    assert any(f'Context: [1] "{RECORDS[0]["context"]}"\n\n{told}' in prompt for prompt in prompts)
    assert len(service.library.documents()) == 3


def test_the_search_takes_time_whether_or_not_it_finds_anything(service, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock goes on by 3 s with each search, and by nothing else."""
    clock, search = 0.0, service.retriever.search

    def slow(query: str, retrieval: Retrieval) -> object:
        nonlocal clock
        clock += 3
        return search(query, retrieval)

    monkeypatch.setattr(service.retriever, "search", slow)
    monkeypatch.setattr(ask, "perf_counter", lambda: clock)
    arguments = ["--task", "qa", "--data", "qa.jsonl", "--mode", "rag", "--concurrency", "1", "--out", "r.json"]
    assert main(arguments) == 0
    result = json.loads(Path("r.json").read_text())
    assert [example["seconds"] for example in result["examples"]] == [3, 3, 3, 3]
    assert result["examples"][-1]["answer"] == "" and result["cost"]["seconds"]["value"] == 3


def test_noisy_questions_search_the_same_contexts(service, tmp_path: Path) -> None:
    arguments = ["--task", "qa", "--data", "qa.jsonl", "--mode", "rag", "--kinds", "lower-case", "--rates", "1"]
    assert robustness.main([*arguments, "--out", "r.json"]) == 0
    result = json.loads((tmp_path / "r.json").read_text())
    assert [example["em"] for example in result["examples"]] == [1, 0, 0, 0]
    assert [at["metrics"]["retrieved"]["value"] for at in result["curves"]["lower-case"]] == [0.75, 0.75]


@pytest.mark.parametrize("robust", [False, True], ids=["run", "robustness"])
def test_records_that_nothing_is_searched_for_are_left_out_and_told(
    service, tmp_path: Path, caplog: pytest.LogCaptureFixture, robust: bool
) -> None:
    """The clauses of a legal file have no passage; its limit draws from the policies alone."""
    clauses = [{"document": f"clause {n}", "summaries": ["Pay."]} for n in range(5)]
    (tmp_path / "legal.jsonl").write_text("\n".join(map(json.dumps, [*clauses, *RECORDS])))
    arguments = ["--task", "legal", "--data", "legal.jsonl", "--mode", "rag", "--limit", "4", "--out", "r.json"]
    caplog.set_level(logging.INFO)
    if robust:
        assert robustness.main([*arguments, "--kinds", "lower-case", "--rates", "1"]) == 0
    else:
        assert main(arguments) == 0
    result = json.loads((tmp_path / "r.json").read_text())
    assert result["count"] == 4 and {example["kind"] for example in result["examples"]} == {"policy"}
    assert {"em", "retrieved"} <= result["metrics"].keys(), "one kind is left, so no figure has its name"
    assert "4 of 9 records are asked; left out, as nothing is searched for: 5 plain-english" in caplog.text
    assert len(service.library.documents()) == 3


@pytest.mark.parametrize(("name", "kinds"), [("legal", {"policy"}), ("medical", {"research", "conclusion"})])
def test_own_sets_have_records_to_search_for(name: str, kinds: set[str]) -> None:
    kept = searching(TASKS[name], TASKS[name].load(None))
    assert {item.kind.name for item in kept} == kinds
    assert contexts(kept)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--task qa --data qa.jsonl --top-k 2", "--top-k is for --mode rag only"),
        ("--task qa --data qa.jsonl --mode rag --top-k 21", "allowed are 1 to 20"),
        (
            "--task sentiment --mode rag",
            "sentiment records are not asked in mode rag; allowed: prompt, few-shot, tuned",
        ),
        ("--task injection --mode rag", "injection asks nothing"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    service, capsys: pytest.CaptureFixture[str], arguments: str, message: str
) -> None:
    assert main([*arguments.split(), "--out", "r.json"]) == 1
    assert message in capsys.readouterr().err
