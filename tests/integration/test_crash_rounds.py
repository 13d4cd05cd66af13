"""Votes against `kill -9`: whatever was acknowledged is there, and nothing is there twice.

CRASH_ROUNDS=20 python -m pytest -s tests/integration/test_crash_rounds.py
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from assistant.database.tables.votes import votes
from assistant.feedback.store import Store
from assistant.feedback.votes import VoteStore
from tests.feedback.ballot_box import BallotBox
from tests.integration import vote_server
from tests.integration.test_app import free_port

ROUNDS = int(os.environ.get("CRASH_ROUNDS", "3"))
CLIENTS, VOTES_EACH, KILLS = 20, 50, 3


@dataclass
class Round:
    """`acknowledged` maps (voter, key) to the id and the subject that the server answered with, in order."""

    random: random.Random
    subjects: list[dict]
    address: str
    acknowledged: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    broken_off: int = 0
    kills: int = 0

    async def vote(self, voter: str) -> None:
        """Fifty votes, one after the other, each sent until it is acknowledged; minds change all the time."""
        dice = random.Random(f"{voter}{self.random.random()}")
        async with httpx.AsyncClient(base_url=self.address, timeout=30) as client:
            for number in range(VOTES_EACH):
                body, key = self.choose(dice), f"key-{number}"
                while True:
                    try:
                        reply = await client.post(
                            "/v1/votes", json=body, headers={"X-Swapboard-Owner": voter, "Idempotency-Key": key}
                        )
                    except httpx.TransportError:
                        self.broken_off += 1
                        await asyncio.sleep(0.2)
                        continue
                    assert reply.status_code == 201, reply.text
                    told = reply.json()
                    self.acknowledged[voter, key] = told["id"], body.get("comparison_id") or body["turn_id"]
                    break

    def choose(self, dice: random.Random) -> dict:
        subject = dice.choice(self.subjects)
        if "comparison_id" in subject:
            return {**subject, "verdict": "ranked", "ranks": dice.sample((1, 2, 3), 3)}
        return {**subject, "thumb": dice.random() < 0.5, "scales": {"fluency": dice.randint(1, 5)}}


class Server:
    """The process, which can be killed and started again.

    It is forked from a process that has done its imports, so that a round is spent on votes and not on starting.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self.port = free_port()
        self.arguments = (url, self.port, folder)
        self.address = f"http://127.0.0.1:{self.port}"
        self.forks = multiprocessing.get_context("forkserver")
        self.forks.set_forkserver_preload(["tests.integration.vote_server"])

    async def start(self) -> None:
        self.process = self.forks.Process(target=vote_server.main, args=self.arguments, daemon=True)
        self.process.start()
        async with httpx.AsyncClient() as client:
            while True:
                assert self.process.is_alive(), "the server ended while it was starting"
                try:
                    if (await client.get(f"{self.address}/healthz")).status_code == 200:
                        return
                except httpx.TransportError:
                    await asyncio.sleep(0.05)

    def kill(self) -> None:
        self.process.kill()
        self.process.join()


@pytest.mark.slow
@pytest.mark.timeout(300 + 120 * ROUNDS)
async def test_every_acknowledged_vote_outlives_the_server_and_none_is_there_twice(tmp_path):
    totals: Counter[str] = Counter()
    for number in range(ROUNDS):
        folder = tmp_path / str(number)
        (folder / "adapters").mkdir(parents=True)
        found = await one_round(number, folder)
        print(f"round {number}: {dict(found)}", flush=True)
        totals += found
    print(f"\n{ROUNDS} rounds: {dict(totals)}")
    assert totals["acknowledged"] == totals["stored"] == ROUNDS * CLIENTS * VOTES_EACH
    assert totals["killed"] == ROUNDS * KILLS and totals["broken off"] > 0


async def one_round(number: int, folder: Path) -> Counter[str]:
    dice, url = random.Random(number), f"sqlite:///{folder / 'swapboard.db'}"
    store = Store(url)
    store.migrate()
    box = BallotBox(store)
    subjects = [{"comparison_id": box.comparison(["a", "b", "c"], f"question {index}")} for index in range(10)]
    subjects += [{"turn_id": box.turn(f"question {index}", "an answer")} for index in range(10)]
    store.close()

    server = Server(url, folder / "adapters")
    await server.start()
    now = Round(dice, subjects, server.address)
    voting = asyncio.gather(*(now.vote(f"voter-{index}") for index in range(CLIENTS)))
    try:
        for _ in range(KILLS):
            due = len(now.acknowledged) + dice.randint(1, CLIENTS * VOTES_EACH // (KILLS + 1))
            while len(now.acknowledged) < due and not voting.done():
                await asyncio.sleep(dice.random() * 0.02)
            server.kill()
            now.kills += 1
            await server.start()
        await voting
    finally:
        voting.cancel()
        server.kill()
    return check(now, url)


def check(now: Round, url: str) -> Counter[str]:
    store = Store(url)
    with store.database.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
        rows = connection.execute(select(votes).order_by(votes.c.created_at)).all()
    stored = {(row.voter, row.client_key): row for row in rows}
    lost = [key for key, (vote_id, _) in now.acknowledged.items() if key not in stored or stored[key].id != vote_id]
    twice = [key for key, times in Counter((row.voter, row.client_key) for row in rows).items() if times > 1]
    assert not lost and not twice, (lost, twice)

    # What counts is each voter's last word on each thing.
    last = {(voter, subject): vote_id for (voter, _), (vote_id, subject) in now.acknowledged.items()}
    current = {(row.voter, row.comparison_id or row.turn_id): row.id for row in rows if row.superseded_at is None}
    assert current == last
    assert len(VoteStore(store.database).votes()) == len(current)
    store.close()
    return Counter(
        {
            "acknowledged": len(now.acknowledged),
            "stored": len(rows),
            "broken off": now.broken_off,
            "killed": now.kills,
        }
    )
