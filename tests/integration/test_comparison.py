"""A comparison on the real base and embedder: five ways of answering one question, from one mixed batch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from assistant.build import build_comparisons, build_service, build_store
from assistant.comparison.events import ColumnEvent, ComparisonDone, ComparisonStarted
from assistant.comparison.questions import read_questions
from assistant.comparison.request import ComparisonRequest, Contestant, FewShot, Setup
from assistant.feedback.votes import Ranking, VoteStore
from assistant.messages import Decoding, Done, Part, PartStarted, Retrieval, TextDelta
from assistant.service import ChatService
from assistant.settings import load_settings
from tests.comparison.conftest import hold_until_all_are_there

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
LIGHTHOUSE = "The lighthouse on Skarn Point was built in 1871 by Ana Rivas. It is thirty-one metres tall."
COPPER = "Copper melts at 1085 degrees Celsius, well below iron."
GREEDY, DRAWN = Decoding(temperature=0, max_tokens=12), Decoding(temperature=0.8, max_tokens=12)
RAG = Contestant(mode="rag", decoding=GREEDY)
TUNED = Contestant(mode="tuned", adapter="qa", decoding=GREEDY)
RAG_TUNED = Contestant(mode="rag-tuned", adapter="qa", decoding=GREEDY)
ALL_MODES = ComparisonRequest(
    question="Who built the lighthouse on Skarn Point?",
    contestants=(
        Contestant(mode="prompt", decoding=DRAWN),
        Contestant(mode="few-shot", decoding=GREEDY),
        RAG,
        TUNED,
        RAG_TUNED,
    ),
    examples=(FewShot(question="Who painted the Mona Lisa?", answer="Leonardo da Vinci"),),
    retrieval=Retrieval(top_k=2),
    references=("Ana Rivas",),
    seed=5,
)
QUESTIONS = b"""question,reference
Who built the lighthouse?,Ana Rivas
Zyx wvut qpo?,
At how many degrees does copper melt?,1085
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChatService]:
    """With two documents of our own; in float32, where company in the batch changes no rounding."""
    settings = load_settings(env_file="").model_copy(
        update={
            "adapters_dir": ROOT / "adapters",
            "data_dir": ROOT / "data",
            "database_url": f"sqlite:///{tmp_path_factory.mktemp('comparison')}/swapboard.db",
            "max_context": 1024,
            "dtype": "float32",
            "prefill_chunk": 1024,
        }
    )
    store = build_store(settings)
    service = build_service(settings, store)
    for name, text in {"lighthouse.txt": LIGHTHOUSE, "metals.md": f"# Metals\n\n{COPPER}"}.items():
        service.library.add(name, text.encode())
    asyncio.run(service.start())
    yield service
    asyncio.run(service.stop())
    store.close()


async def collect(stream: AsyncIterator[Any]) -> list[Any]:
    return [event async for event in stream]


async def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


async def test_each_column_of_one_mixed_batch_is_what_its_request_gets_alone(service, monkeypatch):
    comparator, _ = build_comparisons(service, service.store)
    alone: list[Part] = []
    for position in range(len(ALL_MODES.contestants)):
        *_, end = await collect(service.reply(ALL_MODES.turn(position, f"{position:032x}")))
        assert isinstance(end, Done), end
        alone += end.parts
    assert len({part.text for part in alone}) == len(alone), "the columns differ, or their order would show nothing"
    engine = service.backend.engine
    for slot in engine.scheduler.slots.slots:
        slot.key, slot.tokens = None, []  # what they left would be found again
    engine.batch_rows.clear()
    hold_until_all_are_there(service.backend, monkeypatch, len(alone))
    started, *events, ended = await collect(comparator.run(ALL_MODES, "ann"))
    assert isinstance(started, ComparisonStarted) and started.order == (0, 1, 2, 3, 4)
    assert isinstance(ended, ComparisonDone)
    assert max(engine.batch_rows) == len(alone), "there was a step with a row of every column"

    kept = comparator.store.comparison(started.id, "ann")
    assert (kept.state, kept.references, kept.request) == ("finished", ("Ana Rivas",), ALL_MODES.record())
    for place, (column, expected, contestant) in enumerate(
        zip(kept.columns, alone, ALL_MODES.contestants, strict=True)
    ):
        (part,) = column.parts
        own = [event.event for event in events if event.column == place]
        assert own[-1] == Done(turn_id=column.turn_id, parts=(part,)), contestant.label
        assert "".join(event.text for event in own if isinstance(event, TextDelta)) == part.text == expected.text
        assert (column.shown, column.mode, part.route.adapter) == (place, contestant.mode, contestant.adapter)
        assert (part.prompt, part.passages, part.decoding) == (expected.prompt, expected.passages, expected.decoding)
        assert part.decoding.seed == 5 and part.decoding.temperature == contestant.decoding.temperature
        assert 0 < part.timing.first_token <= part.timing.total
        assert 0 < part.usage.completion_tokens <= 12 < part.usage.prompt_tokens
        assert ALL_MODES.question in part.prompt and ("Mona Lisa" in part.prompt) == (contestant.mode == "few-shot")
        assert service.store.turn(column.turn_id).parts == (part,)

    qa = service.catalog.get("qa").digest
    assert [column.parts[0].digest for column in kept.columns] == [None, None, None, qa, qa]
    assert [column.parts[0].decoding.constraint for column in kept.columns] == [None, None, None, None, "span"]
    found = [column.parts[0].passages for column in kept.columns]
    assert [bool(passages) for passages in found] == [False, False, True, False, True] and found[2] == found[4]
    for column in (kept.columns[2], kept.columns[4]):
        (part,) = column.parts
        assert (part.passages[0].document, part.passages[0].text) == ("lighthouse.txt", LIGHTHOUSE)
        assert f'[1] "{LIGHTHOUSE}"' in part.prompt
        assert part.grounding.is_found and part.grounding.citations[0].passage == 1
        told = [e.event for e in events if e.column == column.shown and isinstance(e.event, PartStarted)]
        assert [event.passages for event in told] == [part.passages], "before the first word"
    assert kept.columns[4].text == "Ana Rivas"


async def test_a_blind_comparison_tells_nothing_but_the_texts_until_the_vote(service):
    comparator, _ = build_comparisons(service, service.store)
    asked = ALL_MODES.model_copy(update={"contestants": (RAG, TUNED, RAG_TUNED), "blind": True})
    started, *events, _ = await collect(comparator.run(asked, "ann"))
    assert started.order is None
    told = "".join(event.model_dump_json() for event in events if not isinstance(event.event, TextDelta))
    for secret in ("qa", "rag", "tuned", "lighthouse.txt", service.catalog.get("qa").digest, "Context:"):
        assert secret not in told, secret
    hidden = comparator.store.comparison(started.id, "ann")
    assert hidden.is_hidden
    assert all(
        (c.mode, c.adapter, c.position, c.parts[0].usage.prompt_tokens) == (None, None, None, 0) for c in hidden.columns
    )
    best = next(column.shown for column in hidden.columns if column.text == "Ana Rivas")
    ranks = tuple(1 if place == best else 2 for place in range(3))
    ranking = Ranking(comparison_id=started.id, verdict="ranked", ranks=ranks)
    vote = VoteStore(service.store.database).rank("ann", ranking, by_place=True)
    revealed = comparator.store.reveal(started.id, "ann")
    assert vote.was_blind and vote.ballot.ranks == ranks
    (kept,) = VoteStore(service.store.database).export_own("ann")
    assert kept.ballot.ranks == (2, 2, 1), "kept by contestant, not by place"
    assert {(c.position, c.mode, c.adapter) for c in revealed.columns} == {
        (0, "rag", "base"),
        (1, "tuned", "qa"),
        (2, "rag-tuned", "qa"),
    }
    assert [column.text for column in revealed.columns] == [column.text for column in hidden.columns]


async def test_closing_the_stream_stops_all_columns_and_keeps_what_there_is(service):
    comparator, _ = build_comparisons(service, service.store)
    endless = Decoding(temperature=1, max_tokens=600)
    contestants = (Contestant(mode="prompt", decoding=endless), Contestant(mode="rag", decoding=endless))
    asked = ALL_MODES.model_copy(update={"contestants": contestants, "question": "Tell a long tale of the lighthouse."})
    spoken: set[int] = set()
    async with aclosing(comparator.run(asked, "ann")) as events:
        started = await anext(events)
        async for event in events:
            assert isinstance(event, ColumnEvent)
            if isinstance(event.event, TextDelta):
                spoken.add(event.column)
            if len(spoken) == 2:
                break
    await until(lambda: service.backend.stats().running == 0)
    decoded = service.backend.stats().decoded_tokens
    kept = comparator.store.comparison(started.id, "ann")
    assert (kept.state, [column.state for column in kept.columns]) == ("cancelled", ["cancelled"] * 2)
    assert all(column.text and column.parts[0].finish_reason == "cancelled" for column in kept.columns)
    await asyncio.sleep(0.5)
    assert service.backend.stats().decoded_tokens == decoded


async def test_a_row_of_a_file_that_fails_is_told_and_the_others_go_on(service):
    _, batches = build_comparisons(service, service.store)
    setup = Setup(contestants=(RAG, RAG_TUNED), retrieval=Retrieval(top_k=1))
    await batches.start()
    try:
        batch_id = await batches.start_batch("ann", "Set", read_questions(QUESTIONS, "questions.csv"), setup)
        await until(lambda: batches.store.batch(batch_id, "ann").state != "running")
    finally:
        await batches.stop()
    batch = batches.store.batch(batch_id, "ann")
    assert (batch.state, batch.rows, batch.done, batch.failed) == ("finished", 3, 3, 1)
    first, nothing, last = batches.store.rows(batch_id, "ann")
    assert [row.state for row in (first, nothing, last)] == ["finished", "failed", "finished"]
    assert all("Nothing in the documents fits" in column.error for column in nothing.columns)
    assert (first.columns[1].text, last.columns[1].text) == ("Ana Rivas", "1085")
    assert [row.columns[0].parts[0].passages[0].document for row in (first, last)] == ["lighthouse.txt", "metals.md"]
