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
