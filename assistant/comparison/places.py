"""What all comparisons together compute at once, so that they never fill the queue for everybody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


class Places:
    """`count` places that whoever computes takes and gives back; first come, first served. Of one event loop."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._free = asyncio.Semaphore(count)
        self._next = asyncio.Lock()

    @asynccontextmanager
    async def taken(self, wanted: int) -> AsyncGenerator[None, None]:
        """Holds that many, or all where there are fewer; waits until they are free."""
        held = 0
        try:
            # One after another: two that need many would each hold what the other waits for.
            async with self._next:
                while held < min(wanted, self.count):
                    await self._free.acquire()
                    held += 1
            yield
        finally:
            for _ in range(held):
                self._free.release()
