"""Where in its conversation a question goes, and what becomes of the turns that it stands in for."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from assistant.errors import InvalidRequest, NotFound
from assistant.feedback.records import Conversation, Turn
from assistant.feedback.store import Store
from assistant.ui.exchange import Exchange
from assistant.ui.visitor import Visitor

log = logging.getLogger(__name__)

CHANGED = "this conversation has changed meanwhile; reload the page"


@dataclass
class Replacement:
    """A turn that is to take the place of those from `position` on.

    They are hidden once it has an answer. Where it gets none, because it is refused, fails or is stopped before the
    first word, it is hidden itself and the conversation is what it was: `is_withdrawn`.

    Args:
        turn_id: of the new turn, which is recorded behind the others until it has its answer.
        question: what the turn at `position` asks.
    """

    store: Store
    owner: str
    position: int
    question: str
    turn_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    is_answered: bool = False
    is_settled: bool = False
    is_withdrawn: bool = False

    async def settle(self, now: Exchange) -> None:
        """Call with every state of the exchange. Raises nothing: what the database refuses is tried again at the end."""
        if self.is_settled or (self.is_answered and not now.is_over):
            return
        self.is_answered = any(part.text for part in now.parts) or now.state == "finished"
        if self.is_answered:
            self.is_settled = await self._try(self.store.replace_turns, self.position)
        elif now.is_over:
            self.is_settled = self.is_withdrawn = await self._try(self.store.remove_turn)

    async def _try(self, change: Callable[..., object], *place: int) -> bool:
        try:
            await asyncio.to_thread(change, self.turn_id, self.owner, *place)
        except NotFound:  # it could not even be recorded
            return True
        except Exception:  # whatever it is: those who follow the answer wait for its end
            log.exception("turn %s could not be put in its place", self.turn_id)
            return False
        return True


def place_of(turns: Sequence[Turn], shown: Sequence[str | None]) -> int:
    """Where in the conversation these turns begin, which a page shows from one of its exchanges to the last.

    None stands for an exchange that could not be kept.

    Raises:
        InvalidRequest: the conversation ends otherwise by now, with what this page may never have shown.
    """
    kept = [turn_id for turn_id in shown if turn_id is not None]
    if not shown or shown[0] is None or kept != [turn.id for turn in turns[-len(kept) :]]:
        raise InvalidRequest(CHANGED)
    return len(turns) - len(kept)


def make_room(
    store: Store, visitor: Visitor, text: str | None, shown: Sequence[str | None] | None
) -> tuple[Conversation, str, Replacement | None]:
    """The conversation as it is before the question, the question, and what it replaces.

    Args:
        text: None to ask the first of `shown` again.
        shown: the turns from the one that is replaced to the last that the page shows; None for the end of the
            conversation.

    Raises:
        InvalidRequest: the conversation does not end with them any more.
        NotFound, StoreUnavailable: see the store.
    """
    if not visitor.conversation:
        return store.create_conversation(visitor.owner), text or "", None
    conversation = store.conversation(visitor.conversation, visitor.owner)
    turns = conversation.turns
    if shown is not None:
        place = place_of(turns, shown)
    else:
        # A question that got no answer has gone back to the box: what is sent now stands in its place.
        place = len(turns) - 1 if turns and turns[-1].state != "finished" and not turns[-1].text else len(turns)
    if place == len(turns):
        return conversation, text or "", None
    first, before = turns[place], replace(conversation, turns=turns[:place])
    question = first.user_text if text is None else text
    if any(turn.text for turn in turns[place:]):
        return before, question, Replacement(store, visitor.owner, first.position, first.user_text)
    store.remove_turns_from(conversation.id, visitor.owner, first.position)
    return before, question, None
