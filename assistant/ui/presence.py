"""Who has the page open: answers that nobody is there to read are ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

GRACE = 5.0
"""Seconds a visitor may be away before they count as gone: a refresh takes one or two."""


class Presence:
    """Sessions (one for each open page) by visitor. All methods must be called on one event loop.

    Args:
        on_gone: called with the visitor's id once no page of theirs has been open for `grace` seconds.
    """

    def __init__(self, on_gone: Callable[[str], Awaitable[None]], grace: float = GRACE) -> None:
        self._on_gone = on_gone
        self._grace = grace
        self._owners: dict[str, str] = {}
        self._checks: set[asyncio.Task[None]] = set()

    def enter(self, session: str, owner: str) -> None:
        self._owners[session] = owner

    def leave(self, session: str) -> None:
        owner = self._owners.pop(session, None)
        if owner is not None:
            check = asyncio.create_task(self._check(owner))
            # The loop keeps only a weak hold on its tasks.
            self._checks.add(check)
            check.add_done_callback(self._checks.discard)

    async def _check(self, owner: str) -> None:
        await asyncio.sleep(self._grace)
        if owner not in self._owners.values():
            await self._on_gone(owner)
