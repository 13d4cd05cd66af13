"""Columns, differences and lists; and that nothing from outside becomes markup."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from assistant.comparison.events import ColumnEvent, ComparisonDone, ComparisonStarted
from assistant.comparison.request import ComparisonRequest, Contestant
from assistant.feedback.comparison_records import Answered, Comparison
from assistant.messages import (
    BestOf,
    Candidate,
    Decoding,
    Done,
    Drawn,
    Drew,
    Failed,
    Grounding,
    Part,
    PartFinished,
    PartStarted,
    Passage,
    Reward,
    Route,
    TextDelta,
    Timing,
    Usage,
)
from assistant.ui import compare_view as view
from assistant.ui.board import Board, from_record, new_board
from assistant.ui.word_difference import difference, shared_words

EVIL = "<img src=x onerror=alert(1)>"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
ROUTE = Route(adapter="base", confidence=1.0, reason="chosen by you", text="x")
MODES = (Contestant(mode="prompt"), Contestant(mode="tuned", adapter="mood"), Contestant(mode="rag"))


def request(**changes: object) -> ComparisonRequest:
    return ComparisonRequest(**{"question": "who?", "contestants": MODES, **changes})


def part(text: str = "Ann did", **changes: object) -> Part:
    """11 tokens after the first of 0.5 s, in 2 s."""
    whole = {
        "route": ROUTE,
        "digest": None,
        "decoding": Decoding(seed=7),
        "text": text,
        "finish_reason": "stop",
        "usage": Usage(prompt_tokens=40, completion_tokens=12),
        "timing": Timing(first_token=0.5, total=2.5),
        "prompt": f"<user>who? {EVIL}",
    }
    return Part(**{**whole, **changes})


def record(*columns: Answered, **changes: object) -> Comparison:
    whole = {
        "id": "c" * 32,
        "owner": "me",
        "batch_id": None,
        "position": 0,
        "created_at": NOW,
        "finished_at": NOW,
        "state": "finished",
        "question": "who?",
        "request": request().record(),
        "blind": False,
        "revealed_at": None,
        "error": None,
        "columns": columns,
    }
    return Comparison(**{**whole, **changes})


def answered(shown: int, position: int | None, *parts: Part, **changes: object) -> Answered:
    whole = {"shown": shown, "turn_id": f"{shown}" * 32, "state": "finished", "parts": parts, "error": None}
    return Answered(**{**whole, "position": position, **changes})


def test_an_open_comparison_knows_its_contestants_as_soon_as_it_starts():
    board = new_board(request()).after(ComparisonStarted(id="c", order=(0, 1, 2)))
    assert [column.contestant for column in board.columns] == list(MODES) and not board.is_over


def test_answers_grow_in_their_own_columns_until_all_is_over():
    board = new_board(request()).after(ComparisonStarted(id="c", order=(0, 1, 2)))
    events = [
        (0, PartStarted(index=0, of=1, route=ROUTE, digest=None)),
        (2, Failed(status=422, code="nothing_relevant", message="there are no documents")),
        (0, TextDelta(index=0, text="Ann ")),
        (0, TextDelta(index=0, text="did")),
        (0, PartFinished(index=0, part=part())),
        (0, Done(turn_id="t", parts=(part(),))),
    ]
    for column, event in events:
        board = board.after(ColumnEvent(column=column, event=event))
    assert [column.state for column in board.columns] == ["finished", "waiting", "failed"]
    assert board.columns[0].text == "Ann did" and board.columns[2].error == "there are no documents"
    over = board.ended()
    assert over.columns[1].state == "cancelled" and over.is_over and not over.can_be_ranked
    assert board.after(ComparisonDone(id="c")).is_over


def test_a_blind_comparison_shows_no_name_while_it_runs():
    board = new_board(request(blind=True)).after(ComparisonStarted(id="c", order=None))
    made = "".join(view.column_html(board, place) for place in range(3))
    assert "Answer A" in made and "mood" not in made and "Fine-tuned" not in made


def test_a_column_tells_what_it_cost_and_what_was_sent():
    """11 tokens after the first, in the 2 s after the first."""
    board = from_record(record(answered(0, 1, part()), answered(1, 0, part("no"))))
    made = view.column_html(board, 0)
    for told in (
        "Fine-tuned",
        ">mood<",
        ">12<",
        ">5.5<",
        "0.50 s",
        "2.50 s",
        "The exact prompt, 40 tokens",
        "Rate answer A",
    ):
        assert told in made


def test_scores_stand_under_a_column_only_where_names_are_told():
    asked = request(references=("Ann did",)).record()
    columns = (answered(0, 1, part()), answered(1, 0, part("no")))
    board = from_record(record(*columns, request=asked))
    assert board.scores[0].exact_match == 1.0 and board.scores[1].f1 == 0.0
    assert "ROUGE-L" in view.column_html(board, 0, board.scores[0])
    hidden = from_record(record(answered(0, None, part()), answered(1, None, part()), request=asked, blind=True))
    assert hidden.scores == {}


def test_a_hidden_column_keeps_figures_prompt_and_passages_to_itself():
    board = from_record(record(answered(0, None, part()), answered(1, None, part()), blind=True))
    made = view.column_html(board, 0)
    assert "Ann did" in made
    for told in ("tokens", "exact prompt", "Seed", "passage"):
        assert told not in made


def test_a_citation_leads_to_its_passage_and_all_else_is_escaped():
    passage = Passage(id=1, document_id="d" * 32, document=EVIL, start=0, end=9, text=f"Ann did {EVIL}", heading=EVIL)
    grounded = part(f"Ann did [1] {EVIL}", passages=(passage,), grounding=Grounding(share=0.9, is_found=True))
    board = from_record(record(answered(0, 2, grounded), answered(1, 0, part("no"))))
    made = view.column_html(board, 0)
    assert 'class="sb-cite" href="#sb-passage-compare-0-000000000000-1"' in made
    assert 'id="sb-passage-compare-0-000000000000-1"' in made and "Groundedness 90%" in made
    assert "<img" not in made


def drawn(*rewards: float | None) -> Drawn:
    """Each of 12 tokens to a prompt of 40, all of them in 4 s."""
    usage = Usage(prompt_tokens=40, completion_tokens=12)
    told = [Candidate(seed=7 + n, text=f"{EVIL} {n}", usage=usage, reward=one) for n, one in enumerate(rewards)]
    return Drawn(judge="taste", digest="d", candidates=tuple(told), seconds=4.0)


def test_a_best_of_tells_how_far_it_is_and_then_what_all_of_it_cost():
    """24 tokens in 4 s are 6 in a second."""
    best = MODES[1].model_copy(update={"best_of": BestOf(n=2, judge="taste")})
    board = new_board(request(contestants=(MODES[0], best))).after(ComparisonStarted(id="c", order=(0, 1)))
    board = board.after(ColumnEvent(column=1, event=Drew(index=0, done=1, of=2)))
    assert "Drawn 1 of 2" in view.column_html(board, 1) and "best of 2 by taste" in view.column_html(board, 1)
    whole = part(EVIL, drawn=drawn(-0.5, 1.25))
    made = view.column_html(board.after(ColumnEvent(column=1, event=Done(turn_id="t", parts=(whole,)))), 1)
    for told in ("24 (all 2 answers)", ">6.0<", "4.00 s (all 2 answers)", "80 (all 2 answers)", "<b>−0.50</b>"):
        assert told in made
    assert made.index("<b>1.25</b>") < made.index("<b>−0.50</b>") and "<img" not in made


def test_an_answer_without_a_word_stands_last_among_those_that_were_drawn():
    made = view.drawn_answers(part(drawn=drawn(None, -9.0)))
    assert made.index("<b>−9.00</b>") < made.index("<b>–</b>")


def test_rewards_stand_under_named_answers_with_how_far_each_is_behind():
    first, second, third = (part("x", reward=Reward(judge=EVIL, score=score)) for score in (0.5, -0.25, None))
    board = from_record(record(answered(0, 0, first), answered(1, 1, second), answered(2, 2, third)))
    made = [view.column_html(board, place) for place in range(3)]
    assert "0.50" in made[0] and "it is the best" in made[0] and view.ONLY_DIFFERENCES in made[0]
    assert "−0.25" in made[1] and "<dd>0.75</dd>" in made[1] and "it was not judged" in made[2]
    assert "<img" not in "".join(made)
    hidden = from_record(record(answered(0, None, first), answered(1, None, second), blind=True))
    assert hidden.rewards == {} and "Reward" not in view.column_html(hidden, 0)
    assert board.rewarded({}).rewards == {}


def test_a_way_as_it_is_kept_is_told_in_plain_words():
    assert view.way_text("tuned, best of 4 by taste") == "Fine-tuned, best of 4 by taste"
    assert (view.way_text("rag"), view.way_text("other"), view.way_text("")) == ("RAG", "other", "")


@pytest.mark.parametrize(
    "changes", [{"error": EVIL, "state": "failed", "parts": ()}, {"parts": (part(EVIL, prompt=EVIL),)}]
)
def test_what_comes_from_outside_is_escaped(changes):
    board = from_record(record(answered(0, 0, **changes), answered(1, 1, part(EVIL)), question=EVIL))
    made = view.column_html(board, 0) + view.difference_html(board, 0, 1)
    made += view.comparison_list([record(question=EVIL)], None)
    assert "<img" not in made


def test_differences_are_marked_word_by_word():
    old, new = difference("the cat sat", "the dog sat down")
    assert old == "the <del>cat</del> sat" and new == "the <ins>dog</ins> sat<ins> down</ins>"


@pytest.mark.timeout(60)
def test_long_answers_are_compared_by_sentences_and_very_long_ones_not_at_all():
    first, second = "A lamp burns. " * 500 + "It is red. Ann left.", "A lamp burns. " * 500 + "It is blue. Ann left."
    old, new = difference(first, second)
    assert old == "A lamp burns. " * 500 + "<del>It is red. </del>Ann left."
    assert new == "A lamp burns. " * 500 + "<ins>It is blue. </ins>Ann left."
    assert difference("a < b. " * 20_000, "a. b? " * 20_000)[0] == "a &lt; b. " * 20_000
    texts = ("a b " * 600, "a " * 1_000), ("a. b. " * 20_000, "b. " * 20_000)
    for told, (left, right) in zip(("sentences are marked", "nothing is marked"), texts, strict=True):
        board = from_record(record(answered(0, 0, part(left)), answered(1, 1, part(right))))
        assert "too long to compare" in view.difference_html(board, 0, 1) and told in view.difference_html(board, 0, 1)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("text", ["a b " * 20_000, "a. b. " * 20_000])
def test_equal_answers_are_told_to_be_the_same_however_long(text):
    board = from_record(record(answered(0, 0, part(text)), answered(1, 1, part(text))))
    assert "the same, letter by letter" in view.difference_html(board, 0, 1)


def test_shared_words_are_counted_in_order():
    """3 of 4 and 3 of 3 words are shared: 2 · 3 / 7."""
    assert shared_words("the cat sat down", "The cat sat") == pytest.approx(6 / 7)


def test_the_list_marks_what_is_open_and_tells_how_each_ended():
    made = view.comparison_list([record(), record(id="d" * 32, state="interrupted", blind=True)], "c" * 32)
    assert made.count("aria-current") == 1 and "cut off by a restart" in made and "3 answers, blind" in made


def test_a_stopped_comparison_keeps_its_text_and_says_so():
    board = Board(request(), new_board(request()).columns, "c")
    stopped = board.after(ColumnEvent(column=0, event=TextDelta(index=0, text="half"))).ended()
    assert "half" in view.column_html(stopped, 0) and "Stopped" in view.column_html(stopped, 0)
    assert "Stopped before the first word" in view.column_html(stopped, 1)
