"""Votes over HTTP: cast them, look at one's own, take them all out, and see who leads."""

from __future__ import annotations

import asyncio
import io
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response
from pydantic import Discriminator, Field, Tag

from assistant.api.connection import Json
from assistant.api.owner import Owner
from assistant.background import in_background
from assistant.catalog import Catalog
from assistant.feedback.ballots import Ranking, Rating, Vote
from assistant.feedback.battles import By
from assistant.feedback.export import Side, adapters_of_task, export_rows
from assistant.feedback.filters import Filters, Moment
from assistant.feedback.formats import FileType, Format, write
from assistant.feedback.leaderboard import Leaderboard, leaderboard
from assistant.feedback.votes import VoteStore
from assistant.messages import Frozen

FEWEST_SAMPLES, MOST_SAMPLES = 20, 2000
MEDIA_TYPES: dict[FileType, str] = {
    "jsonl": "application/jsonl",
    "parquet": "application/vnd.apache.parquet",
    "csv": "text/csv; charset=utf-8",
}


class RankingBody(Ranking):
    """With `by_place` the ranks are those of the places on the screen, from the left."""

    by_place: bool = False

    @property
    def ranking(self) -> Ranking:
        return Ranking.model_validate(self.model_dump(exclude={"by_place"}))


def kind_of(body: Any) -> str:
    return "ranking" if isinstance(body, dict) and "comparison_id" in body else "rating"


Body = Annotated[
    Annotated[RankingBody, Tag("ranking")] | Annotated[Rating, Tag("rating")],
    Discriminator(kind_of),
]
Key = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=64)]
Share = Annotated[float, Field(ge=0, le=1)]


class ChosenQuery(Frozen):
    """Which votes are meant."""

    since: Moment | None = None
    until: Moment | None = None
    adapter: list[str] | None = None
    task: str | None = None
    blind: bool | None = None

    def filters(self, catalog: Catalog) -> Filters:
        """Raises DataError where no adapter is for the task."""
        adapters = None if self.adapter is None else frozenset(self.adapter)
        if self.task is not None:
            of_task = adapters_of_task(catalog, self.task)
            adapters = of_task if adapters is None else adapters & of_task
        return Filters(since=self.since, until=self.until, adapters=adapters, blind=self.blind)


class BoardQuery(ChosenQuery):
    by: By = "contestant"
    samples: Annotated[int, Field(ge=FEWEST_SAMPLES, le=MOST_SAMPLES)] = 1000


class ExportQuery(ChosenQuery):
    format: Format
    type: FileType = "jsonl"
    min_agreement: Share = 0.0
    side: Side = "all"
    test_share: Share = 0.0


def votes_router(store: VoteStore, catalog: Catalog) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["Votes"])

    @router.post("/votes", status_code=201)
    async def cast(body: Body, owner: Owner, key: Key = None) -> Json:
        if isinstance(body, RankingBody):
            return vote_object(await asyncio.to_thread(store.rank, owner, body.ranking, key, body.by_place))
        return vote_object(await asyncio.to_thread(store.rate, owner, body, key))

    @router.get("/votes")
    async def own(owner: Owner) -> Json:
        votes = await asyncio.to_thread(store.export_own, owner)
        return {"object": "list", "data": [vote_object(vote) for vote in votes]}

    @router.delete("/votes")
    async def delete_own(owner: Owner) -> Json:
        return {"object": "votes", "deleted": await asyncio.to_thread(store.delete_own, owner)}

    @router.get("/leaderboard")
    async def board(query: Annotated[BoardQuery, Query()]) -> Json:
        def computed() -> Json:
            return board_object(leaderboard(store.votes(query.filters(catalog)), query.by, query.samples))

        return await in_background(computed)

    @router.get("/export")
    async def export(query: Annotated[ExportQuery, Query()]) -> Response:
        def file() -> bytes:
            cases = store.votes(query.filters(catalog))
            target = io.BytesIO()
            rows = export_rows(cases, query.format, query.min_agreement, query.side, query.test_share)
            write(rows, query.format, query.type, target)
            return target.getvalue()

        name = query.format if query.side == "all" else f"{query.format}-{query.side}"
        headers = {"Content-Disposition": f'attachment; filename="{name}.{query.type}"'}
        return Response(await in_background(file), media_type=MEDIA_TYPES[query.type], headers=headers)

    return router


def vote_object(vote: Vote) -> Json:
    return {
        "id": vote.id,
        "object": "vote",
        "kind": "ranking" if isinstance(vote.ballot, Ranking) else "rating",
        "created_at": vote.created_at.isoformat(),
        "superseded_at": vote.superseded_at.isoformat() if vote.superseded_at else None,
        "was_blind": vote.was_blind,
        **vote.ballot.model_dump(mode="json"),
        **({"by_place": vote.by_place} if isinstance(vote.ballot, Ranking) else {}),
    }


def board_object(board: Leaderboard) -> Json:
    days = {day.isoformat(): count for day, count in board.votes_per_day.items()}
    return {"object": "leaderboard", **asdict(board), "votes_per_day": days}
