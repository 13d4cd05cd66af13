"""The engine, stepped by hand: who runs, what is reused, how requests end."""

from __future__ import annotations

import gc
import threading
import time
import weakref

import pytest
import torch
from safetensors.torch import load_file, save_file

from assistant.base_model import load_base
from assistant.catalog import WEIGHTS_FILE, read_adapter
from assistant.engine import attention
from assistant.engine.sequence import State
from assistant.errors import AdapterBroken, BaseModelError, EngineFailed, EngineStopped, QueueFull
from assistant.messages import Finished
from tests import tiny
from tests.engine.harness import Bench

LONG = "A prompt of some length. " * 8


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny.write_base(tmp_path_factory.mktemp("base"), "llama")


@pytest.fixture(scope="module")
def lora(base, tmp_path_factory):
    return tiny.write_adapter(tmp_path_factory.mktemp("adapters") / "lora", base, tiny.lora_config(), 1)


@pytest.fixture(scope="module")
def prefix(base, tmp_path_factory):
    config = tiny.soft_config("prefix", 6)
    return tiny.write_adapter(tmp_path_factory.mktemp("adapters") / "prefix", base, config, 2, size=2.0)


@pytest.fixture
def bench(base):
    bench = Bench(base)
    yield bench
    bench.close()


def wait_until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.001)


def alone(base, prompt, adapter=None, **options):
    bench = Bench(base)
    answer = bench.submit(prompt, adapter, **options)
    bench.run()
    bench.close()
    return answer


def test_a_cancelled_request_takes_part_in_no_further_step(bench, lora):
    victim, other = bench.submit("one", lora, 200), bench.submit("two", None, 200)
    while not victim.sequence.generated:
        bench.step()
    bench.engine.cancel(victim.sequence)
    held = victim.sequence.generated
    decoded = bench.engine.decoded_tokens
    bench.step(10)
    assert victim.sequence.generated == held and victim.sequence.state is State.CANCELLED
    assert bench.engine.decoded_tokens - decoded == 10, "only the other request was computed"
    assert bench.pool.entries()[0].leases == 0
    bench.engine.cancel(other.sequence)
    bench.step()


def test_a_waiting_request_can_be_cancelled(base):
    bench = Bench(base, max_batch=1, slots=1)
    first, second = bench.submit("one", None, 3), bench.submit("two", None, 3)
    bench.step()
    bench.engine.cancel(second.sequence)
    bench.run()
    assert first.finished and second.sequence.state is State.CANCELLED and second.items == []
    bench.close()


def test_a_long_prompt_is_read_in_chunks_while_streams_keep_flowing(base):
    bench = Bench(base, prefill_chunk=10)
    stream = bench.submit("short", None, 100)
    bench.step(2)
    prompt = bench.submit(LONG, None, 1)
    before = stream.sequence.generated
    bench.step(len(LONG) // 10)
    assert stream.sequence.generated - before == len(LONG) // 10 and prompt.items
    bench.engine.cancel(stream.sequence)
    bench.run()
    bench.close()


def test_chunks_change_no_answer(base, lora):
    expected = alone(base, LONG, lora).ids
    for chunk in (1, 7, 64):
        bench = Bench(base, prefill_chunk=chunk)
        answer = bench.submit(LONG, lora)
        bench.run()
        assert answer.ids == expected
        bench.close()


@pytest.mark.parametrize("kind", ["base", "lora", "prefix"])
def test_a_conversations_earlier_turns_are_not_read_again(bench, base, lora, prefix, kind):
    adapter = {"base": None, "lora": lora, "prefix": prefix}[kind]
    first = bench.submit(LONG, adapter)
    bench.run()
    follow_up = [*first.sequence.tokens, 5, 6, 7]
    second = bench.submit(follow_up, adapter)
    before = bench.engine.prefilled_tokens
    bench.run()
    # The first answer's last token was never run: it is read with the new ones.
    assert bench.engine.prefilled_tokens - before == 4
    assert second.finished.usage.cached_tokens == len(follow_up) - 4
    assert second.ids == alone(base, follow_up, adapter).ids


def test_nothing_is_reused_across_adapters_or_revisions(bench, base, lora, tmp_path):
    revision = tiny.write_adapter(tmp_path / "lora", base, tiny.lora_config(), 9)
    answers = []
    for adapter in (None, lora, revision):
        answers.append(bench.submit(LONG, adapter))
        bench.run()
        assert answers[-1].finished.usage.cached_tokens == 0
        assert answers[-1].ids == alone(base, LONG, adapter).ids
    assert len({tuple(answer.ids) for answer in answers}) == 3


def test_two_conversations_share_a_beginning_without_spoiling_each_other(base):
    bench = Bench(base, slots=3, max_batch=3)
    start = bench.base.tokenizer(LONG)["input_ids"]
    prompts = [[*start, i, i, *start[: 20 * i]] for i in range(1, 4)]
    for _ in range(2):
        answers = [bench.submit(prompt) for prompt in prompts]
        bench.run()
        for prompt, answer in zip(prompts, answers, strict=True):
            assert answer.ids == alone(base, prompt).ids
    assert all(answer.finished.usage.cached_tokens >= len(start) for answer in answers)
    bench.close()


def test_beyond_the_queue_a_request_is_refused_with_a_time_to_retry(base):
    bench = Bench(base, max_batch=2, max_queue=3)
    answers = [bench.submit("x", None, 2) for _ in range(5)]
    with pytest.raises(QueueFull) as caught:
        bench.submit("x")
    assert caught.value.retry_after > 0 and "5 requests wait" in str(caught.value)
    bench.run()
    assert all(answer.finished for answer in answers)
    bench.submit("x", None, 1)
    bench.run()
    bench.close()


def test_a_later_request_passes_one_whose_adapter_is_loading(base, lora, monkeypatch):
    bench = Bench(base)
    gate = threading.Event()
    load = bench.pool._load
    monkeypatch.setattr(bench.pool, "_load", lambda adapter: (gate.wait(10), load(adapter))[1])
    slow, quick = bench.submit("slow", lora), bench.submit("quick", None, 3)
    bench.step(4)
    assert quick.finished and slow.items == []
    gate.set()
    bench.run()
    assert slow.finished
    bench.close()


def test_an_adapter_that_cannot_be_loaded_fails_its_request_and_no_other(bench, base, tmp_path):
    folder = tiny.write_adapter(tmp_path / "bad", base, tiny.lora_config(), 1)
    tensors = load_file(folder / WEIGHTS_FILE)
    tensors[next(iter(tensors))][0, 0] = float("nan")
    save_file(tensors, folder / WEIGHTS_FILE)
    bad, good = bench.submit("x", folder), bench.submit("x")
    bench.run()
    assert isinstance(bad.items[-1], AdapterBroken) and "NaN" in str(bad.items[-1])
    assert bad.text == "" and good.finished


@pytest.mark.parametrize("temperature", [0, 0.7])
def test_weights_that_overflow_fail_their_own_row_only(bench, base, lora, tmp_path, temperature):
    folder = tiny.write_adapter(tmp_path / "huge", base, tiny.lora_config(), 1, size=1e30)
    drawn = {"temperature": temperature, "seed": 3}
    good = [bench.submit("x", lora, **drawn), bench.submit("y", **drawn)]
    bad = bench.submit("x", folder, **drawn)
    bench.run()
    assert isinstance(bad.items[-1], EngineFailed) and "NaN or infinite" in str(bad.items[-1])
    assert good[0].ids == alone(base, "x", lora, **drawn).ids and good[1].ids == alone(base, "y", **drawn).ids
    again = [bench.submit("x" * n) for n in (1, 40, 90)]
    bench.run()
    assert all(answer.finished for answer in again), "nothing of it is left in the cache"


def test_a_failing_step_ends_the_running_requests_and_the_engine_goes_on(base, monkeypatch):
    bench = Bench(base)
    run = bench.runner.run
    bench.engine.start()
    monkeypatch.setattr(bench.runner, "run", lambda rows: (_ for _ in ()).throw(ValueError("boom")))
    broken = bench.submit("x")
    while not broken.items:
        pass
    assert isinstance(broken.items[0], EngineFailed) and "boom" in str(broken.items[0])
    monkeypatch.setattr(bench.runner, "run", run)
    fine = bench.submit("x", None, 2)
    while not fine.items or isinstance(fine.items[-1], str):
        pass
    assert fine.finished
    bench.close()


@pytest.mark.parametrize("breaks", ["never", "once"])
def test_a_request_whose_reader_is_gone_ends_alone(base, monkeypatch, breaks):
    """With a step that fails, too: the worker lives on and answers the next request."""
    bench = Bench(base)
    gone, other = bench.submit("x", None, 300), bench.submit("y", None, 3)

    def is_gone(item: object) -> None:
        raise RuntimeError("Event loop is closed")

    gone.sequence.emit = is_gone
    run, outcomes = bench.runner.run, iter([breaks == "once"])
    monkeypatch.setattr(bench.runner, "run", lambda rows: 1 / 0 if next(outcomes, False) else run(rows))
    bench.engine.start()
    wait_until(lambda: other.items and not isinstance(other.items[-1], str))
    assert isinstance(other.items[-1], EngineFailed if breaks == "once" else Finished)
    wait_until(lambda: gone.sequence.is_over)
    fine = bench.submit("z", None, 2)
    wait_until(lambda: fine.items and isinstance(fine.items[-1], Finished))
    bench.close()


def refuse(*_):
    raise RuntimeError("CUDA error: an illegal memory access was encountered")


def test_a_device_that_has_failed_ends_every_request_and_the_engine_says_so(base, lora, monkeypatch):
    """Then not even the cache can be cleared: the worker ends, and nobody waits for it."""
    bench = Bench(base, max_batch=1)
    running = bench.submit("x", lora, 300)
    wait_until(lambda: (bench.step(), running.items)[1])
    waiting = bench.submit("y", lora)
    monkeypatch.setattr(bench.runner, "run", refuse)
    monkeypatch.setattr(bench.runner.cache, "_wipe", refuse)
    bench.engine.start()
    wait_until(lambda: waiting.items and not bench.engine.is_alive)
    assert isinstance(running.items[-1], EngineFailed) and "illegal memory" in str(running.items[-1])
    assert isinstance(waiting.items[-1], EngineStopped) and "start the server again" in str(waiting.items[-1])
    with pytest.raises(EngineStopped, match="illegal memory"):
        bench.submit("z")
    assert bench.pool.entries()[0].leases == 0
    bench.close()


def test_a_request_is_told_its_end_where_its_place_cannot_be_cleared(base, lora, tmp_path, monkeypatch):
    folder = tiny.write_adapter(tmp_path / "huge", base, tiny.lora_config(), 1, size=1e30)
    bench = Bench(base)
    bad = bench.submit("x", folder)
    monkeypatch.setattr(bench.runner.cache, "_wipe", refuse)
    with pytest.raises(RuntimeError, match="illegal memory"):
        bench.run()
    assert isinstance(bad.items[-1], EngineFailed) and bench.pool.entries()[0].leases == 0
    bench.close()


def test_a_worker_that_dies_of_anything_leaves_nobody_waiting(base, monkeypatch):
    bench = Bench(base, max_batch=1)
    answers = [bench.submit(word, None, 300) for word in ("x", "y")]
    monkeypatch.setattr(bench.engine, "step", lambda: exec("raise SystemExit"))
    assert not bench.engine.is_alive
    bench.engine.start()
    wait_until(lambda: all(answer.items for answer in answers))
    assert all(isinstance(answer.items[-1], EngineStopped) for answer in answers)
    bench.close()


def test_a_stop_just_before_the_worker_listens_again_is_heard(bench):
    class Forgets(threading.Event):
        def clear(self) -> None:
            bench.engine._is_stopping = True
            self.set()
            super().clear()

    bench.engine._news = Forgets()
    bench.engine.start()
    bench.engine._worker.join(10)
    assert not bench.engine._worker.is_alive()


def test_stopping_ends_every_request(base):
    bench = Bench(base, max_batch=1)
    running, waiting = bench.submit("x", None, 300), bench.submit("y")
    bench.step()
    bench.engine.stop()
    assert isinstance(running.items[-1], EngineStopped) and isinstance(waiting.items[-1], EngineStopped)
    with pytest.raises(EngineStopped):
        bench.submit("z")
    bench.close()


def test_stop_strings_and_limits_end_an_answer_with_their_reason(base):
    full = alone(base, "Hello", max_tokens=20)
    assert full.finished.finish_reason == "length" and full.finished.usage.completion_tokens == 20
    stop = full.text[3:5]
    stopped = alone(base, "Hello", max_tokens=20, stop=(stop,))
    assert stopped.text == full.text[: full.text.index(stop)] and stopped.finished.finish_reason == "stop"


def test_eviction_under_pressure_answers_right(base, tmp_path):
    folders = [tiny.write_adapter(tmp_path / f"a{i}", base, tiny.lora_config(), i) for i in range(5)]
    one = Bench(base)
    size = one.pool._size_of(read_adapter(folders[0]))
    one.close()
    bench = Bench(base, pool_bytes=2 * size)
    answers = [(folder, bench.submit("Hello", folder, 6)) for _ in range(2) for folder in folders]
    bench.run()
    for folder, answer in answers:
        assert answer.ids == tiny.peft_answer(base, folder, list(answer.sequence.prompt), 6)
    assert bench.pool.evictions >= 3
    bench.close()


@pytest.mark.parametrize("leaves", ["unloaded", "retired", "evicted"])
def test_an_adapter_that_leaves_the_pool_gives_its_memory_back(base, lora, tmp_path, leaves):
    """Without another request: its weights and what was packed of them are gone."""
    other = tiny.write_adapter(tmp_path / "other", base, tiny.lora_config(), 5)
    first = Bench(base)
    size = first.pool._size_of(read_adapter(lora))
    first.close()
    bench = Bench(base, pool_bytes=size)
    adapter = read_adapter(lora)
    bench.submit("Hello", adapter, 2)
    bench.run()
    weights = weakref.ref(bench.pool.entries()[0].weights)
    layer = next(iter(weights().layers))
    packed = weakref.ref(bench.runner._adapters._layers[layer].packed)
    bench.engine.start()
    time.sleep(0.05)
    assert weights() is not None and packed() is not None, "an idle engine keeps what is resident"
    if leaves == "unloaded":
        bench.pool.unload(adapter)
    elif leaves == "retired":
        bench.pool.retire(adapter.name)
    else:
        bench.pool.load(read_adapter(other)).result(20)
    wait_until(lambda: (gc.collect(), weights() is None and packed() is None)[1])
    bench.close()


def test_the_packed_set_stays_while_its_adapters_come_and_go(base, lora, tmp_path):
    other = tiny.write_adapter(tmp_path / "other", base, tiny.lora_config(), 5)
    bench = Bench(base)
    answers = [bench.submit("Hello", folder, 3) for folder in (lora, other)]
    bench.run()
    pack = bench.runner._adapters._pack
    assert len(pack.adapters) == 2
    answers += [bench.submit("Hello", folder, 3) for folder in (lora, other)]
    bench.step(2)
    bench.pool.pin(read_adapter(lora), True)
    bench.run()
    assert bench.runner._adapters._pack is pack
    bench.pool.unload(read_adapter(other))
    answers.append(bench.submit("Hello", lora, 3))
    bench.run()
    assert list(bench.runner._adapters._pack.adapters) == [read_adapter(lora).digest]
    assert answers[0].ids == answers[2].ids == answers[4].ids
    bench.close()


def test_a_repetition_penalty_changes_its_own_row_only(bench, base):
    plain, penalised = bench.submit("Hello"), bench.submit("Hello", repetition_penalty=2.0)
    bench.run()
    assert plain.ids == alone(base, "Hello").ids != penalised.ids
    assert len(set(penalised.ids)) == len(penalised.ids), "so strong a penalty lets nothing come twice here"


def test_the_seed_decides_a_sampled_answer(base):
    first, again, other = (alone(base, "Hello", temperature=1.0, seed=seed) for seed in (3, 3, 4))
    assert first.ids == again.ids != other.ids


def test_an_architecture_that_goes_past_our_attention_is_refused(base, monkeypatch):
    loaded = load_base(str(base), "float32", base)
    honest = attention.slot_attention

    def forgets_the_cache(*args, layout, **kwargs):
        output, _ = honest(*args, layout=layout, **kwargs)
        return output * (0.5 if layout.positions[0] > 0 else 1.0), None

    monkeypatch.setitem(attention.AttentionInterface._global_mapping, attention.NAME, forgets_the_cache)
    with pytest.raises(BaseModelError, match="attention interface"):
        Bench(loaded)
    assert loaded.model.config._attn_implementation == "sdpa", "the model is left as it was found"
    with torch.no_grad():
        assert loaded.model(torch.tensor([[1, 2]])).logits.isfinite().all()


def test_the_worker_computes_with_its_threads_and_every_other_thread_with_one(bench, monkeypatch):
    threads = torch.get_num_threads()
    seen = []
    run = bench.runner.run
    monkeypatch.setattr(bench.engine, "_threads", 3)
    monkeypatch.setattr(bench.runner, "run", lambda rows: (seen.append(torch.get_num_threads()), run(rows))[1])
    try:
        bench.engine.start()
        bench.submit("Hello", max_tokens=2)
        deadline = time.monotonic() + 20
        while not bench.engine.decoded_tokens and time.monotonic() < deadline:
            time.sleep(0.01)
        bench.engine.stop()
        assert set(seen) == {3} and torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(threads)
