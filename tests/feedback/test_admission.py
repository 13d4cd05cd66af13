"""Votes from a file into an empty database and out again, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from assistant.errors import DataError, InvalidRequest, StoreUnavailable
from assistant.feedback import admission
from assistant.feedback.admission import ADMITTED, Admitted, admit
from assistant.feedback.ballots import IMPORTED
from assistant.feedback.export import export_rows, write_file
from assistant.feedback.formats import FILE_TYPES, FORMATS
from assistant.feedback.importing import read_file
from assistant.feedback.leaderboard import leaderboard
from assistant.feedback.store import Store
from assistant.feedback.votes import Ranking, Rating, VoteStore
from assistant.messages import CompletionRequest
from tests.feedback.ballot_box import DIGEST, BallotBox, part

COLUMNS = ("responses", "ranks", "modes", "adapters", "turns", "finished", "shown", "tokens")
"""What a ranked list tells of each of its columns."""


def filled(box: BallotBox) -> dict[str, list[dict]]:
    """Rankings and ratings by two voters, blind ones, failed answers and raw text among them, as rows of all formats."""
    first = box.comparison(["warm", "hot", ""], question="What is heat?", shown=(2, 0, 1), system="Be brief.")
    second = box.comparison(["a", "b"], question="Which?", blind=True)
    box.votes.rank("ann", Ranking(comparison_id=first, verdict="ranked", ranks=(2, 1, 0), tags=("x",), comment="=1"))
    box.votes.rank("bob", Ranking(comparison_id=first, verdict="all_bad"))
    box.votes.rank("bob", Ranking(comparison_id=second, verdict="ranked", ranks=(1, 1)), by_place=True)
    box.reveal(second)
    seated = export_rows(box.votes.votes(), "ranked")[0]["turns"][0]
    box.votes.rate("ann", Rating(turn_id=seated, thumb=True))
    box.votes.rate("bob", Rating(turn_id=box.turn("2 + 3?", "6", "mood"), scales={"fluency": 2}, correction="5"))
    raw = box.store.begin_turn(CompletionRequest(prompt="once upon", adapter="mood"), DIGEST)
    box.store.finish_turn(raw, [part("a time", "mood")])
    box.votes.rate("ann", Rating(turn_id=raw, thumb=True, correction="a dream"))
    return {format: export_rows(box.votes.votes(), format) for format in FORMATS}


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


@pytest.mark.parametrize("order", [("ranked", "ratings"), ("ratings", "ranked")])
@pytest.mark.parametrize("system", [None, "Be brief."])
def test_a_rated_answer_that_was_shown_examples_comes_back_with_its_ranking(box, any_box, order, system):
    comparison = box.comparison([*"abcde"], system=system, examples=[("2 + 2?", "4")])
    box.votes.rank("ann", Ranking(comparison_id=comparison, verdict="ranked", ranks=(2, 2, 2, 2, 1)))
    few_shot = box.votes.votes()[0].answers[4].turn_id
    box.votes.rate("ann", Rating(turn_id=few_shot, thumb=True))
    rows = {format: export_rows(box.votes.votes(), format) for format in FORMATS}
    for format in order:
        assert admit(any_box.store.database, rows[format], format) == Admitted(1, 0, ())
    assert {format: export_rows(any_box.votes.votes(), format) for format in FORMATS} == rows


def test_of_a_rated_column_from_a_file_the_examples_before_its_question_are_left_out(box, other):
    box.votes.rate("ann", Rating(turn_id=box.turn("3 + 3?", "6"), thumb=True))
    (row,) = export_rows(box.votes.votes(), "ratings")
    shown = [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}, *row["prompt"]]
    assert admit(other.database, [{**row, "mode": "few-shot", "prompt": shown}], "ratings").added == 1
    assert export_rows(other.votes(), "ratings") == [{**row, "mode": "few-shot"}]


@pytest.mark.parametrize("file_type", FILE_TYPES)
def test_ranked_lists_and_ratings_bring_every_format_back_through_any_file(box, any_box, file_type, tmp_path):
    """Into another database of either kind: what is made of the votes there is what was made of them here."""
    rows = filled(box)
    for format in ("ranked", "ratings"):
        write_file(tmp_path / f"{format}.{file_type}", format, rows[format])
        admit(any_box.store.database, read_file(tmp_path / f"{format}.{file_type}", format), format)
    assert all(rows[format] == export_rows(any_box.votes.votes(), format) != [] for format in FORMATS)


@pytest.mark.parametrize("file_type", FILE_TYPES)
def test_arena_records_come_in_and_go_out_again_the_same(box, other, file_type, tmp_path):
    records = filled(box)["arena"]
    write_file(tmp_path / f"arena.{file_type}", "arena", records)
    read = read_file(tmp_path / f"arena.{file_type}", "arena")
    assert admit(other.database, read, "arena") == Admitted(3, 0, ())
    assert export_rows(other.votes(), "arena") == records
    assert admit(other.database, list(reversed(read)), "arena") == Admitted(0, 3, ())


def test_a_ranking_of_many_with_ties_and_gaps_comes_back_from_its_battles(box, other):
    comparison = box.comparison(["a", "", "c", "d", "e"], shown=(4, 0, 2, 1, 3))
    box.votes.rank("ann", Ranking(comparison_id=comparison, verdict="ranked", ranks=(3, 0, 1, 3, 2)))
    box.votes.rank("bob", Ranking(comparison_id=comparison, verdict="skipped"))
    records = export_rows(box.votes.votes(), "arena")
    assert len(records) == 6 and admit(other.database, records, "arena") == Admitted(1, 0, ())
    (case,) = other.votes()
    assert case.vote.ballot.ranks == (3, 0, 1, 3, 2)
    assert [answer.text for answer in case.answers] == ["a", "", "c", "d", "e"]
    assert export_rows([case], "arena") == records


def test_battles_that_make_no_ranking_are_refused_with_the_reason(box, other):
    comparison = box.comparison(["a", "b", "c"])
    box.votes.rank("ann", Ranking(comparison_id=comparison, verdict="ranked", ranks=(1, 2, 3)))
    first, second, third = export_rows(box.votes.votes(), "arena")
    vote = first["question_id"][:32]
    swapped = {"model_a": second["model_b"], "model_b": second["model_a"]}
    other_prompt = [{"role": "user", "content": "Else?"}, second["conversation_a"][-1]]
    for battles, says in (
        ([first, third], f"the records of vote '{vote}' do not make one ranking"),
        ([first, {**second, "winner": "model_b"}, third], "do not make one ranking"),
        ([first, {**second, "winner": "tie (bothbad)"}, third], "do not make one ranking"),
        ([first, {**second, **swapped}, third], "do not make one ranking"),
        ([first, {**second, "judge": "else"}, third], "do not make one ranking"),
        ([first, {**second, "conversation_a": other_prompt}, third], "do not make one ranking"),
        ([{**first, "question_id": "58210e39"}], "question_id '58210e39'; allowed: VOTE-A-B"),
        ([{**first, "question_id": "a question"}], "vote 'a question'; allowed: 1 to 32"),
        ([{**first, "conversation_b": []}], "conversation_b is empty"),
        ([{**first, "conversation_a": first["conversation_a"][1:]}], "no question"),
    ):
        (refused,) = admit(other.database, battles, "arena").refused
        assert refused.startswith("row 1: ") and says in refused
    assert other.votes() == []


def test_nobody_here_can_act_for_a_voter_from_a_file(box, other):
    rows = filled(box)["ranked"]
    admit(other.database, rows, "ranked")
    name = IMPORTED + rows[0]["voter"]
    for act in (
        lambda: other.delete_own(name),
        lambda: other.export_own(name),
        lambda: other.rank(name, Ranking(comparison_id=rows[0]["comparison"], verdict="skipped")),
    ):
        with pytest.raises(InvalidRequest, match="'imported-'"):
            act()
    assert len(other.votes()) == len(rows)


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
        {**rows[0], "vote": "h", "tstamp": 253e9},
        {**rows[0], "vote": "i", "tstamp": -60e9},
        {**rows[0], "vote": "j", "tokens": [-1_000_000, 1_000_000]},
    ]
    done = admit(other.database, [*wrong, *rows, {**rows[0], "vote": "g", "responses": ["a", "else"]}], "ranked")
    assert done.added == len(rows) and done.known == 0
    reasons = [
        "rank 9",
        "one for each",
        "verdict",
        "vote 'd/../'",
        "question",
        "no moment",
        "9987",
        "from 1970",
        "tokens [-1000000, 1000000]; allowed: 0 or more",
        "in other words",
    ]
    for reason, told in zip(done.refused, reasons, strict=True):
        assert told in reason
    assert done.refused[0].startswith("row 1: ")
    assert export_rows(other.votes(), "ranked") == rows


@pytest.mark.parametrize("end", [StoreUnavailable("nothing was saved: database is locked"), KeyboardInterrupt()])
def test_an_import_that_ends_midway_is_made_whole_by_bringing_the_file_in_again(box, other, monkeypatch, end):
    rows = filled(box)["ranked"]
    numbers, honest = iter(range(9)), admission._admit

    def ends(*asked):
        if next(numbers) == 2:
            raise end
        honest(*asked)

    monkeypatch.setattr(admission, "AT_ONCE", 2)
    monkeypatch.setattr(admission, "_admit", ends)
    with pytest.raises(type(end)) as told:
        admit(other.database, rows, "ranked")
    assert export_rows(other.votes(), "ranked") == rows[:2] and len(rows) == 3
    if isinstance(end, StoreUnavailable):
        assert str(told.value).startswith("2 votes came in, and of the rest nothing was saved: database is locked;")
    assert admit(other.database, rows, "ranked") == Admitted(1, 2, ())
    assert export_rows(other.votes(), "ranked") == rows


def test_others_write_while_a_long_file_comes_in(box, other, monkeypatch):
    rows, written = filled(box)["ranked"], []

    def another(_seconds: float) -> None:
        with other.database.writing() as connection:
            written.append(connection.exec_driver_sql("select count(*) from votes").scalar_one())

    monkeypatch.setattr(admission, "AT_ONCE", 1)
    monkeypatch.setattr(admission.time, "sleep", another)
    assert admit(other.database, rows, "ranked").added == 3 and written == [1, 2, 3]


def test_a_ranking_that_seats_an_answer_of_another_one_is_refused_and_deletes_no_vote(box, other):
    first = next(row for row in filled(box)["ranked"] if len(row["turns"]) == 2)
    second = {**first, "vote": "second", "comparison": "another", "turns": [first["turns"][0], "third"]}
    admit(other.database, [first], "ranked")
    (refused,) = admit(other.database, [second], "ranked").refused
    assert refused == "row 1: an answer is in another comparison here"
    assert export_rows(other.votes(), "ranked") == [first]


def swapped(row: dict) -> dict:
    return {**row, "turns": row["turns"][::-1], "responses": row["responses"][::-1]}


def shorter(row: dict) -> dict:
    return {name: value[:2] if name in COLUMNS else value for name, value in row.items()}


def longer(row: dict) -> dict:
    more = zip(COLUMNS, ("d", 1, "tuned", "mood", "fourth", True, 3, 0), strict=True)
    return {**row, **{name: [*row[name], value] for name, value in more}}


@pytest.mark.parametrize("change", [swapped, shorter, longer])
def test_a_ranking_of_other_columns_than_its_comparison_has_here_is_refused_alone(box, any_box, change):
    """Its ranks would be those of other answers, or of none, and then nothing could be shown of any vote."""
    comparison = box.comparison(["a", "b", "c"])
    box.votes.rank("ann", Ranking(comparison_id=comparison, verdict="ranked", ranks=(1, 1, 2)))
    (row,) = export_rows(box.votes.votes(), "ranked")
    wrong = {**change(row), "vote": "wrong", "voter": "else"}
    assert admit(any_box.store.database, [row, wrong, {**row, "vote": "bob"}], "ranked") == Admitted(
        2,
        0,
        (f"row 2: turns do not fit comparison '{comparison}' here; allowed: those of its columns, in their order",),
    )
    assert leaderboard(any_box.votes.votes(), samples=20).battles == 3


def test_a_ranking_that_leaves_out_an_answer_which_has_finished_here_is_refused(box, other):
    """Its rank of 0 would be the best of all."""
    comparison = box.comparison(["a", "b", "c"])
    box.votes.rank("ann", Ranking(comparison_id=comparison, verdict="ranked", ranks=(1, 2, 3)))
    (row,) = export_rows(box.votes.votes(), "ranked")
    wrong = {**row, "vote": "wrong", "voter": "else", "finished": [True, True, False], "ranks": [1, 2, 0]}
    (refused,) = admit(other.database, [row, wrong], "ranked").refused
    assert refused == f"row 2: answer '{row['turns'][2]}' is here already, and has finished"


@pytest.mark.parametrize("change", [dict, swapped])
def test_a_ranking_of_a_comparison_that_has_not_told_its_names_here_is_refused(box, change):
    """Otherwise the table, which shows it by place, would tell who stands where; or the refusal would."""
    comparison = box.comparison(["a", "b"], blind=True, shown=(1, 0))
    box.votes.rank("ann", Ranking(comparison_id=comparison, verdict="ranked", ranks=(1, 2)), by_place=True)
    (row,) = export_rows([replace(case, is_hidden=False) for case in box.votes.votes()], "ranked")
    (refused,) = admit(box.store.database, [{**change(row), "vote": "else"}], "ranked").refused
    assert refused == f"row 1: comparison '{comparison}' has not told its names here yet"
    assert len(box.votes.votes()) == 1


@pytest.mark.parametrize(
    ("format", "change"),
    [
        *(("ranked", {name: ["x", None]}) for name in ("responses", "modes", "adapters", "turns")),
        *(("ranked", {name: [0, None]}) for name in ("shown", "tokens", "ranks")),
        ("ranked", {"finished": [True, None]}),
        ("ranked", {"tags": [None]}),
        ("ranked", {"prompt": [None]}),
        ("ratings", {"prompt": [{"role": "user", "content": None}]}),
        ("ratings", {"prompt": [{"role": "user"}]}),
        ("arena", {"conversation_a": [{"role": "user", "content": "Which?"}, None]}),
        ("arena", {"conversation_b": [{"role": "user", "content": "Which?"}, {"role": "assistant"}]}),
    ],
)
def test_a_null_inside_a_list_refuses_its_own_row_only(box, other, tmp_path, format, change):
    rows = filled(box)[format]
    path = tmp_path / "votes.jsonl"
    mine = [{**rows[0], "vote": "mine", **change}] if format != "arena" else [{**rows[-1], **change}]
    rows = rows if format != "arena" else rows[:-1]
    path.write_text("".join(json.dumps(row) + "\n" for row in [*mine, *rows]), encoding="utf-8")
    done = admit(other.database, read_file(path, format), format)
    (refused,) = done.refused
    (name,) = change
    assert refused.startswith(f"row 1: {name}[") and "allowed: no null in a list" in refused
    assert export_rows(other.votes(), format) == rows


def test_a_value_that_an_answer_cannot_have_refuses_its_own_row_only(box, other):
    rows = filled(box)["ranked"]
    wrong = {**rows[0], "vote": "mine", "comparison": "mine", "turns": ["a", "b"], "tokens": ["many"] * 2}
    done = admit(other.database, [wrong, *rows], "ranked")
    assert done.added == len(rows) and "completion_tokens" in done.refused[0]


def test_an_imported_vote_never_lists_its_comparison_for_anyone_here(box, other):
    rows = filled(box)["ranked"]
    admit(other.database, rows, "ranked")
    with other.database.reading() as connection:
        owners = [row[0] for row in connection.exec_driver_sql("select owner from comparisons")]
    assert len(set(owners)) == 2 and all(owner.startswith("import-") and len(owner) > 30 for owner in owners)


@pytest.mark.parametrize("format", ["preference", "unpaired"])
def test_what_does_not_tell_who_voted_does_not_come_in(other, format):
    with pytest.raises(DataError, match=r"tells neither who voted and when.*allowed: ranked, arena, ratings"):
        admit(other.database, [], format)
    assert {*ADMITTED, "preference", "unpaired"} == set(FORMATS)
