"""What it costs to compare: three modes of one question in one batch, against the slowest of them alone.

    python -m benchmarks.bench_compare --adapter legal --new-tokens 64 --rounds 20 --json PATH

The whole way of a turn is timed, as the page goes it: retrieval, prompt, batch and record. Modes are prompt only, RAG
over pages of this project's own manual, and a tuned adapter. Every answer has exactly as many new tokens, greedy, and nothing
is found in the prefix cache from one measurement to the next. The measurements of a round follow one another, each
mode alone and then all at once, so that what else the machine does falls on all of them alike.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

from assistant.backends.local import LocalBackend
from assistant.build import build_comparisons, build_service, build_store
from assistant.comparison.comparator import Comparator
from assistant.comparison.request import ComparisonRequest, Contestant
from assistant.engine.kv_cache import KVCache
from assistant.messages import Decoding, Done, Part
from assistant.service import ChatService
from assistant.settings import load_settings

MANUAL = Path(__file__).parents[1] / "docs"
PAGES = ("adapters.md", "architecture.md", "chat.md")
QUESTION = "What happens to requests in flight when an adapter is replaced or deleted?"
TARGET = 1.5


def main() -> None:
    options = parse()
    report = asyncio.run(measure(options))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    show(report)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapter", default="legal", help="who answers the tuned mode (default: %(default)s)")
    parser.add_argument("--new-tokens", type=int, default=64, help="tokens of each answer (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=20, help="repetitions; medians are reported (%(default)s)")
    parser.add_argument("--json", type=Path, help="write the results here")
    options = parser.parse_args()
    if min(options.new_tokens, options.rounds) < 1:
        parser.error("--new-tokens and --rounds take whole numbers from 1 up")
    return options


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings().model_copy(update={"database_url": f"sqlite:///{folder}/benchmark.db"})
        store = build_store(settings)
        service = build_service(settings, store)
        backend = service.backend
        assert isinstance(backend, LocalBackend)  # for the type checker: the service was built over it
        # Every answer has the same length: nothing may end one early.
        backend.engine.base = replace(backend.base, stop_ids=frozenset())
        for name in PAGES:
            service.library.add(name, (MANUAL / name).read_bytes())
        service.retriever.refresh()
        await service.start()
        await service.load_adapter(options.adapter)
        comparator, _ = build_comparisons(service, store)
        try:
            return await race(service, comparator, backend, options)
        finally:
            await service.stop()
            store.close()


async def race(
    service: ChatService, comparator: Comparator, backend: LocalBackend, options: argparse.Namespace
) -> dict[str, Any]:
    decoding = Decoding(temperature=0, max_tokens=options.new_tokens)
    request = ComparisonRequest(
        question=QUESTION,
        contestants=(
            Contestant(mode="prompt", decoding=decoding),
            Contestant(mode="rag", decoding=decoding),
            Contestant(mode="tuned", adapter=options.adapter, decoding=decoding),
        ),
        seed=0,
    )
    modes = [contestant.mode for contestant in request.contestants]
    seconds: dict[str, list[float]] = {name: [] for name in (*modes, "together")}
    parts: dict[str, Part] = {}
    for turn in range(-1, options.rounds):  # the first warms up and is not counted
        for position, mode in enumerate(modes):
            forget(backend)
            start = time.perf_counter()
            async with aclosing(service.reply(request.turn(position, os.urandom(16).hex()))) as events:
                async for event in events:
                    if isinstance(event, Done):
                        [parts[mode]] = event.parts
            if turn >= 0:
                seconds[mode].append(time.perf_counter() - start)
        forget(backend)
        start = time.perf_counter()
        async with aclosing(comparator.run(request, "benchmark")) as columns:
            async for _ in columns:
                pass
        if turn >= 0:
            seconds["together"].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    slowest = max(modes, key=lambda mode: medians[mode])
    lengths = {mode: parts[mode].usage for mode in modes}
    if {usage.completion_tokens for usage in lengths.values()} != {options.new_tokens}:
        raise RuntimeError(f"the answers differ in length: {lengths}")
    return {
        "config": {key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()},
        "base": backend.base_name,
        "dtype": str(backend.base.model.dtype),
        "processors": os.cpu_count(),
        "threads": load_settings().threads or os.cpu_count(),
        "prompt_tokens": {mode: usage.prompt_tokens for mode, usage in lengths.items()},
        "passages": len(parts["rag"].passages),
        "medians": medians,
        "slowest": slowest,
        "ratio": medians["together"] / medians[slowest],
        "ratios": [both / alone for both, alone in zip(seconds["together"], seconds[slowest], strict=True)],
        "seconds": seconds,
    }


def forget(backend: LocalBackend) -> None:
    """Empty the prefix cache, as a question nobody asked before finds it."""
    cache = backend.engine.scheduler.slots
    assert isinstance(cache, KVCache)  # for the type checker: the engine gives its scheduler no other
    for slot in cache.slots:
        slot.key, slot.tokens = None, []


def show(report: dict[str, Any]) -> None:
    print(f"{'':<10} {'prompt tokens':>14} {'median':>9}")
    for mode, tokens in report["prompt_tokens"].items():
        print(f"{mode:<10} {tokens:>14} {report['medians'][mode]:>7.2f} s")
    print(f"{'together':<10} {sum(report['prompt_tokens'].values()):>14} {report['medians']['together']:>7.2f} s")
    print(
        f"{report['config']['new_tokens']} new tokens each, {report['config']['rounds']} rounds; "
        f"all three at once take {report['ratio']:.2f} x {report['slowest']} alone (target: at most {TARGET})"
    )


if __name__ == "__main__":
    main()
