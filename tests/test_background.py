"""Long work holds no thread that a short call needs."""

from __future__ import annotations

import asyncio
import contextvars
import threading

import pytest

from assistant.background import THREADS, in_background


async def test_any_number_of_long_calls_leave_short_ones_their_threads():
    gate, begun = threading.Event(), []

    def wait(number: int) -> int:
        begun.append(number)
        assert gate.wait(20)
        return number

    waiting = [asyncio.create_task(in_background(wait, number)) for number in range(100)]
    await asyncio.sleep(0.1)
    try:
        assert await asyncio.wait_for(asyncio.to_thread(lambda: len(begun)), 10) == THREADS
    finally:
        gate.set()
    assert await asyncio.gather(*waiting) == list(range(100))
    assert begun == list(range(100)), "in their order"


async def test_what_the_function_raises_is_raised_and_what_its_caller_has_set_is_seen():
    who = contextvars.ContextVar("who", default="nobody")
    who.set("ann")
    assert await in_background(who.get) == "ann"
    with pytest.raises(ZeroDivisionError):
        await in_background(divmod, 1, 0)
