"""Votes → the table, one vote whole, and its history. Pure: values in, HTML out.

Questions, answers, comments, tags and names are other people's words: everything is escaped that becomes part of HTML.
"""

from __future__ import annotations

from collections.abc import Sequence

from assistant.feedback.admission import NO_VOTES, Admitted
from assistant.feedback.ballots import SCALES, Answer, Case, Ranking, Rating, Vote
from assistant.feedback.formats import Format
from assistant.feedback.store import shorten
from assistant.messages import BASE
from assistant.ui.board import LETTERS
from assistant.ui.compare_view import moment, way_text
from assistant.ui.markup import one_line
from assistant.ui.rating import summary
from assistant.ui.render import chip

COLUMNS = ("When", "Question", "What was said", "Tags", "Voter")
QUESTION_LENGTH = 110
NONE_YET = (
    '<div class="sb-empty sb-none-yet"><p><b>No votes yet.</b></p><p>Votes come from three places: compare some answers '
    "in <b>Compare</b> and say which is best; press <b>Rate</b> above an answer in <b>Chat</b>; or let a client "
    "send them to <code>POST /v1/votes</code>.</p></div>"
)
NONE_FITS = '<p class="sb-empty">No vote fits. Take a filter away to see more.</p>'
BLIND = '<span class="sb-badge" title="The names were hidden at the vote">blind</span>'


def vote_table(cases: Sequence[Case], owner: str, is_filtered: bool) -> str:
    """One row for each vote; a click opens it."""
    if not cases:
        return NONE_FITS if is_filtered else NONE_YET
    head = "".join(f"<th>{column}</th>" for column in COLUMNS)
    body = "".join(_row(case, owner) for case in cases)
    return (
        f'<div class="sb-scroll"><table class="sb-table sb-votes"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _row(case: Case, owner: str) -> str:
    vote, question = case.vote, one_line(shorten(case.question, QUESTION_LENGTH)) or "–"
    cells = (
        f"{moment(vote.created_at)}{BLIND if vote.was_blind else ''}",
        f'<button type="button" class="sb-link">{question}</button>',
        said(case),
        tag_list(vote.ballot.tags),
        who(vote, owner),
    )
    row = "".join(f'<td data-label="{column}">{cell}</td>' for column, cell in zip(COLUMNS, cells, strict=True))
    return f'<tr data-pick="{one_line(vote.id)}">{row}</tr>'


def said(case: Case, ballot: Ranking | Rating | None = None) -> str:
    """What a vote says in a line: the answers best first, or the rating. `ballot` may be an earlier one."""
    ballot = ballot or case.vote.ballot
    if isinstance(ballot, Ranking):
        return _order(case, ballot)
    told = "taken back" if ballot.is_empty else summary(ballot.model_copy(update={"tags": ()})) or "tags only"
    return f"{answerer(case.answers[0], case.is_hidden)} {one_line(told)}"


def _order(case: Case, ballot: Ranking) -> str:
    if ballot.verdict != "ranked":
        return {"all_bad": "all are bad", "skipped": "skipped"}[ballot.verdict]
    # From the left: in the order of the contestants a tie would tell who stands where before the names are told.
    answers = sorted(case.answers, key=lambda answer: answer.shown)
    groups = [
        " = ".join(answerer(answer, case.is_hidden) for answer in answers if ballot.ranks[answer.position] == number)
        for number in sorted({rank for rank in ballot.ranks if rank})
    ]
    return f'<span class="sb-order">{" &gt; ".join(groups)}</span>'


def answerer(answer: Answer, is_hidden: bool) -> str:
    """Who wrote an answer; only its letter while names are hidden."""
    if is_hidden:
        return f"Answer {LETTERS[answer.shown]}"
    return named(answer.mode, answer.adapter)


def named(mode: str, adapter: str) -> str:
    """A contestant: the way where there is one, and the adapter where it is not the base."""
    way = one_line(way_text(mode))
    name = chip(adapter) if adapter and (adapter != BASE or not mode) else ""
    return f'<span class="sb-contestant-name">{" ".join(filter(None, (way, name)))}</span>'


def tag_list(tags: Sequence[str]) -> str:
    return " ".join(f'<span class="sb-tag">{one_line(tag)}</span>' for tag in tags)


def who(vote: Vote, owner: str) -> str:
    """The voter by pseudonym: the id itself would let others act for them."""
    return "<b>you</b>" if vote.voter == owner else f"<code>{one_line(vote.pseudonym[:8])}</code>"


# One vote -----------------------------------------------------------------------------------------


def vote_detail(case: Case, history: Sequence[Vote], owner: str) -> str:
    """A vote whole: the question and what was before it, the answers best first, the words said, earlier votes."""
    vote, ballot = case.vote, case.vote.ballot
    facts = f"{moment(vote.created_at)} · {who(vote, owner)}{BLIND if vote.was_blind else ''}"
    parts = [
        f'<p class="sb-told">{facts}</p>',
        _before(case),
        f'<p class="sb-question-text">{_lines(case.question)}</p>',
    ]
    if isinstance(ballot, Ranking):
        parts.append(f'<p class="sb-said">{said(case)}</p>')
        ranks = ballot.ranks or (0,) * len(case.answers)
        ordered = sorted(case.answers, key=lambda answer: (ranks[answer.position] or len(ranks) + 1, answer.shown))
        parts += [_answer(answer, case, ranks[answer.position]) for answer in ordered]
    else:
        parts += [_answer(case.answers[0], case, 0), _rating(ballot)]
    if ballot.comment:
        parts.append(f"<h4>Comment</h4><p>{_lines(ballot.comment)}</p>")
    return f'<article class="sb-vote-detail">{"".join(parts)}{_history(case, history)}</article>'


def _before(case: Case) -> str:
    earlier = case.prompt[:-1]
    if not earlier:
        return ""
    messages = "".join(f"<p><b>{message.role}</b> {_lines(message.content)}</p>" for message in earlier)
    return f"<details><summary>What came before ({len(earlier)})</summary>{messages}</details>"


def _answer(answer: Answer, case: Case, rank: int) -> str:
    place = f'<b class="sb-letter" title="Rank">{rank}</b>' if rank else ""
    tokens = f"{answer.tokens} token" + ("" if answer.tokens == 1 else "s")
    cost = "" if case.is_hidden else f'<span class="sb-told">{tokens} · {answer.seconds:.1f} s</span>'
    text = _lines(answer.text) if answer.text else '<span class="sb-note">no finished answer</span>'
    return (
        f'<section class="sb-judged"><header>{place}{answerer(answer, case.is_hidden)}{cost}</header>'
        f"<div>{text}</div></section>"
    )


def _rating(rating: Rating) -> str:
    rows = [("All in all", "good" if rating.thumb else "bad")] if rating.thumb is not None else []
    rows += [(scale.capitalize(), f"{rating.scales[scale]} of 5") for scale in SCALES if scale in rating.scales]
    told = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in rows)
    correction = f"<h4>What it should have said</h4><p>{_lines(rating.correction)}</p>" if rating.correction else ""
    return (f'<dl class="sb-figures">{told}</dl>' if rows else "") + correction


def _history(case: Case, history: Sequence[Vote]) -> str:
    earlier = [vote for vote in history if vote.superseded_at is not None]
    if not earlier:
        return ""
    items = "".join(
        f'<li><span class="sb-told">{moment(vote.created_at)}{BLIND if vote.was_blind else ""}</span> '
        f"{said(case, vote.ballot)} {tag_list(vote.ballot.tags)}"
        f"{f'<br>{_lines(vote.ballot.comment)}' if vote.ballot.comment else ''}</li>"
        for vote in reversed(earlier)
    )
    times = "once" if len(earlier) == 1 else f"{len(earlier)} times"
    return f'<h4>Changed {times}; said before</h4><ul class="sb-vote-history">{items}</ul>'


def _lines(text: str) -> str:
    return "<br>".join(map(one_line, text.splitlines()))


# Files --------------------------------------------------------------------------------------------

MOST_REFUSED = 20


def import_outcome(name: str, format: Format, rows: int, done: Admitted | None) -> str:
    """What came of a file. `done` is None where its rows were only checked, as they are no votes."""
    counted = f"{rows} {'row' if rows == 1 else 'rows'}"
    if done is None:
        told = (
            f"{name}: {counted}, all as the format {format} wants them. Nothing was added: {NO_VOTES[format]}. "
            "Train on the file as it is."
        )
        return f'<p class="sb-result sb-result-good" role="status">{one_line(told)}</p>'
    told = f"{name}: {counted}; votes: {done.added} added, {done.known} here already, {len(done.refused)} refused."
    reasons = "".join(f"<li>{one_line(reason)}</li>" for reason in done.refused[:MOST_REFUSED])
    if len(done.refused) > MOST_REFUSED:
        reasons += f"<li>and {len(done.refused) - MOST_REFUSED} more</li>"
    kind = "bad" if done.refused else "good"
    return (
        f'<p class="sb-result sb-result-{kind}" role="status">{one_line(told)}</p>'
        f"{f'<ul class=sb-refusals>{reasons}</ul>' if reasons else ''}"
    )
