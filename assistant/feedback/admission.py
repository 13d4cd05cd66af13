"""Votes from a file into the database, with the answers they are about; what is there already stays as it is.

Ranked lists, ratings and arena records tell whose vote they are and when it was given, so they can come in. What comes
in and goes out again in the same format is the same rows.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pydantic import ValidationError
from sqlalchemy import Connection, delete, exists, func, insert, select, update
from sqlalchemy.exc import DataError as NotStorable

from assistant.database.connection import Database
from assistant.database.tables.comparisons import columns, comparisons
from assistant.database.tables.conversations import turns
from assistant.database.tables.votes import votes
from assistant.errors import DataError, InvalidRequest, StoreUnavailable
from assistant.feedback.arena import ranked_list, vote_id
from assistant.feedback.ballots import IMPORTED, Ranking, Rating
from assistant.feedback.cases import HIDDEN, vote_of
from assistant.feedback.formats import FORMATS, Format, Row
from assistant.feedback.row_reader import Answer, check_id, check_whole, ranked_answers, ranking, rated_answer, rating
from assistant.feedback.votes import check_ranks
from assistant.messages import ChatRequest, CompletionRequest, Decoding, Message, Part, Route, Timing, Usage

NO_VOTES: dict[Format, str] = {
    "preference": "a pair tells neither who voted and when, nor which list of answers it was taken from",
    "unpaired": "a label tells neither who voted and when, nor what was said beside it",
}
"""The formats that cannot become votes again, and why."""

ADMITTED = tuple(format for format in FORMATS if format not in NO_VOTES)
OWNER = "import-"
"""How the owner of a comparison begins that came with a file. The rest is random: it is in nobody's list."""

EARLIEST, CLOCKS_APART = datetime(1970, 1, 1, tzinfo=UTC), timedelta(days=1)
"""When a vote can have been cast: a plot of votes per day cannot reach from the year 1 to 9999."""

AT_ONCE = 200
"""Votes that come in with one transaction: it keeps every other writer waiting, for well under a second."""

PAUSE = 0.01
"""Seconds between two transactions."""

NO_DIGEST = ""
"""The base's digest of an answer from a file, which does not tell it."""


@dataclass(frozen=True)
class Admitted:
    """How many votes came in, how many were there already, and why the others were refused, with their row."""

    added: int
    known: int
    refused: tuple[str, ...]


def admit(database: Database, rows: Sequence[Row], format: Format) -> Admitted:
    """Keep the votes of a file that `read_file` has read, `AT_ONCE` in one transaction, so that others can write between.

    Whatever ends it midway: votes that are here already are passed over, so the same file brings in the rest.

    Raises:
        DataError: the format does not hold whole votes.
        StoreUnavailable: the database does not answer; says how many votes have come in before.
    """
    if format in NO_VOTES:
        raise DataError(f"{format} rows cannot become votes again: {NO_VOTES[format]}; allowed: {', '.join(ADMITTED)}")
    found, done = list(_by_vote(rows, format)), Admitted(0, 0, ())
    for start in range(0, len(found), AT_ONCE):
        try:
            with database.writing() as connection:
                some = _admit_some(connection, found[start : start + AT_ONCE], format)
        except StoreUnavailable as error:
            if not done.added:
                raise
            raise StoreUnavailable(
                f"{_votes(done.added)} came in, and of the rest {error}; bring the file in again for it"
            ) from error
        done = Admitted(done.added + some.added, done.known + some.known, done.refused + some.refused)
        # The turn to write goes to whoever asks first, which would be this thread again.
        time.sleep(PAUSE)
    return done


def _admit_some(connection: Connection, found: Iterable[tuple[int, str, list[Row]]], format: Format) -> Admitted:
    added, known, refused = 0, 0, []
    for number, vote, told in found:
        try:
            if _is_known(connection, vote):
                known += 1
                continue
            for row in told:
                check_whole(row)
            row = ranked_list(told) if format == "arena" else told[0]
            with connection.begin_nested():
                _admit(connection, row, format)
            added += 1
        except InvalidRequest as error:
            refused.append(f"row {number}: {error}")
        except ValidationError as error:
            wrong = error.errors()[0]
            refused.append(f"row {number}: {'.'.join(map(str, wrong['loc']))}: {wrong['msg']}")
        except NotStorable as error:
            refused.append(f"row {number}: {error.orig}")
    return Admitted(added, known, tuple(refused))


def _votes(count: int) -> str:
    return "1 vote" if count == 1 else f"{count} votes"


def _by_vote(rows: Sequence[Row], format: Format) -> Iterable[tuple[int, str, list[Row]]]:
    """For each vote the number of its first row, its id, and its rows, of which only the arena's are several."""
    if format != "arena":
        return [(number, row["vote"], [row]) for number, row in enumerate(rows, 1)]
    found: dict[str, tuple[int, str, list[Row]]] = {}
    for number, record in enumerate(rows, 1):
        vote = vote_id(record)
        found.setdefault(vote, (number, vote, []))[2].append(record)
    return found.values()


def _is_known(connection: Connection, vote: str) -> bool:
    check_id(vote, "vote")
    return connection.execute(select(votes.c.id).where(votes.c.id == vote)).one_or_none() is not None


def _admit(connection: Connection, row: Row, format: Format) -> None:
    """Raises InvalidRequest, or pydantic's ValidationError, for a row that is no vote, or does not fit what is here."""
    prompt = tuple(Message.model_validate(message) for message in row["prompt"])
    ballot = rating(row) if format == "ratings" else ranking(row)
    try:
        when = datetime.fromtimestamp(row["tstamp"], UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise InvalidRequest(f"tstamp {row['tstamp']!r} is no moment: {error}") from error
    if not EARLIEST <= when <= datetime.now(UTC) + CLOCKS_APART:
        raise InvalidRequest(f"tstamp {row['tstamp']!r}, {when:%Y-%m-%d}; allowed: from 1970 until now")
    if not prompt or prompt[-1].role != "user":
        raise InvalidRequest("the prompt does not end with a question")
    answers = ranked_answers(row) if isinstance(ballot, Ranking) else [rated_answer(row)]
    if isinstance(ballot, Ranking):
        if len(prompt) > 2 or (len(prompt) == 2 and prompt[0].role != "system"):
            raise InvalidRequest("the prompt of a ranking is a question, with at most a system prompt before it")
        check_ranks(ballot, ["finished" if answer.is_finished else "failed" for answer in answers])
    there = _told(connection, [answer.turn_id for answer in answers])
    for answer in answers:
        if len(answer.mode) > 128 or len(answer.adapter) > 255:
            raise InvalidRequest(
                f"mode {answer.mode!r} or adapter {answer.adapter!r} is too long; allowed: 128 and 255"
            )
        text, is_finished = there.get(answer.turn_id, (answer.text, answer.is_finished))
        if text != answer.text:
            raise InvalidRequest(f"answer {answer.turn_id!r} is here already, in other words")
        if is_finished != answer.is_finished:
            raise InvalidRequest(
                f"answer {answer.turn_id!r} is here already, and has {'' if is_finished else 'not '}finished"
            )
    for answer in answers:
        if answer.turn_id not in there:
            _add_turn(connection, answer, prompt, when)
        elif isinstance(ballot, Ranking):
            # It may have come with a rating, which does not tell how long it is; one that was given here stays.
            known = {"parts": [_part(answer, prompt).model_dump(mode="json")]}
            from_file = turns.c.base_digest == NO_DIGEST
            connection.execute(update(turns).where(turns.c.id == answer.turn_id, from_file).values(**known))
    if isinstance(ballot, Ranking):
        _seat(connection, ballot.comparison_id, answers, prompt, when, row["was_blind"])
    elif answers[0].mode and answers[0].turn_id not in there:
        _seat(connection, secrets.token_hex(16), answers, prompt, when, row["was_blind"])
    _add_vote(connection, row, ballot, when)


def _told(connection: Connection, turn_ids: Sequence[str]) -> dict[str, tuple[str, bool]]:
    """Of each answer that is here its text, and whether it has finished."""
    found = connection.execute(select(turns.c.id, turns.c.parts, turns.c.state).where(turns.c.id.in_(turn_ids)))
    return {row.id: ("\n\n".join(part["text"] for part in row.parts or ()), row.state == "finished") for row in found}


def _part(answer: Answer, prompt: tuple[Message, ...]) -> Part:
    return Part(
        route=Route(adapter=answer.adapter, confidence=1.0, reason="from a file", text=prompt[-1].content),
        digest=None,
        decoding=Decoding(),
        text=answer.text,
        finish_reason="stop" if answer.is_finished else "cancelled",
        usage=Usage(completion_tokens=answer.tokens),
        timing=Timing(),
    )


def _add_turn(connection: Connection, answer: Answer, prompt: tuple[Message, ...], when: datetime) -> None:
    asked: ChatRequest | CompletionRequest = (
        ChatRequest(messages=prompt, adapter=answer.adapter)
        if answer.is_chat
        else CompletionRequest(prompt=prompt[-1].content, adapter=answer.adapter)
    )
    connection.execute(
        insert(turns).values(
            id=answer.turn_id,
            position=0,
            created_at=when,
            finished_at=when,
            state="finished" if answer.is_finished else "failed",
            kind="chat" if answer.is_chat else "completion",
            adapter=answer.adapter,
            request=asked.model_dump(mode="json"),
            user_text=prompt[-1].content,
            parts=[_part(answer, prompt).model_dump(mode="json")],
            base_digest=NO_DIGEST,
        )
    )


def _seat(
    connection: Connection,
    comparison_id: str,
    answers: Sequence[Answer],
    prompt: tuple[Message, ...],
    when: datetime,
    was_blind: bool,
) -> None:
    """The comparison with its columns, where it is not there yet. Its names are told: the file names them.

    Raises:
        InvalidRequest: it is there with other answers, or in another order, or has not told its names; or an answer is
            in another comparison.
    """
    known = connection.execute(select(HIDDEN).where(comparisons.c.id == comparison_id)).one_or_none()
    if known is not None:
        if known.hidden:
            # Ranks by position, shown by place, would tell which column stands where, and so would a refusal below.
            raise InvalidRequest(f"comparison {comparison_id!r} has not told its names here yet")
        # Ranks are by position: on other columns they would be those of other answers, or of none.
        there = select(columns.c.turn_id).where(columns.c.comparison_id == comparison_id).order_by(columns.c.position)
        if connection.scalars(there).all() != [answer.turn_id for answer in answers]:
            raise InvalidRequest(
                f"turns do not fit comparison {comparison_id!r} here; allowed: those of its columns, in their order"
            )
        return
    # A rating may have come in before the ranking: then its answer sits alone so far, and nobody has ranked it there.
    seated = select(columns.c.comparison_id).where(columns.c.turn_id.in_([answer.turn_id for answer in answers]))
    seats = select(columns.c.comparison_id).where(columns.c.comparison_id.in_(seated))
    connection.execute(
        delete(comparisons).where(
            comparisons.c.id.in_(seats.group_by(columns.c.comparison_id).having(func.count() == 1)),
            comparisons.c.owner.like(f"{OWNER}%"),
            ~exists().where(votes.c.comparison_id == comparisons.c.id),
        )
    )
    if connection.execute(seated).first():
        raise InvalidRequest("an answer is in another comparison here")
    connection.execute(
        insert(comparisons).values(
            id=comparison_id,
            owner=OWNER + secrets.token_urlsafe(24),
            position=0,
            created_at=when,
            finished_at=when,
            state="finished",
            question=prompt[-1].content,
            # Before the question of a rating there may stand worked examples; they are no part of the comparison.
            request={"system": prompt[0].content} if prompt[0].role == "system" else {},
            blind=was_blind,
            revealed_at=when,
        )
    )
    rows = [
        {
            "comparison_id": comparison_id,
            "position": position,
            "shown": answer.shown,
            "mode": answer.mode,
            "adapter": answer.adapter,
            "turn_id": answer.turn_id,
        }
        for position, answer in enumerate(answers)
    ]
    connection.execute(insert(columns), rows)


def _add_vote(connection: Connection, row: Row, ballot: Ranking | Rating, when: datetime) -> None:
    """The vote; of what the same voter said about the same thing the last still counts."""
    is_ranking = isinstance(ballot, Ranking)
    subject = ballot.comparison_id if isinstance(ballot, Ranking) else ballot.turn_id
    voter = IMPORTED + row["voter"][:64]
    about = votes.c.comparison_id == subject if is_ranking else votes.c.turn_id == subject
    current = connection.execute(
        select(votes).where(votes.c.voter == voter, about, votes.c.superseded_at.is_(None))
    ).one_or_none()
    superseded_at = None
    if current is not None:
        said = vote_of(current)
        if said.created_at > when:
            superseded_at = said.created_at
        else:
            connection.execute(update(votes).where(votes.c.id == said.id).values(superseded_at=when))
    connection.execute(
        insert(votes).values(
            id=row["vote"],
            voter=voter,
            created_at=when,
            superseded_at=superseded_at,
            was_blind=row["was_blind"],
            ballot=ballot.model_dump(mode="json"),
            comparison_id=subject if is_ranking else None,
            turn_id=None if is_ranking else subject,
        )
    )
