"""Rewards over HTTP: what a reward adapter makes of finished conversations."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Response
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from assistant.api.connection import WholeAnswer
from assistant.api.schema import Body, ChatMessage
from assistant.service import ChatService

MAX_CONVERSATIONS = 128

Messages = Annotated[list[ChatMessage], Field(min_length=1)]


class ScoreBody(Body):
    """One conversation as `messages`, or several as `conversations`; each ends with the answer to judge."""

    model: str
    messages: Messages | None = None
    conversations: Annotated[list[Messages], Field(min_length=1, max_length=MAX_CONVERSATIONS)] | None = None

    @model_validator(mode="after")
    def check_one_of_both(self) -> ScoreBody:
        if (self.messages is None) == (self.conversations is None):
            raise PydanticCustomError(
                "one_of_both", "give either messages or conversations", {"field": "conversations"}
            )
        return self

    @property
    def all(self) -> list[list[ChatMessage]]:
        return self.conversations or [self.messages or []]


def scores_router(service: ChatService) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["Scores"])

    @router.post("/score")
    async def score(body: ScoreBody) -> Response:
        async def compute() -> dict[str, Any]:
            scores = await service.score(
                body.model, [tuple(message.message() for message in messages) for messages in body.all]
            )
            data = [{"index": index, "object": "score", "score": score} for index, score in enumerate(scores)]
            return {"object": "list", "model": body.model, "data": data}

        return WholeAnswer(compute)

    return router
