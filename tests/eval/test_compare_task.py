"""`eval.run --task compare`: who is asked what, what is kept, and what is told of it."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from assistant.backends.base import Generation
from assistant.database.connection import Database
from assistant.messages import Finished, Retrieval, Scored, Timing, TokenScore, Usage
from assistant.retrieval.library import Library
from assistant.retrieval.retriever import Retriever
from eval import run as command
from eval.comparing import run as comparing
from eval.comparing.answers import Answer, Answers
from eval.comparing.page import overview
from eval.comparing.sections import MODES, SECTIONS
from eval.run import main
from tests.bag_of_words import BagOfWords
from tests.fakes import EchoBackend, fake_service, write_adapter

QA = [
    {"id": "a", "context": "The old lighthouse was built by Ana Rivas.", "question": "Who built the lighthouse?"},
    {"id": "b", "context": "The early ferry leaves at noon.", "question": "When does the ferry leave?"},
    {"id": "c", "context": "The deep mine closed in March.", "question": "When did the mine close?"},
]
for _record, _answer in zip(QA, ("Ana Rivas", "noon", "March"), strict=True):
    _record["answers"] = [_answer]
MEDICAL = [
    {"id": "m1", "context": "Yoga helped the backs of many.", "question": "Does yoga help backs?", "label": "yes"},
    {
        "id": "m2",
        "context": "Vitamin pills did nothing for colds.",
        "question": "Do vitamin pills stop colds?",
        "label": "no",
    },
]


class Reads(EchoBackend):
    """Right wherever the record's context stands in the prompt, else wrong. Waits until the whole comparison is there."""

    def __init__(self) -> None:
        super().__init__()
        self.most = 0

    async def generate(self, generation: Generation):
        self.seen.append(generation)
        self.running += 1
        await asyncio.sleep(0.01)
        self.most = max(self.most, self.running)
        self.running -= 1
        last = text(generation).rpartition("<user>")[2].lower()
        record = next(record for record in (*QA, *MEDICAL) if record["question"].lower() in last)
        told = record.get("label") or record["answers"][0]
        said = told if record["context"].lower() in last else "maybe"
        scores = (TokenScore(token=said, token_id=1, logprob=-0.1),)
        yield said if generation.decoding.logprobs is None else Scored(text=said, scores=scores)
        usage = Usage(prompt_tokens=len(generation.prompt), completion_tokens=1)
        yield Finished(finish_reason="stop", usage=usage, timing=Timing(total=0.5), scores=scores)


def text(generation: Generation) -> str:
    return "".join(map(chr, generation.prompt))


@pytest.fixture
def backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reads:
    """The command in a folder with data and adapters; every run has a library of its own, as the real one has."""
    monkeypatch.chdir(tmp_path)
    write_adapter(tmp_path / "adapters" / "qa", task="qa", decoding={"max_tokens": 8, "constraint": "span"})
    write_adapter(tmp_path / "adapters" / "medical", task="medical", fill=0.25, decoding={"max_tokens": 8})
    for name, rows in {"qa/test": QA, "medical/pubmedqa_test": MEDICAL}.items():
        path = tmp_path / "data" / f"{name}.jsonl"
        path.parent.mkdir(parents=True)
        path.write_text("\n".join(map(json.dumps, rows)))
    backend = Reads()
    backend.context_length = 8000

    @asynccontextmanager
    async def measured_service(settings: object) -> AsyncIterator[object]:
        (tmp_path / "library.db").unlink(missing_ok=True)
        database = Database(f"sqlite:///{tmp_path}/library.db")
        database.migrate()
        embed = BagOfWords().embed
        library = Library(database, embed, lambda text: len(text.split()))
        yield fake_service(tmp_path / "adapters", backend, library=library, retriever=Retriever(library, embed))
        database.close()

    monkeypatch.setattr(comparing, "measured_service", measured_service)
    return backend


def compare(*more: str, tasks: str = "qa medical") -> dict:
    arguments = ["--task", "compare", "--data", "data", "--tasks", *tasks.split(), "--out", "r/compare.json", *more]
    assert main(arguments) == 0
    return json.loads(Path("r/compare.json").read_text())


def test_every_mode_answers_every_record_in_its_book(backend: Reads, capsys: pytest.CaptureFixture[str]) -> None:
    result = compare()
    assert len(backend.seen) == 8 * (len(QA) + len(MEDICAL)) == len(result["examples"])
    value = {name: measure["value"] for name, measure in result["metrics"].items()}
    for mode in MODES["closed"]:
        knows = float(mode in ("rag", "rag-tuned"))
        assert value[f"qa.closed.{mode}.em"] == value[f"medical.closed.{mode}.accuracy"] == knows
        assert value.get(f"qa.closed.{mode}.retrieved") == (1 if knows else None)
    for mode in MODES["open"]:
        assert value[f"qa.open.{mode}.f1"] == value[f"medical.open.{mode}.accuracy"] == 1
    assert result["differences"]["qa.closed.rag.em"]["value"] == 1
    assert result["data_digest"].keys() == {"qa", "medical"}
    assert result["differences"]["qa.open.tuned.em"] == {"value": 0, "low": 0, "high": 0, "p": 1}
    asked = [len(generation.prompt) for generation in backend.seen]
    spent = [example["prompt_tokens"] for example in result["examples"]]
    assert sorted(spent) == sorted(asked)
    assert "| RAG | 1.000 [1.000, 1.000] | – | 1.000 [1.000, 1.000] | – |" in overview(result)
    assert "| always the commonest label | – | – | 0.500 | 0.500 |" in overview(result)
    assert overview(result) in capsys.readouterr().out
    assert Path("r/compare.md").read_text().startswith(overview(result))
    assert Path("r/compare.png").read_bytes().startswith(b"\x89PNG")


def test_the_modes_of_one_record_are_under_way_together(backend: Reads) -> None:
    compare("--concurrency", "5", tasks="qa")
    assert backend.most == 5
    backend.most = 0
    Path("r/compare.answers.jsonl").unlink()
    compare("--concurrency", "10", tasks="qa")
    assert 5 < backend.most <= 10


def test_a_closed_book_has_no_context_but_what_was_found_among_its_own(backend: Reads) -> None:
    compare("--concurrency", "1", "--limit", "1")
    prompts = [text(generation) for generation in backend.seen]
    contexts = {record["context"] for record in QA} | {record["context"] for record in MEDICAL}
    held = [{context for context in contexts if context in prompt} for prompt in prompts]
    assert [bool(found) for found in held[:5]] == ["[1]" in prompt for prompt in prompts[:5]], "closed book of qa"
    assert sum("[1]" in prompt for prompt in prompts[:5]) == 2
    assert [len(found) for found in held[5:8]] == [1, 1, 1], "open book of qa"
    for found, prompt in zip(held, prompts, strict=True):
        own = MEDICAL if any(record["question"] in prompt for record in MEDICAL) else QA
        assert found <= {record["context"] for record in own}
    names = Counter(generation.adapter.name if generation.adapter else None for generation in backend.seen)
    assert names == {None: 10, "qa": 3, "medical": 3}


def test_only_a_closed_book_lets_an_adapter_say_what_its_message_does_not(backend: Reads) -> None:
    compare("--concurrency", "1", "--limit", "1", tasks="qa")
    held = {
        any(record["context"] in text(generation) for record in QA): generation.decoding.constraint
        for generation in backend.seen
        if generation.adapter
    }
    assert held == {False: None, True: "span"}
    assert all(generation.decoding.temperature == 0 for generation in backend.seen)


def test_what_was_answered_is_not_asked_again(backend: Reads) -> None:
    first = compare("--limit", "1", tasks="qa")
    assert len(backend.seen) == 8
    backend.seen.clear()
    assert compare("--limit", "1", tasks="qa")["metrics"] == first["metrics"] and not backend.seen
    more = compare("--limit", "2", tasks="qa")
    assert len(backend.seen) == 8, "the records of the smaller limit are among those of the larger one"
    assert {e["id"] for e in first["examples"]} < {e["id"] for e in more["examples"]}


def test_records_that_ask_the_same_are_judged_each_by_its_own(backend: Reads, tmp_path: Path) -> None:
    other = QA[0] | {"id": "other", "context": "The new lighthouse was built by Bo Lind.", "answers": ["Bo Lind"]}
    (tmp_path / "data" / "qa" / "test.jsonl").write_text("\n".join(map(json.dumps, (QA[0], other))))
    compare("--limit", "1", tasks="qa")
    asked = Counter((e["id"], *e["expected"]) for e in compare(tasks="qa")["examples"])
    assert asked == {("a", "Ana Rivas"): 8, ("other", "Bo Lind"): 8}


def test_an_answer_that_was_cut_off_is_asked_again(backend: Reads) -> None:
    whole = compare("--limit", "1", tasks="qa")
    kept = Path("r/compare.answers.jsonl")
    kept.write_bytes(kept.read_bytes()[:-20])
    backend.seen.clear()
    assert compare("--limit", "1", tasks="qa")["metrics"] == whole["metrics"]
    assert len(backend.seen) == 1
    assert len(kept.read_text().splitlines()) == 8


@pytest.mark.parametrize(
    ("setting", "value", "asked"),
    [
        ("EMBEDDER", "another", {"rag", "rag-tuned"}),
        ("RERANKER", "another", {"rag", "rag-tuned"}),
        ("DTYPE", "float32", {"prompt", "few-shot", "rag", "tuned", "rag-tuned"}),
    ],
)
def test_another_search_or_another_type_of_weights_is_asked_anew(
    backend: Reads, monkeypatch: pytest.MonkeyPatch, setting: str, value: str, asked: set[str]
) -> None:
    monkeypatch.setenv("SWAPBOARD_DTYPE", "bfloat16")
    compare("--limit", "1", tasks="qa")
    backend.seen.clear()
    monkeypatch.setenv(f"SWAPBOARD_{setting}", value)
    result = compare("--limit", "1", tasks="qa")
    closed = [mode for mode in MODES["closed"] if mode in asked]
    opened = [mode for mode in MODES["open"] if mode in asked]
    assert len(backend.seen) == len(closed) + len(opened)
    assert result["config"][setting.lower()] == value


def test_another_number_of_passages_is_asked_anew_where_it_is_the_default(
    backend: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    compare("--limit", "1", tasks="qa")
    backend.seen.clear()

    def of_two(**given: object) -> Retrieval:
        return Retrieval.model_construct(set(given), top_k=2, **given)

    monkeypatch.setattr(comparing, "Retrieval", of_two)
    compare("--limit", "1", tasks="qa")
    assert len(backend.seen) == 2 and all("[1]" in text(generation) for generation in backend.seen)


def test_the_commits_of_all_answers_are_told(backend: Reads, monkeypatch: pytest.MonkeyPatch) -> None:
    told = []
    for code, limit in (("c0ffee", 1), ("beef+", 2), (None, 2)):
        monkeypatch.setattr(command, "commit", lambda code=code: code)
        result = compare("--limit", str(limit), tasks="qa")
        assert "commit" not in result
        told.append(result["commits"])
    assert told == [["c0ffee"], ["beef+", "c0ffee"], ["beef+", "c0ffee"]]
    assert {example["commit"] for example in result["examples"]} == {"beef+", "c0ffee"}


@pytest.mark.parametrize("change", [{"fill": 0.75}, {"decoding": {"max_tokens": 9}}], ids=["weights", "card"])
def test_another_revision_of_an_adapter_is_asked_anew(backend: Reads, tmp_path: Path, change: dict) -> None:
    compare("--limit", "1", tasks="qa")
    backend.seen.clear()
    (tmp_path / "adapters" / "qa").rename(tmp_path / "old")
    again = {"decoding": {"max_tokens": 8, "constraint": "span"}, **change}
    write_adapter(tmp_path / "adapters" / "qa", task="qa", **again)
    compare("--limit", "1", tasks="qa")
    assert [generation.adapter.name for generation in backend.seen if generation.adapter] == ["qa"] * 3
    assert len(backend.seen) == 3


def test_an_answer_of_a_revision_that_came_meanwhile_is_not_kept(
    backend: Reads, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    add = Answers.add

    def replacing(self: Answers, answers: Mapping[str, Answer]) -> None:
        add(self, answers)
        if not Path("other").exists():
            write_adapter(Path("other"), fill=0.75)
            Path("other/adapter_model.safetensors").replace("adapters/qa/adapter_model.safetensors")

    monkeypatch.setattr(Answers, "add", replacing)
    arguments = [
        "--task",
        "compare",
        "--data",
        "data",
        "--tasks",
        "qa",
        "--concurrency",
        "1",
        "--out",
        "r/compare.json",
    ]
    assert main(arguments) == 1
    assert "adapter 'qa' was replaced while it was measured" in capsys.readouterr().err
    assert len(Path("r/compare.answers.jsonl").read_text().splitlines()) == 5, "those of the first question alone"


def test_other_documents_are_searched_anew(backend: Reads, tmp_path: Path) -> None:
    compare("--limit", "1", tasks="qa")
    backend.seen.clear()
    path = tmp_path / "data" / "qa" / "test.jsonl"
    path.write_text(path.read_text().replace("deep mine", "deepest mine"))
    result = compare("--limit", "1", tasks="qa")
    assert result["examples"][0]["id"] != "c", "the record asked is not the one that was changed"
    assert len(backend.seen) == 2 and all("[1]" in text(generation) for generation in backend.seen)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--task compare", "no adapter named 'legal'"),
        ("--task compare", "each task asks the adapter of its name, and --tasks says which tasks"),
        ("--task compare --tasks qa --data absent", "absent/qa/test.jsonl: cannot be read"),
        ("--task compare --mode rag", "compare asks in every mode by itself"),
        ("--task compare --adapter qa", "compare asks in every mode by itself"),
        ("--task qa --tasks qa", "--tasks is for --task compare only"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_is_asked(
    backend: Reads, capsys: pytest.CaptureFixture[str], arguments: str, message: str
) -> None:
    assert main([*arguments.split(), "--out", "r/compare.json"]) == 1
    assert message in capsys.readouterr().err
    assert not backend.seen


def test_kept_answers_that_are_something_else_are_named(backend: Reads, capsys: pytest.CaptureFixture[str]) -> None:
    Path("r").mkdir()
    Path("r/compare.answers.jsonl").write_text('{"key": "x"}\n')
    assert main(["--task", "compare", "--tasks", "qa", "--data", "data", "--out", "r/compare.json"]) == 1
    assert "compare.answers.jsonl:1: no answer of a comparison" in capsys.readouterr().err


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.key)
def test_the_project_has_records_of_its_own_for_every_section(section) -> None:
    items = section.load(None)
    assert len(items) >= 10
    for mode in section.modes:
        messages = section.prompts[mode].messages(items[0].record)
        assert items[0].record["question"].replace(" ?", "?") in messages[-1].content
        assert (items[0].record["context"] in messages[-1].content) == (section.book == "open")
