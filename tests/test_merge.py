"""Several streams read as one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from assistant.merge import merged


class Source:
    def __init__(self, items: list[str], pace: float = 0.0, error: Exception | None = None) -> None:
        self.items, self.pace, self.error, self.is_closed = items, pace, error, False

    async def stream(self) -> AsyncGenerator[str, None]:
        try:
            for item in self.items:
                await asyncio.sleep(self.pace)
                yield item
            if self.error:
                raise self.error
        finally:
            self.is_closed = True


async def test_items_come_with_the_index_of_their_stream_and_in_its_order():
    sources = [Source(["a", "b"], 0.002), Source(["c"]), Source([])]
    items = [item async for item in merged([source.stream() for source in sources])]
    assert sorted(items) == [(0, "a"), (0, "b"), (1, "c")] and items[0] == (1, "c")


async def test_an_error_of_one_is_raised_and_closes_the_others():
    slow, broken = Source(["a"] * 1000, 0.001), Source(["b"], 0.0, RuntimeError("broken"))
    with pytest.raises(RuntimeError, match="broken"):
        async with aclosing(merged([slow.stream(), broken.stream()])) as items:
            async for _ in items:
                pass
    assert slow.is_closed and broken.is_closed


async def test_closing_it_closes_them_all():
    sources = [Source(["a"] * 1000, 0.001), Source(["b"] * 1000, 0.001)]
    async with aclosing(merged([source.stream() for source in sources])) as items:
        await anext(items)
        await anext(items)
    assert all(source.is_closed for source in sources)


async def test_no_more_are_read_at_once_than_allowed_and_those_never_begun_are_closed_too():
    begun: list[int] = []

    async def stream(number: int) -> AsyncGenerator[int, None]:
        begun.append(number)
        for _ in range(3):
            await asyncio.sleep(0.001)
            yield number

    items = [item async for item in merged([stream(number) for number in range(5)], 2)]
    assert begun == [0, 1, 2, 3, 4] and sorted(items) == [(n, n) for n in range(5) for _ in range(3)]
    first = {number for number, _ in items[:6]}
    assert first == {0, 1}, "the third began before another had ended"
    streams = [stream(number) for number in range(5)]
    async with aclosing(merged(streams, 2)) as some:
        await anext(some)
    assert all(one.ag_frame is None for one in streams)
