"""One question in several columns, over a fake backend and a real store."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import aclosing

import pytest

from assistant.comparison.events import ColumnEvent, ComparisonDone, ComparisonStarted
from assistant.comparison.request import Contestant
from assistant.errors import InvalidRequest, StoreUnavailable
from assistant.messages import Decoding, Done, Failed, PartFinished, PartStarted, Retrieval, TextDelta
from tests.comparison.conftest import asked, collect
from tests.fakes import EchoBackend, ListRetriever


def text_of(events, column):
    return "".join(
        e.event.text
        for e in events
        if isinstance(e, ColumnEvent) and e.column == column and isinstance(e.event, TextDelta)
    )


class Meeting(EchoBackend):
    """No answer goes on before all of them have begun."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.barrier = asyncio.Barrier(size)

    async def generate(self, generation):
        async with asyncio.timeout(20):
            await self.barrier.wait()
        async for item in super().generate(generation):
            yield item


async def test_all_columns_run_at_once_and_each_ends_once(compare_over):
    events = await collect(compare_over(Meeting(3)).run(asked(), "ann"))
    assert isinstance(events[0], ComparisonStarted) and isinstance(events[-1], ComparisonDone)
    assert events[0].order == (0, 1, 2) and events[0].id == events[-1].id
    for column in range(3):
        own = [e.event for e in events[1:-1] if e.column == column]
        assert isinstance(own[0], PartStarted) and isinstance(own[-1], Done)
        assert sum(isinstance(e, Done | Failed) for e in own) == 1
    assert text_of(events, 2) == "mood: word1 word2"


async def test_each_mode_is_asked_as_it_should_be(compare_over):
    backend = EchoBackend()
    await collect(compare_over(backend).run(asked(system="Be short."), "ann"))
    prompts = {(g.adapter.name if g.adapter else "base"): [] for g in backend.seen}
    for generation in backend.seen:
        name = generation.adapter.name if generation.adapter else "base"
        prompts[name].append("".join(map(chr, generation.prompt)))
    assert sorted(prompts["base"], key=len) == [
        "<system>Be short.<user>two plus two<assistant>",
        "<system>Be short.<user>one plus one<assistant>two<user>two plus two<assistant>",
    ]
    assert prompts["mood"] == ["<system>Be short.<user>two plus two<assistant>"]


async def test_one_seed_is_drawn_for_all_columns_and_a_contestants_own_stands(compare_over, comparisons):
    backend = EchoBackend()
    contestants = (
        Contestant(mode="prompt"),
        Contestant(mode="prompt", decoding=Decoding(temperature=1)),
        Contestant(mode="prompt", decoding=Decoding(seed=5)),
    )
    started, *_ = await collect(compare_over(backend).run(asked(contestants=contestants), "ann"))
    seed = comparisons.comparison(started.id, "ann").request["seed"]
    assert sorted(g.decoding.seed for g in backend.seen) == sorted([seed, seed, 5])
    backend.seen.clear()
    await collect(compare_over(backend).run(asked(contestants=contestants, seed=9), "ann"))
    assert sorted(g.decoding.seed for g in backend.seen) == [5, 9, 9]


async def test_everything_needed_later_is_recorded(compare_over, comparisons, store):
    started, *_ = await collect(compare_over().run(asked(references=("four",)), "ann"))
    kept = comparisons.comparison(started.id, "ann")
    assert (kept.state, kept.question, kept.references) == ("finished", "two plus two", ("four",))
    assert [(c.shown, c.position, c.mode, c.adapter, c.state) for c in kept.columns] == [
        (0, 0, "prompt", "base", "finished"),
        (1, 1, "few-shot", "base", "finished"),
        (2, 2, "tuned", "mood", "finished"),
    ]
    tuned = kept.columns[2]
    part = tuned.parts[0]
    assert part.digest and part.decoding.max_tokens == 3 and part.decoding.seed is not None
    assert part.timing.total >= 0 and part.usage.completion_tokens == 3 and tuned.text == "mood: word1 word2"
    assert store.turn(tuned.turn_id).request["messages"][-1]["content"] == "two plus two"


async def test_what_a_contestant_leaves_open_stays_open_in_the_record(compare_over, comparisons):
    started, *_ = await collect(compare_over().run(asked(), "ann"))
    tuned = comparisons.comparison(started.id, "ann").request["contestants"][2]
    assert tuned == {"mode": "tuned", "adapter": "mood"}, "or the card's settings would be lost when it is run again"


async def test_a_column_that_fails_is_told_and_kept_and_the_others_go_on(compare_over, comparisons):
    contestants = (Contestant(mode="prompt"), Contestant(mode="tuned", adapter="moood"))
    events = await collect(compare_over().run(asked(contestants=contestants), "ann"))
    assert [e.event.status for e in events[1:-1] if isinstance(e.event, Failed)] == [404]
    kept = comparisons.comparison(events[0].id, "ann")
    assert [c.state for c in kept.columns] == ["finished", "failed"] and "mood" in kept.columns[1].error
    assert kept.state == "finished"


RAG = (Contestant(mode="prompt"), Contestant(mode="rag"), Contestant(mode="rag-tuned", adapter="sums"))


async def test_those_that_answer_from_the_documents_are_shown_passages_and_nobody_else(compare_over, comparisons):
    retriever = ListRetriever("Every lighthouse has a keeper.", "Nothing of the kind.")
    comparator = compare_over(retriever=retriever)
    request = asked("Who keeps the lighthouse?", contestants=RAG, retrieval=Retrieval(top_k=2))
    started, *_ = await collect(comparator.run(request, "ann"))
    prompt, rag, tuned = comparisons.comparison(started.id, "ann").columns
    assert prompt.parts[0].passages == () and "keeper" not in prompt.parts[0].prompt
    for column in (rag, tuned):
        part = column.parts[0]
        assert [p.text for p in part.passages] == ["Every lighthouse has a keeper."]
        assert "Every lighthouse has a keeper." in part.prompt and part.grounding is not None
    assert {retrieval.top_k for _, retrieval in retriever.asked} == {2}


async def test_where_no_passage_fits_only_those_that_need_one_fail(compare_over, comparisons):
    events = await collect(compare_over().run(asked(contestants=RAG), "ann"))
    failed = sorted((e.column, e.event.code) for e in events[1:-1] if isinstance(e.event, Failed))
    assert failed == [(1, "nothing_relevant"), (2, "nothing_relevant")]
    kept = comparisons.comparison(events[0].id, "ann")
    assert kept.state == "finished" and [c.state for c in kept.columns] == ["finished", "failed", "failed"]


async def test_where_every_column_fails_the_comparison_has_failed(compare_over, comparisons):
    events = await collect(compare_over(EchoBackend(error=ZeroDivisionError("odd"))).run(asked(), "ann"))
    assert comparisons.comparison(events[0].id, "ann").state == "failed"


async def test_a_blind_comparison_tells_text_and_nothing_else(compare_over, comparisons):
    backend = EchoBackend()
    seen = set()
    for _ in range(12):
        events = await collect(compare_over(backend).run(asked("x", blind=True), "ann"))
        assert events[0].order is None
        for event in events[1:-1]:
            inner = event.event
            if isinstance(inner, PartStarted):
                assert (inner.route.adapter, inner.digest, inner.passages) == ("", None, ())
            if isinstance(inner, PartFinished | Done):
                for part in [inner.part] if isinstance(inner, PartFinished) else inner.parts:
                    assert (part.route.adapter, part.digest, part.prompt) == ("", None, None)
                    assert part.usage.prompt_tokens == part.timing.total == 0
        kept = comparisons.comparison(events[0].id, "ann")
        assert kept.is_hidden and [(c.mode, c.adapter, c.position) for c in kept.columns] == [(None, None, None)] * 3
        seen.add(next(c.shown for c in comparisons.reveal(events[0].id, "ann").columns if c.mode == "tuned"))
    assert len(seen) > 1, "shuffled"


async def test_leaving_stops_every_column_and_keeps_what_there_is(compare_over, comparisons):
    backend = EchoBackend(words=1000, pace=0.001)
    contestants = (Contestant(mode="prompt"), Contestant(mode="tuned", adapter="sums"))
    async with aclosing(compare_over(backend).run(asked(contestants=contestants), "ann")) as events:
        async for event in events:
            if isinstance(event, ColumnEvent) and event.column == 1 and getattr(event.event, "text", "") == " word5":
                break
    assert backend.running == 0
    (kept,) = comparisons.comparisons("ann")
    kept = comparisons.comparison(kept.id, "ann")
    assert kept.state == "cancelled" and [c.state for c in kept.columns] == ["cancelled", "cancelled"]
    assert kept.columns[1].text.startswith("sums: word1")
    computed = backend.generated
    await asyncio.sleep(0.05)
    assert backend.generated == computed


async def test_one_that_is_stopped_while_it_is_written_down_does_not_seem_to_run(
    compare_over, comparisons, monkeypatch
):
    begin, written = comparisons.begin, threading.Event()

    def slow(*args):
        begun = begin(*args)
        written.set()
        time.sleep(0.2)
        return begun

    monkeypatch.setattr(comparisons, "begin", slow)
    backend = EchoBackend()
    task = asyncio.create_task(collect(compare_over(backend).run(asked(), "ann")))
    await asyncio.to_thread(written.wait, 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [c.state for c in comparisons.comparisons("ann")] == ["cancelled"] and backend.seen == []


async def test_where_nothing_can_be_recorded_nothing_is_asked(compare_over, store):
    backend = EchoBackend()
    with store.database.writing(), pytest.raises(StoreUnavailable):
        await collect(compare_over(backend).run(asked(), "ann"))
    assert backend.seen == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"question": " "}, "question is empty"),
        ({"contestants": (Contestant(mode="prompt"),)}, "1 contestants; allowed: 2 to 6"),
        ({"contestants": (Contestant(mode="prompt"),) * 2}, "stands twice"),
        ({"examples": ()}, "needs examples"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_words(changes, words):
    with pytest.raises(InvalidRequest, match=words):
        asked(**changes)


@pytest.mark.parametrize(
    ("mode", "adapter", "words"),
    [
        ("tuned", "base", "needs an adapter"),
        ("rag-tuned", "base", "needs an adapter"),
        ("prompt", "mood", "answered by the base"),
        ("rag", "mood", "answered by the base"),
        ("tuned", "auto", "may not be 'auto'"),
    ],
)
def test_a_mode_that_contradicts_its_adapter_is_refused(mode, adapter, words):
    with pytest.raises(InvalidRequest, match=words):
        Contestant(mode=mode, adapter=adapter)
