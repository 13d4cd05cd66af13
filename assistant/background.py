"""Long work beside the event loop, on threads of its own.

`asyncio.to_thread` has few threads, and every chat needs one now and then: documents to embed, adapters to convert and
leaderboards to compute would hold all of them for minutes. Such work is handed over here, and waits for its like alone.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, TypeVarTuple

THREADS = 2
"""What is under way at one time: enough that a large file does not hold up everything else, few enough to leave the
processors to the answers."""

T = TypeVar("T")
Args = TypeVarTuple("Args")

_threads = ThreadPoolExecutor(THREADS, thread_name_prefix="background")


async def in_background(function: Callable[[*Args], T], *args: *Args) -> T:
    """What the function returns or raises; it begins once one of the `THREADS` is free, in the order of the calls.

    It sees the context variables of its caller, by which gradio tells updates from new components.
    """
    context = contextvars.copy_context()
    return await asyncio.get_running_loop().run_in_executor(_threads, lambda: context.run(function, *args))
