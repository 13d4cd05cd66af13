"""One question to every contestant at once: all columns run in one mixed batch, as far as it holds them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing

from assistant.comparison.events import ColumnEvent, ComparisonDone, ComparisonEvent, ComparisonStarted
from assistant.comparison.places import Places
from assistant.comparison.request import ComparisonRequest, Setup
from assistant.errors import InvalidRequest, NotFound, StoreUnavailable
from assistant.feedback.comparison_records import Comparison
from assistant.feedback.comparisons import ComparisonStore, Seat
from assistant.feedback.hiding import hidden_event
from assistant.merge import merged
from assistant.messages import ChatRequest, Message, Reward, StreamEvent
from assistant.scoring import reward_adapter
from assistant.service import ChatService

log = logging.getLogger(__name__)


class Comparator:
    """Every column is a turn of the service, recorded as such; the comparison says which belong together."""

    def __init__(self, service: ChatService, store: ComparisonStore) -> None:
        self.service = service
        self.store = store
        # No more at once than run in one step: the engine would refuse some on a server that is idle.
        self._places = Places(service.backend.max_batch)

    async def check(self, setup: Setup) -> None:
        """Raises InvalidRequest or AdapterError where an adapter that is to judge answers cannot."""
        for judge in setup.judges:
            await asyncio.to_thread(reward_adapter, self.service.catalog, judge)

    async def run(self, request: ComparisonRequest, owner: str) -> AsyncGenerator[ComparisonEvent, None]:
        """Answer in all columns: see `assistant.comparison.events`. Closing the stream cancels what still runs.

        Raises:
            InvalidRequest, AdapterError: who is to judge cannot; nothing was asked.
            StoreUnavailable: nothing was asked, or the end of it could not be recorded.
        """
        await self.check(request)
        request = request.settled()
        begin = asyncio.create_task(
            asyncio.to_thread(self.store.begin, owner, request.question, request.record(), request.seats, request.blind)
        )
        try:
            comparison_id, seats = await asyncio.shield(begin)
        except asyncio.CancelledError:
            # The database may have taken it already; left alone, it would seem to run for ever.
            with contextlib.suppress(StoreUnavailable):
                await self._record_stop((await begin)[0])
            raise
        try:
            order = tuple(seat.position for seat in sorted(seats, key=lambda seat: seat.shown))
            yield ComparisonStarted(id=comparison_id, order=None if request.blind else order)
            async with aclosing(self.ask(request, seats)) as events:
                async for seat, event in events:
                    told = hidden_event(event) if request.blind else event
                    if told is not None:
                        yield ColumnEvent(column=seat.shown, event=told)
        except (asyncio.CancelledError, GeneratorExit):
            await asyncio.shield(self._record_stop(comparison_id))
            raise
        await asyncio.to_thread(self.store.finish, comparison_id)
        yield ComparisonDone(id=comparison_id)

    async def ask(
        self, request: ComparisonRequest, seats: tuple[Seat, ...]
    ) -> AsyncGenerator[tuple[Seat, StreamEvent], None]:
        """The events of these columns as they come; the request's seed has been settled."""
        turns = [self._answer(request.turn(seat.position, seat.turn_id)) for seat in seats]
        async with aclosing(merged(turns)) as events:
            async for index, event in events:
                yield seats[index], event

    async def _answer(self, turn: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        # All that are drawn compute, and then are judged, side by side.
        side_by_side = 1 if turn.best_of is None else turn.best_of.n
        async with self._places.taken(side_by_side), aclosing(self.service.reply(turn)) as events:
            async for event in events:
                yield event

    async def judge(self, comparison_id: str, owner: str, judge: str) -> Comparison:
        """Have all its finished answers judged, and keep their rewards in place of those before.

        Raises:
            NotFound: no such comparison.
            InvalidRequest: it is not over, its names are hidden, or who is to judge is no reward adapter.
            AdapterError, PromptTooLong, QueueFull, EngineError: see `assistant.scoring`; nothing was kept.
            StoreUnavailable: nothing was kept.
        """
        kept = await asyncio.to_thread(self.store.comparison, comparison_id, owner)
        if not kept.is_over:
            raise InvalidRequest("an answer is still being written; rewards are possible once all have ended")
        if kept.is_hidden:
            raise InvalidRequest("the names are hidden; rewards are possible once they have been told")
        adapter = await asyncio.to_thread(reward_adapter, self.service.catalog, judge)
        said = ComparisonRequest.model_validate(kept.request).judged
        texts = {one.turn_id: one.text for one in kept.columns if one.state == "finished" and one.text.strip()}
        scores = await self.service.score(
            judge, [(*said, Message(role="assistant", content=text)) for text in texts.values()]
        )
        rewards = {
            turn_id: Reward(judge=judge, digest=adapter.digest, score=score)
            for turn_id, score in zip(texts, scores, strict=True)
        }
        return await asyncio.to_thread(self.store.keep_rewards, comparison_id, owner, rewards)

    async def _record_stop(self, comparison_id: str) -> None:
        try:
            await asyncio.to_thread(self.store.finish, comparison_id, "cancelled")
        except (StoreUnavailable, NotFound) as error:
            log.error("comparison %s was stopped, which could not be recorded: %s", comparison_id, error)
