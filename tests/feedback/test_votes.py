"""Votes over real databases."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from assistant.errors import InvalidRequest, NotFound, StoreUnavailable
from assistant.feedback.ballots import pseudonym
from assistant.feedback.comparisons import ComparisonStore
from assistant.feedback.votes import Filters, Ranking, Rating, Vote, VoteStore
from assistant.messages import CompletionRequest, Message
from tests.feedback.ballot_box import DIGEST, part


def ranked(comparison: str, *ranks: int, **fields) -> Ranking:
    return Ranking(comparison_id=comparison, verdict="ranked", ranks=ranks, **fields)


def test_a_ranking_is_kept_whole_with_the_answers_it_is_about(any_box):
    comparison = any_box.comparison(["cold is not", "a form of energy", "warmth"], blind=True, shown=(2, 0, 1))
    ranking = ranked(comparison, 3, 1, 1, comment="the 'b' is best", tags=("physics", "short", "physics"))
    before = datetime.now(UTC)
    vote = any_box.votes.rank("ann", ranking)

    assert VoteStore(any_box.store.database).ranking("ann", comparison) == ranking
    (case,) = any_box.votes.votes()
    assert case.vote == vote and before <= case.vote.created_at <= datetime.now(UTC)
    assert vote.ballot.tags == ("physics", "short") and vote.was_blind
    assert case.prompt == (Message(role="user", content="What is heat?"),)
    assert [(a.position, a.shown, a.mode, a.adapter) for a in case.answers] == [
        (0, 2, "prompt", "base"),
        (1, 0, "rag", "base"),
        (2, 1, "tuned", "mood"),
    ]
    assert [(a.text, a.tokens) for a in case.answers] == [
        ("cold is not", 3),
        ("a form of energy", 4),
        ("warmth", 1),
    ]


def test_a_rating_is_kept_whole_and_taken_back_by_an_empty_one(any_box):
    turn = any_box.turn("Hello?", "Hi.", "mood", owner="ann")
    rating = Rating(
        turn_id=turn, thumb=True, scales={"fluency": 5, "correctness": 1}, tags=("x",), comment="ok", correction="Hey."
    )
    any_box.votes.rate("ann", rating)
    assert any_box.votes.rating("ann", turn) == rating
    (case,) = any_box.votes.votes(Filters(kind="rating"))
    assert (case.answers[0].text, case.answers[0].adapter, case.question) == ("Hi.", "mood", "Hello?")
    any_box.votes.rate("ann", Rating(turn_id=turn))
    assert any_box.votes.votes() == []
    assert [vote.ballot for vote in any_box.votes.history("ann", turn)] == [rating, Rating(turn_id=turn)]


def test_a_change_of_mind_replaces_the_vote_and_keeps_its_history(any_box):
    comparison = any_box.comparison(["a", "b"], blind=True)
    first = any_box.votes.rank("ann", ranked(comparison, 1, 2))
    any_box.reveal(comparison)
    second = any_box.votes.rank("ann", ranked(comparison, 2, 1))
    assert (first.was_blind, second.was_blind) == (True, False)
    assert any_box.votes.ranking("ann", comparison).ranks == (2, 1)
    assert [case.vote.id for case in any_box.votes.votes()] == [second.id]
    old, new = any_box.votes.history("ann", comparison)
    assert (old.id, old.superseded_at) == (first.id, second.created_at) and new.superseded_at is None


def test_several_voters_may_judge_the_same_answers(any_box):
    comparison = any_box.comparison(["a", "b"])
    any_box.votes.rank("ann", ranked(comparison, 1, 2))
    any_box.votes.rank("bob", ranked(comparison, 2, 1))
    assert any_box.votes.ranking("ann", comparison).ranks == (1, 2)
    assert len(any_box.votes.votes()) == 2 and any_box.votes.ranking("eve", comparison) is None


def test_a_request_sent_again_is_not_a_second_vote(any_box):
    comparison = any_box.comparison(["a", "b"])
    first = any_box.votes.rank("ann", ranked(comparison, 1, 2), key="one")
    changed = any_box.votes.rank("ann", ranked(comparison, 2, 1), key="two")
    assert any_box.votes.rank("ann", ranked(comparison, 1, 2), key="one").id == first.id
    assert any_box.votes.ranking("ann", comparison).ranks == (2, 1)
    assert [vote.id for vote in any_box.votes.history("ann", comparison)] == [first.id, changed.id]
    with pytest.raises(InvalidRequest, match="'one' was used for another vote"):
        any_box.votes.rank("ann", ranked(comparison, 1, 1), key="one")
    assert any_box.votes.rank("bob", ranked(comparison, 1, 1), key="one").voter == "bob"


def test_votes_cast_at_once_leave_one_that_counts_and_all_as_history(any_box):
    comparison, turn = any_box.comparison(["a", "b"]), any_box.turn("x", "y")
    start = threading.Barrier(6)

    def vote(index: int) -> None:
        start.wait()
        for number in range(4):
            any_box.votes.rank("ann", ranked(comparison, 1, 2), key=f"{index}-{number}")
            any_box.votes.rate("ann", Rating(turn_id=turn, thumb=True), key=f"same-{number}")

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(vote, range(6)))
    assert len(any_box.votes.votes()) == 2
    assert len(any_box.votes.history("ann", comparison)) == 24
    assert len(any_box.votes.history("ann", turn)) == 4


def test_a_key_that_is_used_for_two_things_at_once_is_refused_for_the_second(any_box, monkeypatch):
    subjects = [any_box.comparison(["a", "b"]), any_box.comparison(["a", "b"])]
    both = threading.Barrier(2)

    def vote_once_both_have_looked(*fields) -> Vote:
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(1)
        return Vote(*fields)

    def vote(comparison: str) -> Vote | InvalidRequest:
        try:
            return any_box.votes.rank("ann", ranked(comparison, 1, 2), key="one")
        except InvalidRequest as error:
            return error

    monkeypatch.setattr("assistant.feedback.votes.Vote", vote_once_both_have_looked)
    with ThreadPoolExecutor(2) as pool:
        cast, refused = sorted(pool.map(vote, subjects), key=lambda one: isinstance(one, InvalidRequest))
    assert "'one' was used for another vote" in str(refused) and any_box.votes.export_own("ann") == [cast]


@pytest.mark.parametrize(
    ("answers", "ranks", "says"),
    [
        (["a", None], (1, 2), "still being written"),
        (["a", ""], (1, 0), "fewer than two"),
        (["a", "b"], (1, 2, 3), "3 ranks for 2 columns"),
        (["a", "b"], (1, 3), "rank 3 of column 1; allowed: 1 to 2"),
        (["a", "b"], (0, 1), "rank 0 of column 0"),
        (["a", "b", ""], (1, 2, 3), "column 2 has no finished answer; its rank must be 0, not 3"),
    ],
)
def test_what_cannot_be_ranked_is_refused_with_the_reason(box, answers, ranks, says):
    comparison = box.comparison(answers)
    with pytest.raises(InvalidRequest, match=says):
        box.votes.rank("ann", ranked(comparison, *ranks))
    assert box.votes.votes() == []


def test_a_failed_answer_stays_out_of_the_ranking_of_the_others(box):
    comparison = box.comparison(["a", "", "b"])
    box.votes.rank("ann", ranked(comparison, 2, 0, 1))
    (case,) = box.votes.votes()
    assert [answer.is_finished for answer in case.answers] == [True, False, True]


def test_an_answer_whose_end_was_not_kept_does_not_keep_the_others_from_being_ranked(any_box):
    comparison = any_box.comparison(["a", None, "b"])
    with pytest.raises(InvalidRequest, match="still being written"):
        any_box.votes.rank("ann", ranked(comparison, 2, 0, 1))
    ComparisonStore(any_box.store.database).finish(comparison)
    any_box.votes.rank("ann", ranked(comparison, 2, 0, 1))
    (case,) = any_box.votes.votes()
    assert [answer.is_finished for answer in case.answers] == [True, False, True]


def test_a_blind_voter_ranks_places_and_the_positions_are_kept(box):
    comparison = box.comparison(["a", "b", "c"], blind=True, shown=(2, 0, 1))
    # From the left stand b, c, a.
    vote = box.votes.rank("ann", ranked(comparison, 1, 2, 3), by_place=True)
    assert vote.ballot.ranks == (3, 1, 2)
    assert box.votes.rank("ann", ranked(comparison, 1, 2, 3), key="k", by_place=True).ballot.ranks == (3, 1, 2)
    assert box.votes.rank("ann", ranked(comparison, 1, 2, 3), key="k", by_place=True).ballot.ranks == (3, 1, 2)


@pytest.mark.parametrize("verdict", ["all_bad", "skipped"])
def test_verdicts_without_an_order_have_no_ranks(box, verdict):
    comparison = box.comparison(["a", "b"])
    assert box.votes.rank("ann", Ranking(comparison_id=comparison, verdict=verdict)).ballot.ranks == ()
    with pytest.raises(InvalidRequest, match="has no ranks"):
        box.votes.rank("ann", Ranking(comparison_id=comparison, verdict=verdict, ranks=(1, 2)))


def test_only_finished_answers_of_ones_own_can_be_rated(box):
    running, failed = box.turn("x", None, owner="ann"), box.turn("x", "", owner="ann")
    for turn, state in ((running, "running"), (failed, "failed")):
        with pytest.raises(InvalidRequest, match=f"is {state}; only finished"):
            box.votes.rate("ann", Rating(turn_id=turn, thumb=True))
    mine = box.turn("x", "y", owner="ann")
    for voter, turn in (("bob", mine), ("ann", "nowhere")):
        with pytest.raises(NotFound, match=turn):
            box.votes.rate(voter, Rating(turn_id=turn, thumb=True))
    with pytest.raises(NotFound, match="nowhere"):
        box.votes.rank("ann", ranked("nowhere", 1, 2))


def test_an_answer_of_a_blind_comparison_is_rated_blind(box):
    comparison = box.comparison(["a", "b"], blind=True)
    box.votes.rank("ann", ranked(comparison, 1, 2))
    turn = box.votes.votes()[0].answers[0].turn_id
    assert box.votes.rate("ann", Rating(turn_id=turn, thumb=True)).was_blind
    box.reveal(comparison)
    assert not box.votes.rate("ann", Rating(turn_id=turn, thumb=False)).was_blind


@pytest.mark.parametrize(
    "fields",
    [
        {"scales": {"fluency": 6}},
        {"scales": {"style": 3}},
        {"correction": "  "},
        {"tags": ("",)},
        {"comment": "x" * 10_001},
    ],
)
def test_a_malformed_rating_is_no_rating(fields):
    with pytest.raises(ValidationError):
        Rating(turn_id="t", **fields)


def test_voters_and_keys_without_a_name_are_refused(box):
    turn = box.turn("x", "y")
    for owner, key in (("", None), ("a" * 256, None), ("ann", ""), ("ann", "k" * 65)):
        with pytest.raises(InvalidRequest, match="characters; allowed: 1 to"):
            box.votes.rate(owner, Rating(turn_id=turn, thumb=True), key)


def test_votes_are_found_by_what_is_asked_of_them(any_box):
    box = any_box
    first = box.votes.rank("ann", ranked(box.comparison(["a", "b"], blind=True), 1, 2, tags=("odd", "x")))
    second = box.votes.rank("bob", ranked(box.comparison(["Zürich", "b", "c"], "Where?"), 1, 2, 3, comment="hm"))
    third = box.votes.rate("ann", Rating(turn_id=box.turn("x", "y", "sums"), correction="seven"))

    def found(**fields) -> list[str]:
        return [case.vote.id for case in box.votes.votes(Filters(**fields))]

    assert found() == [third.id, second.id, first.id]
    assert found(kind="ranking") == [second.id, first.id] and found(kind="rating") == [third.id]
    assert found(voter="bob") == [second.id] and found(tags={"odd"}) == [first.id]
    assert found(adapters={"mood", "other"}) == [second.id] and found(adapters={"sums"}) == [third.id]
    assert found(text="zÜRICH") == found(text="hm") == found(text="where") == [second.id]
    assert found(text="SEVEN") == [third.id] and found(blind=True) == [first.id]
    assert found(since=second.created_at) == [third.id, second.id]
    assert found(until=second.created_at) == [first.id]
    assert found(since=datetime.now(UTC) + timedelta(days=1)) == []


def test_no_filter_for_names_finds_what_has_not_told_them(box):
    comparison = box.comparison(["a", "b", "c"], blind=True)
    box.votes.rank("ann", Ranking(comparison_id=comparison, verdict="skipped"))
    by_name = (Filters(adapters={"mood"}), Filters(modes={"rag"}))
    assert len(box.votes.votes()) == 1 and not any(map(box.votes.votes, by_name))
    box.reveal(comparison)
    assert all(map(box.votes.votes, by_name))


def test_the_system_message_is_part_of_the_prompt_and_raw_text_is_no_conversation(box):
    box.votes.rank("ann", ranked(box.comparison(["a", "b"], system="Be brief."), 1, 2))
    (case,) = box.votes.votes()
    assert [message.role for message in case.prompt] == ["system", "user"]
    raw = box.store.begin_turn(CompletionRequest(prompt="once upon"), DIGEST)
    box.store.finish_turn(raw, [part("a time", "base")])
    box.votes.rate("ann", Rating(turn_id=raw, thumb=True))
    assert not box.votes.votes(Filters(kind="rating"))[0].is_chat


def test_tags_can_be_edited_and_a_vote_deleted_with_its_history(any_box):
    box = any_box
    comparison, turn = box.comparison(["a", "b"]), box.turn("x", "y")
    box.votes.rank("ann", ranked(comparison, 1, 2))
    vote = box.votes.rank("ann", ranked(comparison, 2, 1, tags=("old",)))
    kept = box.votes.rate("ann", Rating(turn_id=turn, thumb=True))
    assert box.votes.retag(vote.id, ["new", "new", "er"]).ballot.tags == ("new", "er")
    assert box.votes.ranking("ann", comparison) == ranked(comparison, 2, 1, tags=("new", "er"))
    assert len(box.votes.history("ann", comparison)) == 2
    box.votes.delete(vote.id)
    assert box.votes.export_own("ann") == [kept]
    for gone in (lambda: box.votes.delete(vote.id), lambda: box.votes.retag(vote.id, [])):
        with pytest.raises(NotFound, match=vote.id):
            gone()
    with pytest.raises(InvalidRequest, match="tag"):
        box.votes.retag(kept.id, [" "])


def test_a_voter_takes_out_and_deletes_what_is_theirs(any_box):
    box = any_box
    comparison = box.comparison(["a", "b"])
    mine = [box.votes.rank("ann", ranked(comparison, 1, 2)), box.votes.rank("ann", ranked(comparison, 1, 1))]
    box.votes.rank("bob", ranked(comparison, 2, 1))
    assert [vote.id for vote in box.votes.export_own("ann")] == [vote.id for vote in mine]
    assert box.votes.delete_own("ann") == 2 and box.votes.export_own("ann") == []
    assert len(box.votes.votes()) == 1


def test_a_voter_leaves_the_server_under_another_name(box):
    vote = box.votes.rate("ann", Rating(turn_id=box.turn("x", "y"), thumb=True))
    assert vote.pseudonym == pseudonym("ann") != pseudonym("bob") and "ann" not in vote.pseudonym


def test_the_conversation_shows_its_owners_thumb(any_box):
    turn_id = any_box.turn("x", "y", owner="ann")
    conversation = any_box.store.turn(turn_id).conversation_id
    for thumb in (True, False, None):
        any_box.votes.rate("ann", Rating(turn_id=turn_id, thumb=thumb))
        assert any_box.store.conversation(conversation, "ann").turns[0].liked is thumb


def test_a_locked_database_says_so_and_keeps_nothing(box):
    turn = box.turn("x", "y")
    with box.store.database.writing(), pytest.raises(StoreUnavailable, match="nothing was saved: database is locked"):
        box.votes.rate("ann", Rating(turn_id=turn, thumb=True))
    assert box.votes.votes() == []


def test_a_full_disk_says_so_and_keeps_nothing(box):
    turn = box.turn("x", "y")
    with box.store.database.reading() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
    with pytest.raises(StoreUnavailable, match="nothing was saved: database or disk is full"):
        box.votes.rate("ann", Rating(turn_id=turn, correction="x" * 100_000))
    assert box.votes.votes() == []
