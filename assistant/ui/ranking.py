"""Answers put in order: by dragging, by arrows, by number; two of them by one click."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from assistant.errors import InvalidRequest
from assistant.feedback.store import shorten
from assistant.feedback.votes import Ranking
from assistant.ui.board import LETTERS, Board
from assistant.ui.compare_view import heading
from assistant.ui.markup import one_line

EXCERPT = 80
HOW = "Drag the answers into order, best first, or number them: equal numbers are a tie."

RANK = """
// Items stand in the order of their ranks, behind them those that have none yet. A move numbers all anew from 1; a number
// picked by hand may be that of another item, which is a tie.
const items = () => [...element.querySelectorAll('li[data-place]')];
const show = () => {
    for (const item of items()) item.querySelector('select').value = item.dataset.rank;
    const save = element.querySelector('[data-save]');
    if (save) delete save.dataset.busy;
};
const number = () => { items().forEach((item, index) => { item.dataset.rank = index + 1; }); show(); };
const sort = () => {
    const list = element.querySelector('ol');
    const place = (item) => Number(item.dataset.rank) || Infinity;
    items().sort((a, b) => place(a) === place(b) ? 0 : place(a) - place(b)).forEach((item) => list.append(item));
    show();
};
let dragged = null, from = -1;
element.addEventListener('dragstart', (event) => {
    dragged = event.target.closest('li[data-place]');
    if (!dragged) return;
    dragged.dataset.dragged = 'yes';
    from = items().indexOf(dragged);
    event.dataTransfer.effectAllowed = 'move';
    event.dataTransfer.setData('text/plain', dragged.dataset.place);
});
element.addEventListener('dragover', (event) => {
    const over = event.target.closest('li[data-place]');
    if (!dragged) return;
    event.preventDefault();
    if (!over || over === dragged) return;
    const box = over.getBoundingClientRect();
    if (event.clientY < box.top + box.height / 2) over.before(dragged); else over.after(dragged);
});
element.addEventListener('drop', (event) => { if (dragged) event.preventDefault(); });
element.addEventListener('dragend', () => {
    if (!dragged) return;
    delete dragged.dataset.dragged;
    // One that was let go where it had been says nothing of the others.
    if (items().indexOf(dragged) !== from) number();
    dragged = null;
});
element.addEventListener('change', (event) => {
    const item = event.target.closest('li[data-place]');
    if (!item || event.target.tagName !== 'SELECT') return;
    item.dataset.rank = event.target.value;
    sort();
});
element.addEventListener('click', (event) => {
    const button = event.target.closest('button');
    if (!button) return;
    const item = button.closest('li[data-place]');
    if (item) {
        const beside = button.dataset.move === 'up' ? item.previousElementSibling : item.nextElementSibling;
        if (!beside) return;
        if (button.dataset.move === 'up') beside.before(item); else beside.after(item);
        number();
        button.focus();
    } else if (button.dataset.verdict) {
        trigger('select', {index: 0, value: {verdict: button.dataset.verdict, ranks: JSON.parse(button.dataset.ranks)}});
    } else if ('save' in button.dataset) {
        const ranks = {};
        for (const one of items()) ranks[one.dataset.place] = Number(one.dataset.rank) || null;
        trigger('select', {index: 0, value: {verdict: 'ranked', ranks}});
    }
});
watch('value', show);
show();
"""


def ranking_html(board: Board, ranks: Sequence[int] = ()) -> str:
    """The list that is dragged and numbered, or the four buttons for two; `ranks` is the earlier vote, by place.

    Only finished answers stand in it. Without an earlier vote none has a rank: the order of the columns is nobody's
    opinion.
    """
    places = board.finished
    if len(places) == 2:
        return f'<div class="sb-verdicts" data-of="{board.id}">{_pair(*places)}{_others("Both are bad")}</div>'
    numbered = {place: ranks[place] if ranks else 0 for place in places}
    items = "".join(
        _item(board, place, numbered[place], len(places)) for place in sorted(places, key=lambda place: numbered[place])
    )
    save = '<button type="button" class="sb-save" data-save>Save the ranking</button>'
    return (
        f'<p class="sb-hint">{HOW}</p>'
        f'<ol class="sb-ranking" data-of="{board.id}" data-vote="{",".join(map(str, ranks))}">{items}</ol>'
        f'<div class="sb-verdicts">{save}{_others("All are bad")}</div>'
    )


def _item(board: Board, place: int, rank: int, count: int) -> str:
    name = f"answer {LETTERS[place]}"
    options = '<option value="">–</option>' + "".join(
        f'<option value="{number}">{number}</option>' for number in range(1, count + 1)
    )
    column = board.columns[place]
    return (
        f'<li data-place="{place}" data-rank="{rank or ""}" draggable="true"><span class="sb-grip" aria-hidden="true">⠿</span>'
        f'<select aria-label="Rank of {name}" title="Equal numbers are a tie">{options}</select>'
        f'<span class="sb-who">{heading(place, column)}</span>'
        f'<span class="sb-excerpt">{one_line(shorten(column.text, EXCERPT))}</span>'
        f'<span class="sb-moves"><button type="button" data-move="up" aria-label="Move {name} up">▲</button>'
        f'<button type="button" data-move="down" aria-label="Move {name} down">▼</button></span></li>'
    )


def _pair(first: int, second: int) -> str:
    choices = (
        (f"{LETTERS[first]} is better", (1, 2)),
        (f"{LETTERS[second]} is better", (2, 1)),
        ("A tie", (1, 1)),
    )
    return "".join(
        f'<button type="button" data-verdict="ranked" data-ranks=\'{{"{first}": {a}, "{second}": {b}}}\'>{label}</button>'
        for label, (a, b) in choices
    )


def _others(all_bad: str) -> str:
    return (
        f'<button type="button" data-verdict="all_bad" data-ranks="{{}}">{all_bad}</button>'
        '<button type="button" data-verdict="skipped" data-ranks="{}">Skip</button>'
    )


def read_ranks(board: Board, value: Any) -> tuple[int, ...]:
    """What the browser sent, as one rank for each place; 0 where an answer has not finished.

    Raises:
        InvalidRequest: it is not a rank for each finished answer, or some have not been ranked.
    """
    given = value.get("ranks") if isinstance(value, dict) else None
    places = board.finished
    if not isinstance(given, dict) or set(given) != {str(place) for place in places}:
        raise InvalidRequest("the ranking does not fit the answers shown; reload the page")
    ranks = {place: given[str(place)] for place in places}
    if unranked := [LETTERS[place] for place, rank in ranks.items() if rank is None]:
        raise InvalidRequest(
            f"rank the answers first: {', '.join(unranked)} {'has' if len(unranked) == 1 else 'have'} no number yet"
        )
    if not all(isinstance(rank, int) and 1 <= rank <= len(places) for rank in ranks.values()):
        raise InvalidRequest(f"ranks {list(ranks.values())}; allowed: 1 to {len(places)}, 1 is best")
    return tuple(ranks.get(place, 0) for place in range(len(board.columns)))


def by_place(ranks: Sequence[int], order: Sequence[int]) -> tuple[int, ...]:
    """Ranks by number as asked for → ranks by place; `order[place]` is that number."""
    return tuple(ranks[position] for position in order) if ranks else ()


def ranking_text(verdict: str, ranks: Sequence[int]) -> str:
    """A ranking in a line, best first: "B > A = C"; `ranks` is by place."""
    if verdict == "skipped":
        return "skipped"
    if verdict == "all_bad":
        return "all bad"
    groups = [
        " = ".join(LETTERS[place] for place, rank in enumerate(ranks) if rank == number)
        for number in sorted({rank for rank in ranks if rank})
    ]
    return " > ".join(groups)


def vote_note(vote: Ranking, ranks: Sequence[int], changes: int) -> str:
    """What is kept of the visitor's vote; `changes` counts the votes it replaced."""
    told = f"Your vote: {ranking_text(vote.verdict, ranks)}"
    if changes:
        told += f" (changed {changes} {'time' if changes == 1 else 'times'})"
    return f'<p class="sb-vote" role="status">{one_line(told)}. Vote again to change it.</p>'
