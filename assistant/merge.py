"""Several streams read at once, as one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TypeVar

T = TypeVar("T")


AT_ONCE = 8
"""Most streams of one request that compute at the same time, so that they do not fill the queue for everybody else; no
more than the backend computes, or it would refuse some on a server that is idle."""


async def merged(
    streams: Sequence[AsyncGenerator[T, None]], at_once: int | None = None
) -> AsyncGenerator[tuple[int, T], None]:
    """Items of all streams as they come, each with the index of its stream.

    Closing it closes them all; so does an error of one, which is raised here.

    Args:
        at_once: how many are read at the same time, in their order; None for all.
    """
    turn = asyncio.Semaphore(at_once or len(streams))
    items: asyncio.Queue[tuple[int, T] | BaseException | None] = asyncio.Queue()

    async def pump(index: int, stream: AsyncGenerator[T, None]) -> None:
        try:
            async with aclosing(stream), turn:
                async for item in stream:
                    items.put_nowait((index, item))
        except Exception as error:
            items.put_nowait(error)
        else:
            items.put_nowait(None)

    tasks = [asyncio.create_task(pump(index, stream)) for index, stream in enumerate(streams)]
    try:
        running = len(tasks)
        while running:
            item = await items.get()
            if item is None:
                running -= 1
            elif isinstance(item, BaseException):
                raise item
            else:
                yield item
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
