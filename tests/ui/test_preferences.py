"""What the Preferences tab shows of votes, and what it lets a visitor do with them."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import gradio as gr
import pytest

from assistant.catalog import Catalog
from assistant.errors import DataError, InvalidRequest, StoreUnavailable
from assistant.feedback.admission import Admitted
from assistant.feedback.ballots import IMPORTED
from assistant.feedback.filters import Filters
from assistant.feedback.leaderboard import leaderboard
from assistant.feedback.store import Store
from assistant.feedback.votes import Ranking, Rating
from assistant.ui import preference_view as view
from assistant.ui import standing_view as board_view
from assistant.ui import standings, vote_files
from assistant.ui.own_votes import as_record
from assistant.ui.preferences import PreferencesTab
from assistant.ui.rating_panel import kept_note
from assistant.ui.vote_files import VoteFiles
from assistant.ui.vote_filters import VoteFilters, read_filters
from tests.fakes import write_adapter
from tests.feedback.ballot_box import BallotBox
from tests.feedback.cases import case, rating_case
from tests.threads import threads_of

EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture
def box(tmp_path: Path):
    store = Store(f"sqlite:///{tmp_path / 'swapboard.db'}")
    store.migrate()
    yield BallotBox(store)
    store.close()


@pytest.fixture
async def tab(tmp_path: Path, box: BallotBox) -> PreferencesTab:
    write_adapter(tmp_path / "adapters" / "mood", task="sentiment")
    tab = PreferencesTab(box.votes, Catalog(tmp_path / "adapters"))
    with gr.Blocks():
        tab.build()
    return tab


def unfiltered() -> list:
    return VoteFilters().cleared()


# The table and one vote ---------------------------------------------------------------------------


def test_an_empty_store_says_where_votes_come_from_and_a_filter_says_that_none_fits():
    assert "in <b>Compare</b>" in view.vote_table([], "ann", False)
    assert "No vote fits" in view.vote_table([], "ann", True)


def test_a_ranking_is_told_best_first_with_its_ties_and_nothing_becomes_markup():
    """Ranks by position: prompt 2, rag 1, tuned 2."""
    evil = case([EVIL, "b", "c"], (2, 1, 2), question=EVIL)
    order = view.said(evil)
    assert order.index("RAG") < order.index("&gt;") < order.index("Prompt only")
    assert order.index("Prompt only") < order.index(" = ") < order.index("Fine-tuned")
    for made in (view.vote_table([evil], "bob", False), view.vote_detail(evil, [evil.vote], "bob")):
        assert EVIL not in made and "&lt;img" in made


def test_names_are_hidden_where_the_comparison_has_not_told_them():
    hidden = replace(case(["a", "b"], (1, 2), shown=(1, 0)), is_hidden=True)
    made = view.vote_table([hidden], "ann", False) + view.vote_detail(hidden, [hidden.vote], "ann")
    assert "Answer B &gt; Answer A" in made
    assert not any(name in made for name in ("Prompt only", "RAG", "tokens"))


def test_a_voter_is_you_or_a_pseudonym_and_never_the_id():
    mine = case(["a", "b"], (1, 2), voter="the-secret-id")
    mine = replace(mine, vote=replace(mine.vote, id="v"))
    assert "<b>you</b>" in view.vote_table([mine], "the-secret-id", False)
    others = view.vote_table([mine], "bob", False) + view.vote_detail(mine, [mine.vote], "bob")
    assert "the-secret-id" not in others and mine.vote.pseudonym[:8] in others


def test_a_vote_whole_has_answers_best_first_scales_correction_and_what_was_said_before(box):
    turn = box.turn("What is heat?", "Cold.", "mood")
    box.votes.rate("ann", Rating(turn_id=turn, thumb=True, comment="lovely"))
    vote = box.votes.rate("ann", Rating(turn_id=turn, scales={"fluency": 4}, correction="Energy on its way."))
    made = view.vote_detail(box.votes.case(vote.id), box.votes.history("ann", turn), "ann")
    for told in ("4 of 5", "Energy on its way.", "Changed once", "Good", "lovely"):
        assert told in made
    ranked = case(["last", "first"], (2, 1))
    made = view.vote_detail(ranked, [ranked.vote], "ann")
    assert made.index("first</div>") < made.index("last</div>") and "Changed" not in made


def test_the_form_says_what_is_kept_and_what_was_said_before(box):
    turn = box.turn("What is heat?", "Cold.")
    assert kept_note([]) == ""
    box.votes.rate("ann", Rating(turn_id=turn, thumb=False))
    box.votes.rate("ann", Rating(turn_id=turn, scales={"fluency": 4}))
    note = kept_note(box.votes.history("ann", turn))
    assert "Saved: fluency 4." in note and "Said before (1)" in note and "Bad" in note
    box.votes.rate("ann", Rating(turn_id=turn))
    assert "taken back" in kept_note(box.votes.history("ann", turn))


def test_what_came_of_a_file_is_told_with_the_reasons():
    told = view.import_outcome("v.csv", "ranked", 9, Admitted(4, 3, ("row 2: <b>", "row 8: no")))
    assert "9 rows; votes: 4 added, 3 here already, 2 refused" in told and "row 2: &lt;b&gt;" in told
    for format in ("preference", "unpaired"):
        told = view.import_outcome("p.csv", format, 1, None)
        assert "Nothing was added" in told and "tells neither who voted and when" in told


# The leaderboard ----------------------------------------------------------------------------------


def test_the_leaderboard_has_intervals_a_matrix_and_the_battles_left_out():
    """Nine rankings of three give 27 battles; a skipped one of two and one that names its model give none."""
    cases = [
        case(["a b", "c", "d e"], (1, 2, 3 if day % 2 else 2), question=f"q{day}", day=day) for day in range(1, 10)
    ]
    cases += [case(["a", "b"], verdict="skipped", question="skip"), case(["I am SmolLM.", "b"], (1, 2), question="own")]
    board = leaderboard(cases, samples=30)
    table = board_view.standings_table(board, "contestant")
    assert table.index("Prompt only") < table.index("RAG") < table.index("Fine-tuned")
    assert len(re.findall(r"\d \[", table)) == 2 * 3
    matrix = board_view.matrix_table(board, "contestant")
    assert "<b>100%</b><small>9 of 9</small>" in matrix and "<small>2 of 9</small>" in matrix
    told = board_view.basis(board)
    assert "11 rankings: 27 battles" in told
    assert "2 battles left out: 1 × skipped; 1 × an answer names its adapter or model." in told


def test_plots_take_their_colours_from_the_page_and_set_no_rules_for_it():
    board = leaderboard([case(["a", "b"], (1, 2), day=day, question=f"{day}") for day in (1, 2, 4)], samples=30)
    for plot in (board_view.standings_plot(board, "contestant"), board_view.days_plot(board.votes_per_day)):
        assert plot.startswith('<figure class="sb-plot"') and "<svg" in plot and "<style" not in plot
        assert "currentColor" in plot and "var(--color-accent)" in plot
        assert not any(stand_in in plot for stand_in in board_view.COLOURS)
    assert "Prompt only" in board_view.standings_plot(board, "contestant")


@pytest.mark.parametrize("by", ["contestant", "adapter"])
def test_a_name_from_a_file_is_neither_markup_nor_a_formula(by):
    board = leaderboard(
        [
            case(["a", "b"], (1, 2), question="x", adapters=(EVIL, r"a$\bad$")),
            case(["a", "b"], (1, 2), question="y", adapters=("three", "four")),
        ],
        by,
        samples=30,
    )
    table = board_view.standings_table(board, by)
    assert "Group 2: " in table
    for made in (table, board_view.matrix_table(board, by), board_view.standings_plot(board, by)):
        assert "<img" not in made and "&lt;img" in made
    assert r"a$\bad$" in board_view.standings_plot(board, by)


def test_a_pseudonym_from_a_file_is_no_markup():
    voted = case(["a", "b"], (1, 2), voter=f"{IMPORTED}<b>x</b>")
    made = view.vote_table([voted], "bob", False) + view.vote_detail(voted, [voted.vote], "bob")
    assert "<code>&lt;b&gt;x&lt;/b&gt;</code>" in made and "<b>x" not in made


def test_those_who_never_met_are_told_apart():
    apart = [case(["a", "b"], (1, 2)), case(["a", "b"], (1, 2), question="x", adapters=("one", "two"))]
    table = board_view.standings_table(leaderboard(apart, "adapter", samples=30), "adapter")
    assert "Group 2: " not in table  # base met base only
    pairs = [
        case(["a", "b"], (1, 2), question="x", adapters=("one", "two")),
        case(["a", "b"], (1, 2), question="y", adapters=("three", "four")),
    ]
    table = board_view.standings_table(leaderboard(pairs, "adapter", samples=30), "adapter")
    assert "Group 1: " in table and "Group 2: " in table


def test_agreement_is_told_for_what_two_have_judged():
    alone = leaderboard([rating_case("4", thumb=True)], samples=30)
    assert "Nothing has been judged by two voters" in board_view.agreement_table(alone)
    both = [case(["a", "b"], ranks, voter=voter) for voter, ranks in (("ann", (1, 2)), ("bob", (2, 1)))]
    assert "Which is better" in board_view.agreement_table(leaderboard(both, samples=30))


# Filters ------------------------------------------------------------------------------------------


def test_fields_left_alone_ask_for_nothing(tmp_path):
    assert read_filters(unfiltered(), "ann", Catalog(tmp_path)) == Filters()


def test_the_last_day_is_included_and_a_wrong_one_is_named(tmp_path):
    fields = [
        "heat",
        "Mine",
        "Rankings",
        ["rag"],
        ["base"],
        "Any",
        "2026-11-20",
        "2026-11-21",
        "Hidden at the vote",
        [],
    ]
    made = read_filters(fields, "ann", Catalog(tmp_path))
    assert made.since == datetime(2026, 11, 20, tzinfo=UTC) and made.until == made.since + timedelta(days=2)
    assert (made.voter, made.kind, made.modes, made.blind, made.text) == ("ann", "ranking", {"rag"}, True, "heat")
    fields[6] = "yesterday"
    with pytest.raises(InvalidRequest, match="'yesterday'; allowed: year-month-day"):
        read_filters(fields, "ann", Catalog(tmp_path))
    fields[6:8] = None, "9999-12-31"  # the calendar has no day after it
    with pytest.raises(InvalidRequest, match="'9999-12-31'; allowed: year-month-day"):
        read_filters(fields, "ann", Catalog(tmp_path))


def test_modes_and_tasks_leave_only_the_votes_on_their_answers(box, tab):
    first = box.comparison(["a", "b"], question="two ways")
    second = box.comparison(["a", "b", "c"], question="three ways")
    for comparison, ranks in ((first, (1, 2)), (second, (1, 2, 3))):
        box.votes.rank("ann", Ranking(comparison_id=comparison, verdict="ranked", ranks=ranks))
    for place, value in ((3, ["tuned"]), (5, "sentiment")):
        fields = unfiltered()
        fields[place] = value
        found = box.votes.votes(read_filters(fields, "ann", tab.catalog))
        assert [one.question for one in found] == ["three ways"]
    fields[5] = "poetry"
    with pytest.raises(DataError, match="poetry"):
        read_filters(fields, "ann", tab.catalog)


# The tab ------------------------------------------------------------------------------------------


async def test_each_part_shows_what_the_store_has(tab, box):
    kept = {"owner": "ann"}
    empty = await tab._shown("board", kept, "contestant", *unfiltered())
    assert not empty[tab.standings.panel].visible
    comparison = box.comparison(["a", "b"], question="two ways")
    box.votes.rank("ann", Ranking(comparison_id=comparison, verdict="ranked", ranks=(1, 2)))
    box.votes.rank("ann", Ranking(comparison_id=comparison, verdict="ranked", ranks=(2, 1)))
    assert "two ways" in (await tab._shown("votes", kept, "contestant", *unfiltered()))[tab.list.table]
    board = await tab._shown("board", kept, "mode", *unfiltered())
    assert board[tab.standings.fought].visible and "RAG" in board[tab.standings.table]
    own = await tab._shown("own", kept, "mode", *unfiltered())
    assert "once" in own[tab.own.count] and "changed your mind once" in own[tab.own.count]


async def test_only_ones_own_vote_is_changed_or_deleted(tab, box, monkeypatch):
    told = []
    monkeypatch.setattr("assistant.ui.vote_list.tell", lambda error, title: told.append(title))
    turn = box.turn("What is heat?", "Cold.")
    vote = box.votes.rate("ann", Rating(turn_id=turn, thumb=True))
    for act in (tab.list._retag({"owner": "bob"}, vote.id, ["x"], 0), tab.list._delete({"owner": "bob"}, vote.id, 0)):
        await act
    assert told == ["The tags were not saved", "The vote was not deleted"]
    assert box.votes.case(vote.id).vote.ballot.tags == ()
    with pytest.raises(InvalidRequest, match="only they"):
        tab.list._check_own("bob", vote.id)
    tab.list._check_own("ann", vote.id)


async def test_a_database_that_is_away_is_told_and_nothing_is_emptied(tab, monkeypatch):
    def away(*arguments: object) -> None:
        raise StoreUnavailable("the database is locked")

    told = []
    monkeypatch.setattr("assistant.ui.preferences.tell", lambda error, title: told.append(f"{title}: {error}"))
    monkeypatch.setattr(tab.votes, "votes", away)
    updates = await tab._shown("votes", {"owner": "ann"}, "mode", *unfiltered())
    assert told == ["The votes cannot be shown: the database is locked"] and set(updates) == {tab.list.first}


async def test_leaderboards_and_files_are_worked_on_by_threads_that_no_chat_needs(tab, box, monkeypatch, tmp_path):
    comparison = box.comparison(["a", "b"])
    box.votes.rank("ann", Ranking(comparison_id=comparison, verdict="ranked", ranks=(1, 2)))
    boards = threads_of(monkeypatch, standings, "leaderboard")
    made, read, admitted = (threads_of(monkeypatch, vote_files, one) for one in ("export_rows", "read_file", "admit"))
    tab.files._read_filters = tab._read  # as the connected page has it
    await tab._shown("board", {"owner": "ann"}, "mode", *unfiltered())
    document, _ = await tab.files._export({"owner": "ann"}, "arena", "jsonl", 0.0, 0.0, "all", *unfiltered())
    file = tmp_path / "votes.jsonl"
    file.write_bytes(base64.b64decode(document["base64"]))
    await tab.files._import(str(file), "arena")
    assert boards == made == read == admitted == ["background"]


async def test_a_file_without_rows_is_not_saved(box):
    with pytest.raises(DataError, match="no vote fits"):
        VoteFiles(box.votes)._made(Filters(), "arena", "csv", 0.0, 0.0, "all")
    comparison = box.comparison(["a", "b"])
    box.votes.rank("ann", Ranking(comparison_id=comparison, verdict="ranked", ranks=(1, 2)))
    count, data = VoteFiles(box.votes)._made(Filters(), "preference", "jsonl", 0.0, 0.0, "all")
    row = json.loads(data)
    assert count == 1 and (row["chosen"][0]["content"], row["rejected"][0]["content"]) == ("a", "b")


def test_ones_own_record_holds_everything_but_the_id(box):
    vote = box.votes.rate("the-secret-id", Rating(turn_id=box.turn("a", "b"), thumb=True))
    record = as_record(vote)
    assert record["thumb"] is True and "the-secret-id" not in json.dumps(record)
