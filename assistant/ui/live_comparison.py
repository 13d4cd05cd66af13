"""Comparisons that are being answered. They belong to their visitor, as answers in the chat do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from assistant.comparison.comparator import Comparator
from assistant.comparison.request import ComparisonRequest
from assistant.errors import InvalidRequest
from assistant.ui.board import Board, new_board
from assistant.ui.live import Live, told


class LiveComparison(Live[Board]):
    """All columns of one question under way."""

    repaint = 0.25

    def __init__(self, comparator: Comparator, request: ComparisonRequest, owner: str) -> None:
        self._comparator = comparator
        self._request = request
        super().__init__(comparator.service, owner, new_board(request))

    async def _steps(self) -> AsyncGenerator[Board, None]:
        async with aclosing(self._comparator.run(self._request, self.owner)) as events:
            async for event in events:
                yield self.now.after(event)

    def _failed(self, error: Exception) -> Board:
        return self.now.ended(told(error))

    def _stopped(self) -> Board:
        return self.now.ended()


class LiveComparisons:
    """The comparisons under way: at most one for each visitor."""

    def __init__(self, comparator: Comparator) -> None:
        self._comparator = comparator
        self._running: dict[str, LiveComparison] = {}

    def find(self, owner: str) -> LiveComparison | None:
        live = self._running.get(owner)
        return None if live is None or live.now.is_over else live

    def start(self, request: ComparisonRequest, owner: str) -> LiveComparison:
        """Raises InvalidRequest where one of the visitor's is under way already."""
        if self.find(owner) is not None:
            raise InvalidRequest("a comparison of yours is being answered: wait for it or stop it first")
        self._running = {key: live for key, live in self._running.items() if not live.now.is_over}
        self._running[owner] = LiveComparison(self._comparator, request, owner)
        return self._running[owner]

    async def stop(self, owner: str) -> None:
        """End the visitor's comparison, if one is under way; what there is of it is kept."""
        live = self.find(owner)
        if live is not None:
            await asyncio.shield(live.stop())
