"""Ways to answer the same requests, timed the same way: all requests are there at second 0."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers.generation import BaseStreamer

from assistant.backends.base import Generation
from assistant.backends.local import LocalBackend
from assistant.base_model import Base, load_base
from assistant.catalog import read_adapter
from assistant.messages import Decoding, Finished
from assistant.settings import Settings


@dataclass(frozen=True)
class Run:
    """Seconds from the start: when each request's first token was there, and when the last answer ended."""

    first_tokens: list[float]
    seconds: float
    tokens: int


@dataclass(frozen=True)
class Work:
    """Requests as (prompt ids, adapter folder), each to be continued by exactly `new_tokens`."""

    requests: Sequence[tuple[list[int], Path]]
    new_tokens: int


def load(settings: Settings) -> Base:
    return load_base(settings.base, settings.dtype, settings.data_dir)


class Swapboard:
    """The engine of this project: one worker, every row with its own adapter."""

    def __init__(self, settings: Settings, work: Work) -> None:
        self._threads = torch.get_num_threads()
        torch.set_num_threads(1)
        # Every contender computes the same number of tokens: nothing may end an answer early.
        self._base = replace(load(settings), stop_ids=frozenset())
        self._batch = len(work.requests)

    def __call__(self, work: Work) -> Run:
        return asyncio.run(self._serve(work))

    async def _serve(self, work: Work) -> Run:
        backend = LocalBackend(
            self._base,
            max_context=1024,
            max_batch=self._batch,
            max_queue=len(work.requests),
            prefill_chunk=256,
            cache_slots=self._batch,
            pool_bytes=2**31,
            threads=self._threads,
        )
        await backend.start()
        for folder in {folder for _, folder in work.requests}:
            await backend.load(read_adapter(folder))
        warm_up = Decoding(temperature=0, max_tokens=4)
        await asyncio.gather(*(self._answer(backend, ids, folder, warm_up) for ids, folder in work.requests))
        decoding = Decoding(temperature=0, max_tokens=work.new_tokens)
        # Another prompt than the warm-up's, so that nothing is found in the prefix cache.
        fresh = [([*ids[:-1], ids[-1] + 1], folder) for ids, folder in work.requests]
        start = time.perf_counter()
        times = await asyncio.gather(*(self._answer(backend, ids, folder, decoding) for ids, folder in fresh))
        seconds = time.perf_counter() - start
        await backend.stop()
        return Run([first - start for first, _ in times], seconds, sum(tokens for _, tokens in times))

    async def _answer(
        self, backend: LocalBackend, ids: list[int], folder: Path, decoding: Decoding
    ) -> tuple[float, int]:
        start, finished = time.perf_counter(), None
        async for item in backend.generate(Generation(tuple(ids), read_adapter(folder), decoding)):
            if isinstance(item, Finished):
                finished = item
        if finished is None:
            raise RuntimeError("an answer did not end")
        return start + finished.timing.first_token, finished.usage.completion_tokens


class _Clock(BaseStreamer):
    """Notes when the first new token is there; `generate` hands over the prompt first."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def put(self, value: torch.Tensor) -> None:
        self.times.append(time.perf_counter())

    def end(self) -> None:
        pass


class PeftContender:
    """PEFT with all adapters loaded into one model."""

    def __init__(self, settings: Settings, work: Work) -> None:
        folders = sorted({folder for _, folder in work.requests})
        self._names = {folder: f"adapter_{index}" for index, folder in enumerate(folders)}
        model: Any = load(settings).model
        for index, (folder, name) in enumerate(self._names.items()):
            if index == 0:
                model = PeftModel.from_pretrained(model, folder, adapter_name=name)
            else:
                model.load_adapter(folder, adapter_name=name)
        self._model = model.eval()

    @torch.inference_mode()
    def _generate(self, rows: Sequence[list[int]], new_tokens: int, clock: _Clock | None, **options: Any) -> None:
        ids = torch.tensor(rows)
        self._model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=new_tokens,
            min_new_tokens=new_tokens,
            do_sample=False,
            streamer=clock,
            **options,
        )


class PeftSequential(PeftContender):
    """`set_adapter` for each request, one request after another: the naive design."""

    def __call__(self, work: Work) -> Run:
        ids, folder = work.requests[0]
        self._model.set_adapter(self._names[folder])
        self._generate([ids], 4, None)
        first_tokens = []
        start = time.perf_counter()
        for ids, folder in work.requests:
            clock = _Clock()
            self._model.set_adapter(self._names[folder])
            self._generate([ids], work.new_tokens, clock)
            first_tokens.append(clock.times[1] - start)
        return Run(first_tokens, time.perf_counter() - start, work.new_tokens * len(work.requests))


class PeftMixed(PeftContender):
    """PEFT's mixed batch: all requests in one `generate` with `adapter_names`. Prompts have one length."""

    def __call__(self, work: Work) -> Run:
        rows = [ids for ids, _ in work.requests]
        names = [self._names[folder] for _, folder in work.requests]
        self._generate(rows, 4, None, adapter_names=names)
        first = self._first_token(rows, names)
        start = time.perf_counter()
        self._generate(rows, work.new_tokens, None, adapter_names=names)
        return Run([first] * len(rows), time.perf_counter() - start, work.new_tokens * len(rows))

    def _first_token(self, rows: Sequence[list[int]], names: list[str]) -> float:
        # transformers streams batches of one only, so the first step is timed on its own.
        start = time.perf_counter()
        self._generate(rows, 1, None, adapter_names=names)
        return time.perf_counter() - start


CONTENDERS: dict[str, Callable[[Settings, Work], Callable[[Work], Run]]] = {
    "swapboard": Swapboard,
    "peft-sequential": PeftSequential,
    "peft-mixed": PeftMixed,
}
