"""Many questions in the background: each row a comparison, a few at a time, going on after a restart."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Any, ParamSpec, TypeVar

from assistant.comparison.comparator import Comparator
from assistant.comparison.questions import Question
from assistant.comparison.request import ComparisonRequest, Setup
from assistant.errors import InvalidRequest, NotFound, StoreUnavailable
from assistant.feedback.batches import PASSING, BatchStore
from assistant.feedback.comparison_records import Comparison
from assistant.messages import BASE, Failed

log = logging.getLogger(__name__)

AT_ONCE = 2
"""Rows under way at one time: enough to fill the batch, few enough that a chat beside them is answered soon."""

RETRY_AFTER = 2.0
"""Seconds until what was refused for the moment is tried again."""

P = ParamSpec("P")
R = TypeVar("R")


class Batches:
    """Works through all running batches. All async methods belong to one event loop."""

    def __init__(self, comparator: Comparator, store: BatchStore, at_once: int = AT_ONCE) -> None:
        self.comparator = comparator
        self.store = store
        self._at_once = at_once
        self._news = asyncio.Event()
        self._taking = asyncio.Lock()
        self._workers: list[asyncio.Task[None]] = []
        self._rows: dict[asyncio.Task[None], str] = {}

    async def start(self) -> None:
        """Begin to work, first of all on what an earlier process left."""
        self._workers = [asyncio.create_task(self._work()) for _ in range(self._at_once)]

    async def stop(self) -> None:
        """Leave off; what is not answered yet is gone on with at the next start."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        self._workers = []

    async def start_batch(self, owner: str, name: str, questions: Sequence[Question], setup: Setup) -> str:
        """Keep every row and begin with the first; returns the id of the batch.

        Raises:
            InvalidRequest: there are no questions, or who is to judge is no reward adapter.
            AdapterError: a contestant's adapter is not in the catalogue, or who is to judge is not or is broken.
            StoreUnavailable: nothing was kept.
        """
        if not questions:
            raise InvalidRequest("a batch needs at least one question")
        for contestant in setup.contestants:
            if contestant.adapter != BASE:
                await asyncio.to_thread(self.comparator.service.catalog.get, contestant.adapter)
        await self.comparator.check(setup)
        settled = (setup.setup if isinstance(setup, ComparisonRequest) else setup).settled()
        rows = await asyncio.to_thread(lambda: [_row(question, settled) for question in questions])
        batch_id = await asyncio.to_thread(self.store.begin, owner, name.strip() or "Batch", settled.record(), rows)
        self._news.set()
        return batch_id

    async def cancel(self, batch_id: str, owner: str) -> None:
        """Stop the computing and ask no further row; what was answered stays. Raises NotFound."""
        await asyncio.to_thread(self.store.cancel, batch_id, owner)
        tasks = [task for task, of in self._rows.items() if of == batch_id]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def delete(self, batch_id: str, owner: str) -> None:
        """Cancel it and delete it with its answers. Raises NotFound."""
        await self.cancel(batch_id, owner)
        await asyncio.to_thread(self.store.delete, batch_id, owner)

    async def _work(self) -> None:
        while True:
            self._news.clear()
            async with self._taking:
                row = await _patiently(self.store.take_row)
            if row is None:
                await self._news.wait()
                continue
            self._news.set()  # for the other workers: there may be more
            task = asyncio.create_task(self._answer(row))
            self._rows[task] = row.batch_id or ""
            try:
                await asyncio.wait([task])
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                del self._rows[task]

    async def _answer(self, row: Comparison) -> None:
        try:
            request = ComparisonRequest.model_validate(row.request)
            while True:
                # Every column would fail at once, and be asked again without end.
                while self.comparator.service.has_failed:
                    await asyncio.sleep(RETRY_AFTER)
                seats = await _patiently(self.store.seats, row.id, request.seats)
                wait = 0.0
                async with aclosing(self.comparator.ask(request, seats)) as events:
                    async for _, event in events:
                        if isinstance(event, Failed) and event.code in PASSING:
                            wait = max(wait, event.retry_after or RETRY_AFTER)
                if not wait:
                    break
                await asyncio.sleep(wait)
            await _patiently(self.comparator.store.finish, row.id)
        except NotFound:
            log.info("row %s of batch %s was deleted while it was answered", row.position, row.batch_id)
        except Exception as error:
            log.exception("row %s of batch %s could not be asked", row.position, row.batch_id)
            await _patiently(self.store.give_up, row.id, f"an unexpected error: {type(error).__name__}")


async def _patiently(call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """What the call returns, however long the database is away. When cancelled, it ends once its thread has: what that
    still writes must not come after the stop."""
    while True:
        working = asyncio.ensure_future(asyncio.to_thread(call, *args, **kwargs))
        try:
            return await asyncio.shield(working)
        except asyncio.CancelledError:
            await asyncio.wait([working])
            raise
        except StoreUnavailable as error:
            log.warning("a batch waits for the database: %s", error)
            await asyncio.sleep(RETRY_AFTER)


def _row(question: Question, setup: Setup) -> tuple[str, dict[str, Any], str | None]:
    error = question.error
    if error is None:
        try:
            return question.text, setup.ask(question.text, question.references).record(), None
        except InvalidRequest as wrong:
            error = str(wrong)
    return question.text, {}, f"line {question.line}: {error}"
