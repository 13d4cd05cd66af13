"""Conversations and turns, kept. Whatever a method returned from is on disk."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, and_, case, delete, func, insert, or_, select, update

from assistant.database.connection import Database
from assistant.database.tables.conversations import conversations, turns
from assistant.database.tables.votes import votes
from assistant.errors import NotFound
from assistant.feedback.records import Conversation, Turn, TurnState
from assistant.feedback.transcript import Format, render
from assistant.messages import ChatRequest, CompletionRequest, Failed, Part

INTERRUPTED = "interrupted"
TITLE_LENGTH = 60


class Store:
    """Thread-safe. Every method raises StoreUnavailable where the database does not answer; then nothing was saved.

    An `owner` sees only their own conversations; another's is NotFound, as if it were not there.
    """

    def __init__(self, url: str, busy_timeout: float = 10.0) -> None:
        """Raises SettingsError where the URL cannot be used."""
        self.database = Database(url, busy_timeout)

    def migrate(self) -> None:
        """Bring the tables to the newest revision, from blank or from any older one."""
        self.database.migrate()

    def close(self) -> None:
        self.database.close()

    # Conversations ------------------------------------------------------------------------------

    def create_conversation(self, owner: str, title: str = "") -> Conversation:
        """An empty title is replaced by the beginning of the first question."""
        now = datetime.now(UTC)
        conversation = Conversation(_new_id(), owner, title.strip(), now, now)
        with self.database.writing() as connection:
            connection.execute(
                insert(conversations).values(
                    id=conversation.id, owner=owner, title=conversation.title, created_at=now, updated_at=now
                )
            )
        return conversation

    def conversations(self, owner: str) -> list[Conversation]:
        """All conversations of the owner without their turns, newest activity first."""
        query = (
            select(conversations)
            .where(conversations.c.owner == owner)
            .order_by(conversations.c.updated_at.desc(), conversations.c.created_at.desc())
        )
        with self.database.reading() as connection:
            return [Conversation(**row._mapping) for row in connection.execute(query)]

    def conversation(self, conversation_id: str, owner: str) -> Conversation:
        """The conversation with its shown turns, and the owner's thumbs. Raises NotFound."""
        mine = select(conversations).where(_is(conversation_id, owner))
        said = and_(votes.c.turn_id == turns.c.id, votes.c.voter == owner, votes.c.superseded_at.is_(None))
        shown = (
            select(turns, votes.c.ballot)
            .select_from(turns.outerjoin(votes, said))
            .where(turns.c.conversation_id == conversation_id, turns.c.removed_at.is_(None))
            .order_by(turns.c.position)
        )
        with self.database.reading() as connection:
            row = connection.execute(mine).one_or_none()
            if row is None:
                raise NotFound(f"no conversation {conversation_id!r}")
            return Conversation(**row._mapping, turns=tuple(map(_turn, connection.execute(shown))))

    def rename_conversation(self, conversation_id: str, owner: str, title: str) -> None:
        """Raises NotFound. An empty title is replaced by the beginning of the next question."""
        with self.database.writing() as connection:
            result = connection.execute(
                update(conversations).where(_is(conversation_id, owner)).values(title=title.strip())
            )
            _found(result.rowcount, "conversation", conversation_id)

    def delete_conversation(self, conversation_id: str, owner: str) -> None:
        """Delete it with all its turns, removed ones included. Raises NotFound."""
        with self.database.writing() as connection:
            # The turns go with it: their foreign key cascades.
            result = connection.execute(delete(conversations).where(_is(conversation_id, owner)))
            _found(result.rowcount, "conversation", conversation_id)

    def export_conversation(self, conversation_id: str, owner: str, format: Format) -> str:
        """The conversation as a document to keep. Raises NotFound; InvalidRequest for an unknown format."""
        return render(self.conversation(conversation_id, owner), format)

    # Turns --------------------------------------------------------------------------------------

    def begin_turn(self, request: ChatRequest | CompletionRequest, base_digest: str) -> str:
        """Keep what was asked, before anything is computed; returns the id of the turn.

        Raises:
            NotFound: the request names a conversation that does not exist.
        """
        now = datetime.now(UTC)
        turn_id = (request.turn_id if isinstance(request, ChatRequest) else None) or _new_id()
        is_chat = isinstance(request, ChatRequest)
        conversation_id = request.conversation_id if isinstance(request, ChatRequest) else None
        user_text = request.messages[-1].content if isinstance(request, ChatRequest) else request.text
        with self.database.writing() as connection:
            position = 0 if conversation_id is None else _next_position(connection, conversation_id, user_text, now)
            connection.execute(
                insert(turns).values(
                    id=turn_id,
                    conversation_id=conversation_id,
                    position=position,
                    created_at=now,
                    state="running",
                    kind="chat" if is_chat else "completion",
                    adapter=request.adapter,
                    request=request.model_dump(mode="json"),
                    user_text=user_text,
                    parts=[],
                    base_digest=base_digest,
                )
            )
        return turn_id

    def finish_turn(self, turn_id: str, parts: Sequence[Part], error: Failed | None = None) -> None:
        """Keep what came of a turn. The first end stands; a later one changes nothing.

        Raises:
            NotFound: no such turn, or it was deleted with its conversation.
        """
        state: TurnState = "finished"
        if error is not None:
            state = "cancelled" if error.code == "cancelled" else "failed"
        # A turn that a restart gave up on may still end, in a process that had not died after all.
        is_open = or_(turns.c.state == "running", turns.c.error_code == INTERRUPTED)
        with self.database.writing() as connection:
            result = connection.execute(
                update(turns)
                .where(turns.c.id == turn_id, is_open)
                .values(
                    state=state,
                    finished_at=datetime.now(UTC),
                    parts=[part.model_dump(mode="json") for part in parts],
                    error_code=error.code if error else None,
                    error_message=error.message if error else None,
                )
            )
            if not result.rowcount:
                _found(connection.scalar(select(func.count()).where(turns.c.id == turn_id)) or 0, "turn", turn_id)

    def turn(self, turn_id: str) -> Turn:
        """One turn, whoever asked it; so with nobody's thumb. Raises NotFound."""
        with self.database.reading() as connection:
            row = connection.execute(select(turns).where(turns.c.id == turn_id)).one_or_none()
        if row is None:
            raise NotFound(f"no turn {turn_id!r}")
        return _turn(row)

    def remove_turns_from(self, conversation_id: str, owner: str, position: int) -> int:
        """Hide the turns from `position` on, as undo, retry and edit want; returns how many.

        They stay in the database, with what was said of them; a title made of one of them goes with it. Raises NotFound
        for the conversation.
        """
        with self.database.writing() as connection:
            found = connection.scalar(select(func.count()).where(_is(conversation_id, owner)))
            _found(found or 0, "conversation", conversation_id)
            result = connection.execute(
                update(turns)
                .where(
                    turns.c.conversation_id == conversation_id,
                    turns.c.position >= position,
                    turns.c.removed_at.is_(None),
                )
                .values(removed_at=datetime.now(UTC))
            )
            _retitle(connection, conversation_id)
            return result.rowcount

    def remove_turn(self, turn_id: str, owner: str) -> None:
        """Hide one turn of a conversation of the owner's. Raises NotFound."""
        with self.database.writing() as connection:
            hidden = update(turns).where(turns.c.id == turn_id, turns.c.conversation_id.in_(_of(owner)))
            result = connection.execute(hidden.values(removed_at=datetime.now(UTC)))
            _found(result.rowcount, "turn", turn_id)

    def replace_turns(self, turn_id: str, owner: str, position: int) -> None:
        """Let a turn take the place of all others of its conversation from `position` on, which are hidden.

        A title made of one of them is made anew. Raises NotFound for a turn that is in no conversation of the owner's.
        """
        its_own = select(turns.c.conversation_id).where(
            turns.c.id == turn_id, turns.c.conversation_id.in_(_of(owner)), turns.c.removed_at.is_(None)
        )
        with self.database.writing() as connection:
            conversation_id = connection.scalar(its_own)
            _found(conversation_id is not None, "turn", turn_id)
            others = (
                turns.c.conversation_id == conversation_id,
                turns.c.position >= position,
                turns.c.removed_at.is_(None),
                turns.c.id != turn_id,
            )
            connection.execute(update(turns).where(*others).values(removed_at=datetime.now(UTC)))
            connection.execute(update(turns).where(turns.c.id == turn_id).values(position=position))
            _retitle(connection, str(conversation_id))

    def recover(self) -> int:
        """Call once at the start: turns a crash left running become failed, their text kept; returns how many."""
        with self.database.writing() as connection:
            result = connection.execute(
                update(turns)
                .where(turns.c.state == "running")
                .values(
                    state="failed",
                    finished_at=datetime.now(UTC),
                    error_code=INTERRUPTED,
                    error_message="the program ended before the answer was finished",
                )
            )
            return result.rowcount


def shorten(text: str, length: int = TITLE_LENGTH) -> str:
    """The beginning of a text as one line, cut between words where there are any."""
    line = " ".join(text.split())
    if len(line) <= length:
        return line
    cut = line[:length]
    return (cut.rsplit(" ", 1)[0] if " " in cut else cut[:-1]) + "…"


def _next_position(connection: Connection, conversation_id: str, user_text: str, now: datetime) -> int:
    # Updating first locks the row, so two turns that begin at once cannot take the same place.
    title = case((conversations.c.title == "", shorten(user_text)), else_=conversations.c.title)
    touched = connection.execute(
        update(conversations).where(conversations.c.id == conversation_id).values(updated_at=now, title=title)
    )
    _found(touched.rowcount, "conversation", conversation_id)
    last = select(func.max(turns.c.position)).where(
        turns.c.conversation_id == conversation_id, turns.c.removed_at.is_(None)
    )
    highest = connection.scalar(last)
    return 0 if highest is None else highest + 1


def _retitle(connection: Connection, conversation_id: str) -> None:
    """Where a question gave the title, the first that is shown now gives it; where none is, the next one will."""
    asked = connection.execute(
        select(turns.c.user_text, turns.c.removed_at.is_(None))
        .where(turns.c.conversation_id == conversation_id)
        .order_by(turns.c.position)
    ).all()
    # A title of the owner's own is like the beginning of no question.
    made = {shorten(text) for text, _ in asked}
    title = next((shorten(text) for text, is_shown in asked if is_shown), "")
    connection.execute(
        update(conversations)
        .where(conversations.c.id == conversation_id, conversations.c.title.in_(made))
        .values(title=title)
    )


def _turn(row: Row[Any]) -> Turn:
    fields = dict(row._mapping)
    ballot = fields.pop("ballot", None) or {}
    parts = tuple(Part.model_validate(part) for part in fields["parts"])
    return Turn(**{**fields, "parts": parts, "liked": ballot.get("thumb")})


def _of(owner: str) -> Any:
    return select(conversations.c.id).where(conversations.c.owner == owner)


def _is(conversation_id: str, owner: str) -> Any:
    return and_(conversations.c.id == conversation_id, conversations.c.owner == owner)


def _found(count: int, kind: str, name: str) -> None:
    if not count:
        raise NotFound(f"no {kind} {name!r}")


def _new_id() -> str:
    return uuid.uuid4().hex
