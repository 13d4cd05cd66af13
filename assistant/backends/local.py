"""The embedded engine as a backend."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Iterable
from functools import cached_property

from assistant.adapter_pool.loader import Loader
from assistant.adapter_pool.pool import AdapterPool
from assistant.backends.base import BackendStats, Generation, Residency
from assistant.base_model import Base
from assistant.catalog import Adapter
from assistant.engine.engine import Engine
from assistant.engine.runner import Runner
from assistant.engine.sequence import Sequence
from assistant.engine.spans import SpanConstraint, Vocabulary
from assistant.engine.vocabulary import read_vocabulary
from assistant.errors import EngineFailed, InvalidRequest, PromptTooLong, SwapboardError
from assistant.messages import Decoding, Finished, Scored


class LocalBackend:
    """One base in this process, one worker thread.

    Args:
        base: taken over until `stop`.
        max_context: most tokens of prompt and answer; the base's own limit caps it.
        cache_slots: sequences kept in the key-value cache, at least `max_batch`.
        pool_bytes: budget for resident adapters.
        threads: processor threads of the engine.
        pack_weights: keep a faster copy of the base's weights, for as much memory again.
    """

    def __init__(
        self,
        base: Base,
        max_context: int,
        max_batch: int,
        max_queue: int,
        prefill_chunk: int,
        cache_slots: int,
        pool_bytes: int,
        pack_weights: bool = True,
        threads: int = 1,
    ) -> None:
        self.base = base
        self._context_length = min(max_context, base.context_length)
        loader = Loader(base)
        self.pool = AdapterPool(loader.load, loader.size_of, pool_bytes)
        self._runner = Runner(base, cache_slots, self._context_length, pack_weights)
        self.engine = Engine(base, self._runner, self.pool, max_batch, max_queue, prefill_chunk, threads)

    @property
    def base_name(self) -> str:
        return self.base.name

    @property
    def base_digest(self) -> str:
        return self.base.digest

    @property
    def context_length(self) -> int:
        return self._context_length

    @property
    def max_batch(self) -> int:
        return self.engine.scheduler.max_batch

    @property
    def is_alive(self) -> bool:
        return self.engine.is_alive

    async def start(self) -> None:
        self.engine.start()

    async def stop(self) -> None:
        await asyncio.to_thread(self.engine.stop)
        self.pool.close()
        self._runner.close()

    async def generate(self, generation: Generation) -> AsyncGenerator[str | Scored | Finished, None]:
        loop = asyncio.get_running_loop()
        items: asyncio.Queue[str | Scored | Finished | SwapboardError] = asyncio.Queue()

        def emit(item: str | Scored | Finished | SwapboardError) -> None:
            loop.call_soon_threadsafe(items.put_nowait, item)

        limit = self._answer_limit(generation)
        constraint = None
        if generation.decoding.constraint is not None:
            constraint = await asyncio.to_thread(self._constraint, generation, limit)
        sequence = Sequence(
            prompt=generation.prompt,
            adapter=generation.adapter,
            decoding=generation.decoding,
            max_tokens=limit,
            emit=emit,
            echo=generation.echo,
            constraint=constraint,
            continues=generation.continues,
        )
        self.engine.submit(sequence)
        try:
            while True:
                item = await items.get()
                if isinstance(item, SwapboardError):
                    raise item
                yield item
                if isinstance(item, Finished):
                    return
        finally:
            if not sequence.is_over:
                self.engine.cancel(sequence)

    async def score(self, adapter: Adapter, prompts: Iterable[tuple[int, ...]]) -> list[float]:
        if not adapter.is_reward:
            raise InvalidRequest(
                f"adapter {adapter.name!r} writes answers and scores none; allowed: an adapter with a reward head"
            )
        # No more at once than run in one step: a long list must not fill the queue for everybody else.
        turn = asyncio.Semaphore(self.max_batch)

        async def one(prompt: tuple[int, ...]) -> float:
            async with turn:
                return await self._score(adapter, prompt)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(prompt)) for prompt in prompts]
        except* SwapboardError as errors:
            raise errors.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _score(self, adapter: Adapter, prompt: tuple[int, ...]) -> float:
        loop = asyncio.get_running_loop()
        end: asyncio.Future[None] = loop.create_future()

        def settle(item: object) -> None:
            if end.done():
                return
            if isinstance(item, SwapboardError):
                end.set_exception(item)
            elif isinstance(item, Finished):
                end.set_result(None)

        def emit(item: str | Scored | Finished | SwapboardError) -> None:
            loop.call_soon_threadsafe(settle, item)

        decoding = Decoding(temperature=0, max_tokens=0)
        self._answer_limit(Generation(prompt, adapter, decoding))
        sequence = Sequence(
            prompt=prompt,
            adapter=adapter,
            decoding=decoding,
            max_tokens=0,
            emit=emit,
        )
        self.engine.submit(sequence)
        try:
            await end
        finally:
            if not sequence.is_over:
                self.engine.cancel(sequence)
        if sequence.reward is None or not math.isfinite(sequence.reward):
            raise EngineFailed(f"{adapter.name!r} computed NaN or an infinite score")
        return sequence.reward

    async def load(self, adapter: Adapter) -> None:
        await asyncio.wrap_future(self.pool.load(adapter))

    async def unload(self, adapter: Adapter) -> None:
        self.pool.unload(adapter)

    async def pin(self, adapter: Adapter, pinned: bool) -> None:
        if pinned:
            await self.load(adapter)
        self.pool.pin(adapter, pinned)

    async def retire(self, name: str, keep: str | None = None) -> None:
        self.pool.retire(name, keep)

    def residents(self) -> list[Residency]:
        return [
            Residency(
                name=entry.adapter.name,
                digest=entry.adapter.digest,
                state=entry.state.value,
                nbytes=entry.nbytes,
                leases=entry.leases,
                pinned=entry.is_pinned,
                error=str(entry.error) if entry.error else None,
            )
            for entry in self.pool.entries()
        ]

    def stats(self) -> BackendStats:
        entries = self.pool.entries()
        return BackendStats(
            running=len(self.engine.scheduler.running),
            waiting=self.engine.waiting,
            steps=self.engine.steps,
            prefilled_tokens=self.engine.prefilled_tokens,
            decoded_tokens=self.engine.decoded_tokens,
            evictions=self.pool.evictions,
            resident_bytes=sum(entry.nbytes for entry in entries),
            resident_adapters=sum(entry.weights is not None for entry in entries),
            batch_rows=dict(self.engine.batch_rows),
        )

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        return read_vocabulary(self.base.tokenizer)

    def _constraint(self, generation: Generation, limit: int) -> SpanConstraint:
        if not generation.span_sources:
            raise InvalidRequest(f"constraint {generation.decoding.constraint!r} needs the text that answers stand in")
        return SpanConstraint(generation.span_sources, self._vocabulary, self.base.stop_ids, limit)

    def _answer_limit(self, generation: Generation) -> int:
        """Most tokens of the answer. Raises PromptTooLong, with the counts, where prompt or answer do not fit."""
        if not generation.prompt:
            raise InvalidRequest("the prompt is empty")
        vocabulary = self.base.model.get_input_embeddings().get_parameter("weight").shape[0]
        if (highest := max(generation.prompt)) >= vocabulary:
            raise InvalidRequest(f"the prompt holds token id {highest}; allowed: 0 to {vocabulary - 1}")
        adapter, asked = generation.adapter, generation.decoding.max_tokens
        virtual = adapter.virtual_tokens if adapter else 0
        used = len(generation.prompt) + virtual
        parts = f"the prompt has {len(generation.prompt)} tokens" + (
            f" and the soft prompt {virtual}" if virtual else ""
        )
        if used >= self._context_length:
            raise PromptTooLong(f"{parts}; the context holds {self._context_length}, answer included")
        if not generation.caps_length and used + asked > self._context_length:
            raise PromptTooLong(
                f"{parts} and max_tokens asks for {asked}; the context holds {self._context_length}: "
                f"at most {self._context_length - used} can be asked for"
            )
        return min(asked, self._context_length - used)
