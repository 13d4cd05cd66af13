"""The store over real databases."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from assistant.errors import InvalidRequest, NotFound, StoreUnavailable
from assistant.feedback.store import INTERRUPTED, Store, shorten
from assistant.messages import (
    ChatRequest,
    CompletionRequest,
    Decoding,
    Failed,
    Message,
    Part,
    Route,
    Timing,
    Usage,
)
from tests.databases import KINDS, ready_database

BASE_DIGEST = "0" * 64


def ask(text: str, conversation: str | None = None, **fields: object) -> ChatRequest:
    return ChatRequest(messages=(Message(role="user", content=text),), conversation_id=conversation, **fields)


def answer(text: str, adapter: str = "mood", **fields: object) -> Part:
    values = {
        "route": Route(adapter=adapter, confidence=0.9, reason="says so", text="x"),
        "digest": "d" * 64,
        "decoding": Decoding(seed=7, temperature=0),
        "text": text,
        "finish_reason": "stop",
        "usage": Usage(prompt_tokens=3, completion_tokens=2),
        "timing": Timing(queued=0.1, first_token=0.2, total=0.5),
    }
    return Part(**{**values, **fields})


CANCELLED = Failed(status=499, code="cancelled", message="stopped")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


only_sqlite = pytest.mark.parametrize("kind", ["sqlite"])


@pytest.fixture
def url(kind: str, tmp_path: Path) -> Iterator[str]:
    with ready_database(kind, tmp_path) as url:
        yield url


@pytest.fixture
def store(url) -> Iterator[Store]:
    store = Store(url, busy_timeout=0.2)
    yield store
    store.close()


def test_a_turn_keeps_all_that_was_asked_and_answered(store, url):
    conversation = store.create_conversation("ann")
    request = ask("How are you?", conversation.id, adapter="auto", decoding=Decoding(top_k=5))
    before = datetime.now(UTC)
    turn_id = store.begin_turn(request, BASE_DIGEST)
    store.finish_turn(turn_id, [answer("Fine."), answer("4", "sums")])

    reopened = Store(url)
    (turn,) = reopened.conversation(conversation.id, "ann").turns
    reopened.close()
    assert (turn.id, turn.conversation_id, turn.position, turn.kind) == (turn_id, conversation.id, 0, "chat")
    assert (turn.adapter, turn.user_text, turn.base_digest) == ("auto", "How are you?", BASE_DIGEST)
    assert ChatRequest.model_validate(turn.request) == request
    assert turn.parts == (answer("Fine."), answer("4", "sums")) and turn.text == "Fine.\n\n4"
    assert (turn.state, turn.error_code, turn.liked) == ("finished", None, None)
    assert before <= turn.created_at <= turn.finished_at <= datetime.now(UTC)
    assert turn.created_at.utcoffset() == timedelta(0)


def test_what_was_typed_is_on_disk_before_the_answer_begins(store, url):
    conversation = store.create_conversation("ann")
    turn_id = store.begin_turn(ask("a long thought", conversation.id), BASE_DIGEST)
    other = Store(url)
    turn = other.turn(turn_id)
    other.close()
    assert (turn.user_text, turn.state) == ("a long thought", "running")


@only_sqlite
def test_every_connection_keeps_what_it_acknowledged_through_a_power_cut(store):
    with store.database.writing() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 200}


def test_a_turn_the_crash_interrupted_fails_at_the_next_start_and_keeps_its_text(store, url):
    conversation = store.create_conversation("ann")
    done = store.begin_turn(ask("first", conversation.id), BASE_DIGEST)
    store.finish_turn(done, [answer("ok")])
    store.begin_turn(ask("second", conversation.id), BASE_DIGEST)
    store.close()

    restarted = Store(url)
    restarted.migrate()
    assert restarted.recover() == 1
    first, second = restarted.conversation(conversation.id, "ann").turns
    restarted.close()
    assert first.state == "finished"
    assert (second.state, second.error_code, second.user_text) == ("failed", INTERRUPTED, "second")
    assert second.finished_at is not None


def test_a_cancelled_turn_keeps_its_partial_text_and_a_failed_one_its_reason(store):
    cancelled = store.begin_turn(ask("x"), BASE_DIGEST)
    store.finish_turn(cancelled, [answer("half of", finish_reason="cancelled")], CANCELLED)
    failed = store.begin_turn(ask("y"), BASE_DIGEST)
    store.finish_turn(failed, [], Failed(status=500, code="engine_failed", message="a step failed"))
    assert (store.turn(cancelled).state, store.turn(cancelled).text) == ("cancelled", "half of")
    turn = store.turn(failed)
    assert (turn.state, turn.error_code, turn.error_message) == ("failed", "engine_failed", "a step failed")


def test_the_first_end_of_a_turn_stands(store):
    turn_id = store.begin_turn(ask("x"), BASE_DIGEST)
    store.finish_turn(turn_id, [answer("whole")])
    store.finish_turn(turn_id, [answer("who")], CANCELLED)
    assert (store.turn(turn_id).state, store.turn(turn_id).text) == ("finished", "whole")


def test_a_turn_given_up_at_a_restart_may_still_end(store):
    turn_id = store.begin_turn(ask("x"), BASE_DIGEST)
    store.recover()
    store.finish_turn(turn_id, [answer("late")])
    assert (store.turn(turn_id).state, store.turn(turn_id).error_code) == ("finished", None)


@pytest.mark.parametrize("kind", ["postgresql"])
def test_a_text_that_the_database_cannot_hold_is_refused_as_what_it_is(store):
    with pytest.raises(InvalidRequest, match=r"nothing was saved: .*NUL"):
        store.begin_turn(ask("a\0b"), BASE_DIGEST)
    kept = store.begin_turn(ask("x"), BASE_DIGEST)
    store.finish_turn(kept, [answer("a\0b")])
    assert store.turn(kept).text == "a\0b"


def test_raw_text_is_a_turn_outside_any_conversation(store):
    turn_id = store.begin_turn(CompletionRequest(prompt="once upon", adapter="mood"), BASE_DIGEST)
    turn = store.turn(turn_id)
    assert (turn.conversation_id, turn.position, turn.kind, turn.user_text) == (None, 0, "completion", "once upon")
    store.begin_turn(CompletionRequest(prompt="once upon"), BASE_DIGEST)


@pytest.mark.parametrize("missing", ["nobody", ""])
def test_what_is_not_there_is_not_found(store, missing):
    with pytest.raises(NotFound):
        store.begin_turn(ask("x", missing), BASE_DIGEST)
    with pytest.raises(NotFound):
        store.finish_turn(missing, [])
    with pytest.raises(NotFound):
        store.turn(missing)


def test_another_owner_sees_and_changes_nothing(store):
    conversation = store.create_conversation("ann", "Mine")
    turn_id = store.begin_turn(ask("x", conversation.id), BASE_DIGEST)
    for attempt in (
        lambda: store.conversation(conversation.id, "bob"),
        lambda: store.rename_conversation(conversation.id, "bob", "Ours"),
        lambda: store.delete_conversation(conversation.id, "bob"),
        lambda: store.export_conversation(conversation.id, "bob", "json"),
        lambda: store.remove_turns_from(conversation.id, "bob", 0),
        lambda: store.remove_turn(turn_id, "bob"),
        lambda: store.replace_turns(turn_id, "bob", 0),
    ):
        with pytest.raises(NotFound):
            attempt()
    assert store.conversations("bob") == []
    kept = store.conversation(conversation.id, "ann")
    assert kept.title == "Mine" and kept.turns[0].id == turn_id


def test_the_newest_activity_comes_first(store):
    old, new = store.create_conversation("ann", "old"), store.create_conversation("ann", "new")
    assert [c.id for c in store.conversations("ann")] == [new.id, old.id]
    store.begin_turn(ask("again", old.id), BASE_DIGEST)
    assert [c.id for c in store.conversations("ann")] == [old.id, new.id]


def test_the_first_question_names_an_untitled_conversation_only(store):
    untitled, titled = store.create_conversation("ann"), store.create_conversation("ann", "Physics")
    for text in ("What  is\nheat?", "And cold?"):
        for conversation in (untitled, titled):
            store.begin_turn(ask(text, conversation.id), BASE_DIGEST)
    assert store.conversation(untitled.id, "ann").title == "What is heat?"
    assert store.conversation(titled.id, "ann").title == "Physics"
    store.rename_conversation(untitled.id, "ann", " Heat ")
    assert store.conversation(untitled.id, "ann").title == "Heat"


def test_a_title_made_of_a_question_that_is_taken_back_goes_with_it(store):
    untitled, titled = store.create_conversation("ann"), store.create_conversation("ann", "Physics")

    def titles() -> list[str]:
        return [store.conversation(conversation.id, "ann").title for conversation in (untitled, titled)]

    for conversation in (untitled, titled):
        for text in ("What is heat?", "And cold?", "What is  warmth?"):
            store.begin_turn(ask(text, conversation.id), BASE_DIGEST)
        store.remove_turns_from(conversation.id, "ann", 2)
    assert titles() == ["What is heat?", "Physics"]
    for conversation in (untitled, titled):
        last = store.begin_turn(ask("What is  warmth?", conversation.id), BASE_DIGEST)
        store.replace_turns(last, "ann", 0)
    assert titles() == ["What is warmth?", "Physics"]
    for conversation in (untitled, titled):
        store.remove_turns_from(conversation.id, "ann", 0)
    assert titles() == ["", "Physics"]
    store.begin_turn(ask("What is ice?", untitled.id), BASE_DIGEST)
    assert titles() == ["What is ice?", "Physics"]


def test_a_long_title_is_cut_between_words():
    assert shorten("one two three four", 10) == "one two…"
    assert shorten("x" * 20, 10) == "x" * 9 + "…"


def test_a_deleted_conversation_takes_its_turns_along(store):
    conversation = store.create_conversation("ann")
    turn_id = store.begin_turn(ask("x", conversation.id), BASE_DIGEST)
    store.delete_conversation(conversation.id, "ann")
    with pytest.raises(NotFound):
        store.turn(turn_id)
    with pytest.raises(NotFound):
        store.finish_turn(turn_id, [answer("too late")])


def test_a_retried_turn_is_hidden_but_kept_and_its_place_is_free_again(store):
    conversation = store.create_conversation("ann")
    ids = [store.begin_turn(ask(text, conversation.id), BASE_DIGEST) for text in ("one", "two", "three")]
    assert store.remove_turns_from(conversation.id, "ann", 1) == 2
    again = store.begin_turn(ask("two, better", conversation.id), BASE_DIGEST)
    shown = store.conversation(conversation.id, "ann").turns
    assert [(t.id, t.position) for t in shown] == [(ids[0], 0), (again, 1)]
    assert store.turn(ids[1]).user_text == "two" and store.turn(ids[1]).removed_at is not None
    assert store.remove_turns_from(conversation.id, "ann", 5) == 0


def test_a_turn_takes_the_place_of_others_which_are_hidden_but_kept(store):
    conversation = store.create_conversation("ann")
    ids = [store.begin_turn(ask(text, conversation.id), BASE_DIGEST) for text in ("one", "two", "three", "two!")]
    store.replace_turns(ids[3], "ann", 1)
    shown = store.conversation(conversation.id, "ann").turns
    assert [(t.id, t.position) for t in shown] == [(ids[0], 0), (ids[3], 1)]
    assert all(store.turn(id).removed_at is not None for id in ids[1:3])
    following = store.begin_turn(ask("four", conversation.id), BASE_DIGEST)
    assert store.turn(following).position == 2


def test_one_turn_is_hidden_and_the_others_stay(store):
    conversation = store.create_conversation("ann")
    ids = [store.begin_turn(ask(text, conversation.id), BASE_DIGEST) for text in ("one", "two")]
    store.remove_turn(ids[1], "ann")
    assert [turn.id for turn in store.conversation(conversation.id, "ann").turns] == ids[:1]
    assert store.turn(ids[1]).removed_at is not None


def test_the_next_request_carries_on_what_was_answered(store):
    conversation = store.create_conversation("ann")
    for text, parts, error in (
        ("one", [answer("1")], None),
        ("two", [], Failed(status=500, code="engine_failed", message="no")),
        ("three", [answer("thr")], CANCELLED),
    ):
        store.finish_turn(store.begin_turn(ask(text, conversation.id), BASE_DIGEST), parts, error)
    messages = store.conversation(conversation.id, "ann").messages
    assert [(m.role, m.content) for m in messages] == [
        ("user", "one"),
        ("assistant", "1"),
        ("user", "three"),
        ("assistant", "thr"),
    ]


def test_a_conversation_leaves_as_json_with_everything_and_as_markdown_to_read(store):
    conversation = store.create_conversation("ann", "Grüße")
    turn_id = store.begin_turn(ask("How is 😀?", conversation.id), BASE_DIGEST)
    store.finish_turn(turn_id, [answer("Happy.")])
    failed = Failed(status=500, code="engine_failed", message="a step failed")
    store.finish_turn(store.begin_turn(ask("More", conversation.id), BASE_DIGEST), [], failed)
    exported = json.loads(store.export_conversation(conversation.id, "ann", "json"))
    first, second = exported["turns"]
    assert exported["title"] == "Grüße" and first["user"] == "How is 😀?" and first["assistant"] == "Happy."
    assert first["parts"][0]["decoding"]["seed"] == 7 and first["base_digest"] == BASE_DIGEST
    assert second["error"] == {"code": "engine_failed", "message": "a step failed"}
    text = store.export_conversation(conversation.id, "ann", "markdown")
    assert text.startswith("# Grüße\n") and "## You\n\nHow is 😀?\n\n## mood\n\nHappy.\n" in text
    assert text.endswith("*Failed: a step failed*\n")
    with pytest.raises(InvalidRequest, match="json, markdown"):
        store.export_conversation(conversation.id, "ann", "pdf")


def test_turns_begun_at_once_each_get_a_place_of_their_own(url):
    patient = Store(url)
    conversation = patient.create_conversation("ann")
    start = threading.Barrier(8)

    def begin(index: int) -> None:
        start.wait()
        for _ in range(5):
            turn_id = patient.begin_turn(ask(f"from {index}", conversation.id), BASE_DIGEST)
            patient.finish_turn(turn_id, [answer("ok")])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(begin, range(8)))
    found = patient.conversation(conversation.id, "ann").turns
    patient.close()
    assert [turn.position for turn in found] == list(range(40))
    assert all(turn.state == "finished" for turn in found)


def test_reading_does_not_wait_for_a_writer(store):
    store.create_conversation("ann")
    with store.database.writing():
        assert len(store.conversations("ann")) == 1


@only_sqlite
def test_a_locked_database_says_so_and_saves_nothing(store):
    conversation = store.create_conversation("ann")
    with store.database.writing(), pytest.raises(StoreUnavailable, match="nothing was saved: database is locked"):
        store.begin_turn(ask("x", conversation.id), BASE_DIGEST)
    assert store.conversation(conversation.id, "ann").turns == ()


@only_sqlite
def test_a_full_disk_says_so_and_saves_nothing(store):
    conversation = store.create_conversation("ann")
    with store.database.reading() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()

    # The limit belongs to a connection, and the pool hands this one out again.
    with store.database.reading() as connection:
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
    with pytest.raises(StoreUnavailable, match="full"):
        store.begin_turn(ask("x" * 100_000, conversation.id), BASE_DIGEST)
    assert store.conversation(conversation.id, "ann").turns == ()


def test_a_file_that_is_no_database_is_unavailable(tmp_path):
    junk = tmp_path / "junk.db"
    junk.write_bytes(b"not a database at all" * 100)
    store = Store(f"sqlite:///{junk}")
    with pytest.raises(StoreUnavailable, match="not a database"):
        store.migrate()
    store.close()


def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="folder"):
        Store(f"sqlite:///{tmp_path / 'file' / 'sub' / 'swapboard.db'}")
