"""A visitor is gone when their last page has been closed for a while."""

from __future__ import annotations

import asyncio

from assistant.ui.presence import Presence


async def gone_after(grace: float, *steps: tuple[str, str, str]) -> list[str]:
    gone: list[str] = []

    async def on_gone(owner: str) -> None:
        gone.append(owner)

    presence = Presence(on_gone, grace)
    for step, session, owner in steps:
        presence.enter(session, owner) if step == "enter" else presence.leave(session)
        await asyncio.sleep(0)
    await asyncio.sleep(grace * 3)
    return gone


async def test_closing_the_last_page_makes_a_visitor_gone():
    assert await gone_after(0.02, ("enter", "1", "ann"), ("enter", "2", "bob"), ("leave", "1", "")) == ["ann"]


async def test_a_refresh_or_a_second_page_keeps_them():
    assert await gone_after(0.02, ("enter", "1", "ann"), ("leave", "1", ""), ("enter", "2", "ann")) == []
    assert await gone_after(0.02, ("enter", "1", "ann"), ("enter", "2", "ann"), ("leave", "1", "")) == []


async def test_a_page_that_never_said_who_it_is_harms_nothing():
    assert await gone_after(0.02, ("leave", "9", "")) == []
