"""The columns of a comparison in the real engine, on a tiny base."""

from __future__ import annotations

import pytest

from assistant.backends.local import LocalBackend
from assistant.base_model import load_base
from assistant.comparison.comparator import Comparator
from assistant.comparison.request import ComparisonRequest, Contestant, FewShot
from assistant.messages import BestOf, Decoding, Done
from tests import tiny
from tests.comparison.conftest import collect, hold_until_all_are_there
from tests.engine.test_reward import write_reward
from tests.fakes import ListRetriever, fake_service

QUESTION = "What does the keeper of the lighthouse do when the night is long and the sea is rough?"
GREEDY, WARM = Decoding(temperature=0, max_tokens=24), Decoding(temperature=1, max_tokens=24)
REQUEST = ComparisonRequest(
    question=QUESTION,
    contestants=(
        Contestant(mode="prompt", decoding=GREEDY),
        Contestant(mode="prompt", decoding=WARM),
        Contestant(mode="few-shot", decoding=GREEDY),
        Contestant(mode="rag", decoding=GREEDY),
        Contestant(mode="tuned", adapter="lora", decoding=GREEDY),
        Contestant(mode="rag-tuned", adapter="lora", decoding=GREEDY),
    ),
    examples=(FewShot(question="Who?", answer="Ann."),),
    seed=3,
)


@pytest.fixture
async def service(tmp_path, store):
    folder = tiny.write_base(tmp_path / "base")
    tiny.write_adapter(tmp_path / "adapters" / "lora", folder, tiny.lora_config(), 1)
    base = load_base(str(folder), "float32", tmp_path)
    backend = LocalBackend(
        base, max_context=512, max_batch=8, max_queue=8, prefill_chunk=64, cache_slots=8, pool_bytes=1 << 24
    )
    retriever = ListRetriever("The keeper of the lighthouse lights the lamp.")
    service = fake_service(tmp_path / "adapters", backend, store, retriever=retriever)
    await service.start()
    yield service
    await service.stop()


def forget(engine):
    for slot in engine.scheduler.slots.slots:
        slot.key, slot.tokens = None, []  # what was answered before would be found again
    engine.batch_rows.clear()


async def test_all_columns_share_steps_and_each_answers_as_it_would_alone(service, comparisons, monkeypatch):
    engine = service.backend.engine
    alone = {}
    for position, contestant in enumerate(REQUEST.contestants):
        *_, end = await collect(service.reply(REQUEST.turn(position, f"{position:032x}")))
        assert isinstance(end, Done) and contestant.adapter == end.parts[0].route.adapter
        alone[position] = end.text
    forget(engine)
    hold_until_all_are_there(service.backend, monkeypatch, count=len(REQUEST.contestants))
    started, *_ = await collect(Comparator(service, comparisons).run(REQUEST, "ann"))
    kept = comparisons.comparison(started.id, "ann")
    assert {c.position: c.text for c in kept.columns} == alone and len(set(alone.values())) == len(alone)
    assert max(engine.batch_rows) == len(REQUEST.contestants), "there was a step with a row of every column"
    same = sorted(kept.columns[position].parts[0].usage.cached_tokens for position in (0, 1))
    assert same == [0, kept.columns[0].parts[0].usage.prompt_tokens - 1], "the same prompt was read once"


async def test_the_answers_of_a_best_of_share_steps_with_the_others_and_each_is_as_it_would_be_alone(
    service, comparisons, monkeypatch, tmp_path
):
    write_reward(tmp_path / "adapters" / "taste", tmp_path / "base", 5)
    # Random weights write characters that the fake prompter has no token for.
    monkeypatch.setattr(service.planner.prompter, "encode", lambda text: [ord(char) % 256 for char in text])
    best = Contestant(mode="tuned", adapter="lora", decoding=WARM, best_of=BestOf(n=4, judge="taste"))
    pair = (Contestant(mode="prompt", decoding=WARM), best, Contestant(mode="tuned", adapter="lora", decoding=GREEDY))
    request = ComparisonRequest(question=QUESTION, contestants=pair, seed=3, reward_by="taste")
    alone = {}
    for seed in range(3, 7):
        plain = best.model_copy(update={"best_of": None, "decoding": WARM.model_copy(update={"seed": seed})})
        one = request.model_copy(update={"contestants": (pair[0], plain, pair[2])})
        *_, end = await collect(service.reply(one.turn(1, f"{seed:032x}")))
        alone[seed] = (end.text, end.parts[0].reward.score)
    *_, whole = await collect(service.reply(request.turn(1, "f" * 32)))
    assert len(set(alone.values())) > 1, "there is something to choose from"
    forget(service.backend.engine)
    hold_until_all_are_there(service.backend, monkeypatch, count=6)
    started, *_ = await collect(Comparator(service, comparisons).run(request, "ann"))
    kept = comparisons.comparison(started.id, "ann")
    (part,) = kept.columns[1].parts
    assert {one.seed: one.text for one in part.drawn.candidates} == {seed: text for seed, (text, _) in alone.items()}
    for one in part.drawn.candidates:
        assert one.reward == pytest.approx(alone[one.seed][1], abs=1e-3)
    best_seed = max(alone, key=lambda seed: alone[seed][1])
    assert (part.decoding.seed, part.text) == (best_seed, alone[best_seed][0]) == (
        whole.parts[0].decoding.seed, whole.text
    )  # fmt: skip
    assert max(service.backend.engine.batch_rows) == 6, "there was a step with a row of every answer"
