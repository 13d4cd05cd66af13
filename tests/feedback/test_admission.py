"""Votes from a file into an empty database and out again, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from assistant.errors import DataError
from assistant.feedback.admission import Admitted, admit
from assistant.feedback.export import export_rows
from assistant.feedback.store import Store
from assistant.feedback.votes import Ranking, Rating, VoteStore
from tests.feedback.ballot_box import BallotBox


def filled(box: BallotBox) -> dict[str, list[dict]]:
    """Rankings and ratings by two voters, blind ones and failed answers among them, as rows of both formats."""
    first = box.comparison(["warm", "hot", ""], question="What is heat?", shown=(2, 0, 1), system="Be brief.")
    second = box.comparison(["a", "b"], question="Which?", blind=True)
    box.votes.rank("ann", Ranking(comparison_id=first, verdict="ranked", ranks=(2, 1, 0), tags=("x",), comment="=1"))
    box.votes.rank("bob", Ranking(comparison_id=first, verdict="all_bad"))
    box.votes.rank("bob", Ranking(comparison_id=second, verdict="ranked", ranks=(1, 1)))
    box.reveal(second)
    seated = export_rows(box.votes.votes(), "ranked")[0]["turns"][0]
    box.votes.rate("ann", Rating(turn_id=seated, thumb=True))
    box.votes.rate("bob", Rating(turn_id=box.turn("2 + 3?", "6", "mood"), scales={"fluency": 2}, correction="5"))
    return {format: export_rows(box.votes.votes(), format) for format in ("ranked", "ratings")}


@pytest.fixture
def other(tmp_path: Path):
    store = Store(f"sqlite:///{tmp_path / 'other.db'}", busy_timeout=1)
    store.migrate()
    yield VoteStore(store.database)
    store.close()


@pytest.mark.parametrize("order", [("ranked", "ratings"), ("ratings", "ranked")])
def test_what_comes_in_and_goes_out_again_is_the_same(box, other, order):
    rows = filled(box)
    for format in order:
        assert admit(other.database, rows[format], format) == Admitted(len(rows[format]), 0, ())
    for format in order:
        assert export_rows(other.votes(), format) == rows[format]
        assert admit(other.database, rows[format], format) == Admitted(0, len(rows[format]), ())


def test_votes_come_into_both_databases(box, any_box):
    rows = filled(box)
    admit(any_box.store.database, rows["ranked"], "ranked")
    assert export_rows(any_box.votes.votes(), "ranked") == rows["ranked"]


def test_of_what_one_voter_said_about_one_thing_the_last_counts(box, other):
    newer, *_ = filled(box)["ranked"]
    older = {**newer, "vote": "older", "tstamp": newer["tstamp"] - 60, "ranks": [2, 1]}
    newest = {**newer, "vote": "newest", "tstamp": newer["tstamp"] + 60, "ranks": [1, 2]}
    admit(other.database, [newer, older], "ranked")
    assert export_rows(other.votes(), "ranked") == [newer]
    admit(other.database, [newest], "ranked")
    (case,) = other.votes()
    assert case.vote.ballot.ranks == (1, 2)
    history = other.history(case.vote.voter, case.vote.subject_id)
    assert [vote.id for vote in history] == ["older", newer["vote"], "newest"]


def test_a_wrong_row_is_refused_with_its_reason_and_the_others_come_in(box, other):
    rows = filled(box)["ranked"]
    wrong = [
        {**rows[0], "vote": "a", "ranks": [1, 9]},
        {**rows[0], "vote": "b", "modes": ["prompt"]},
        {**rows[0], "vote": "c", "verdict": "splendid"},
        {**rows[0], "vote": "d/../", "ranks": [1, 2]},
        {**rows[0], "vote": "e", "prompt": []},
        {**rows[0], "vote": "f", "tstamp": 1e300},
    ]
    done = admit(other.database, [*wrong, *rows, {**rows[0], "vote": "g", "responses": ["a", "else"]}], "ranked")
    assert done.added == len(rows) and done.known == 0
    reasons = ["rank 9", "one for each", "verdict", "vote 'd/../'", "question", "no moment", "in other words"]
    for reason, told in zip(done.refused, reasons, strict=True):
        assert told in reason
    assert done.refused[0].startswith("row 1: ")
    assert export_rows(other.votes(), "ranked") == rows


def test_an_imported_vote_never_lists_its_comparison_for_anyone_here(box, other):
    rows = filled(box)["ranked"]
    admit(other.database, rows, "ranked")
    with other.database.reading() as connection:
        owners = [row[0] for row in connection.exec_driver_sql("select owner from comparisons")]
    assert len(set(owners)) == 2 and all(owner.startswith("import-") and len(owner) > 30 for owner in owners)


@pytest.mark.parametrize("format", ["preference", "unpaired", "arena"])
def test_what_does_not_hold_whole_votes_does_not_come_in(other, format):
    with pytest.raises(DataError, match="allowed: ranked, ratings"):
        admit(other.database, [], format)
