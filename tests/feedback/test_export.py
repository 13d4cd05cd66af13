"""Out and in again: every format in every kind of file, and what TRL makes of it."""

from __future__ import annotations

import csv
import io
import json
import warnings
from datetime import UTC, datetime
from pathlib import Path

import pytest
from datasets import load_dataset
from datasets.utils.logging import disable_progress_bar
from sqlalchemy import update

from assistant.database.tables.votes import votes
from assistant.errors import DataError
from assistant.feedback.ballots import pseudonym
from assistant.feedback.export import export_rows, main
from assistant.feedback.formats import FILE_TYPES, FORMATS, SCHEMAS, read, write
from assistant.feedback.importing import read_file
from assistant.feedback.votes import Filters, Ranking, Rating
from tests.fakes import write_adapter
from tests.feedback.cases import case, rating_case
from tests.feedback.trl_trainers import trainer
from tests.tiny import write_base

FORMULA = '=HYPERLINK("http://evil","click")'
CASES = [
    case(['a,b\n"c"', FORMULA, "'-quoted", ""], ranks=(2, 1, 3, 0), shown=(3, 2, 1, 0)),
    case(["Grüße 😀\r\nzwei", "@b"], verdict="all_bad", voter="bob", question="+1?", day=2),
    case(["a", "b"], ranks=(1, 1), question="- tie", day=3),
    case(["a;=1", "b\n@c"], verdict="skipped", question="skip;=1", day=4),
    rating_case("4", thumb=True, scales={"fluency": 5}, tags=("x", "=y"), comment="\tok", day=5),
    rating_case("6", thumb=False, correction="'=5", voter="bob", day=6),
]


@pytest.fixture(autouse=True)
def quiet():
    disable_progress_bar()


def by_hand(rows: list[dict], *names: str) -> list[tuple]:
    return [tuple(row[name] for name in names) for row in rows]


@pytest.mark.parametrize("file_type", FILE_TYPES)
@pytest.mark.parametrize("format", FORMATS)
def test_what_was_written_is_read_again_unchanged(format, file_type, tmp_path):
    rows = export_rows(CASES, format)
    assert len(rows) > 1 and list(rows[0]) == SCHEMAS[format].names
    path = tmp_path / f"votes.{file_type}"
    with path.open("wb") as target:
        write(rows, format, file_type, target)
    assert read_file(path, format) == rows


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("file_type", ["jsonl", "parquet"])
def test_datasets_loads_the_very_rows(format, file_type, tmp_path):
    rows = export_rows(CASES, format)
    path = tmp_path / f"votes.{file_type}"
    with path.open("wb") as target:
        write(rows, format, file_type, target)
    loader = {"jsonl": "json", "parquet": "parquet"}[file_type]
    loaded = load_dataset(loader, data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded.to_list() == rows


def test_preference_rows_are_trls_conversational_format():
    rows = export_rows(CASES, "preference")
    correction = rows[0]
    assert correction["prompt"] == [
        {"role": "system", "content": "Be exact."},
        {"role": "user", "content": "2 + 3?"},
    ]
    assert correction["chosen"] == [{"role": "assistant", "content": "'=5"}]
    assert correction["rejected"] == [{"role": "assistant", "content": "6"}]
    assert by_hand(rows, "source", "votes", "chosen_adapter", "rejected_adapter") == [
        ("correction", 1, "", "mood"),
        ("ranking", 1, "base", "mood"),
        ("ranking", 1, "base", "base"),
        ("ranking", 1, "base", "mood"),
    ]


def test_unpaired_rows_are_trls_conversational_format():
    rows = export_rows(CASES, "unpaired")
    assert [(row["completion"][0]["content"], row["label"]) for row in rows] == [("6", False), ("4", True)]


def test_arena_records_name_the_left_one_a():
    rows = export_rows(CASES, "arena")
    assert by_hand(rows, "model_a", "model_b", "winner") == [
        # From the left stand columns 2, 1 and 0; the failed column 3 is left out.
        ("tuned:mood", "rag:base", "model_b"),
        ("tuned:mood", "prompt:base", "model_b"),
        ("rag:base", "prompt:base", "model_a"),
        ("prompt:base", "rag:base", "tie (bothbad)"),
        ("prompt:base", "rag:base", "tie"),
    ]
    first = rows[0]
    assert first["conversation_a"][-1] == {"role": "assistant", "content": "'-quoted"}
    assert first["conversation_b"] == [
        {"role": "user", "content": "What?"},
        {"role": "assistant", "content": FORMULA},
    ]
    assert (first["turn"], first["language"], first["tstamp"]) == (1, "unknown", 1767225600.0)
    assert len({row["question_id"] for row in rows}) == len(rows)


def test_arena_records_tell_the_language_of_the_question():
    questions = {"Where do the ferries leave for the islands?": "English", "Wo fahren die Fähren ab?": "German"}
    rows = export_rows([case(["a", "b"], (1, 2), question=question) for question in questions], "arena")
    assert {row["conversation_a"][0]["content"]: row["language"] for row in rows} == questions


def test_no_voters_id_leaves_the_server():
    for format in FORMATS:
        text = json.dumps(export_rows(CASES, format))
        assert '"ann"' not in text and '"bob"' not in text
    assert {row["voter"] for row in export_rows(CASES, "ranked")} == {pseudonym("ann"), pseudonym("bob")}


@pytest.mark.parametrize("format", FORMATS)
def test_no_cell_of_a_csv_file_can_be_taken_for_a_formula(format):
    target = io.BytesIO()
    write(export_rows(CASES, format), format, "csv", target)
    for separator in ",;":
        table = csv.reader(io.StringIO(target.getvalue().decode(), newline=""), delimiter=separator)
        cells = [cell for row in table for cell in row]
        assert cells and not [cell for cell in cells if cell.startswith(tuple("=+-@\t\r\n"))]


def test_a_split_shares_no_prompt_and_loses_no_row():
    cases = [
        case(["a", "b"], ranks=(1, 2), question=f"question {number % 40}", voter=str(number)) for number in range(80)
    ]
    train, test = (export_rows(cases, "ranked", side=side, test_share=0.3) for side in ("train", "test"))
    prompts = [{row["prompt"][0]["content"] for row in rows} for rows in (train, test)]
    assert not prompts[0] & prompts[1] and all(prompts) and len(train) + len(test) == 80


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"{}\n", "line 1: 'prompt' is missing"),
        (b"[1]\n", "line 1: list; allowed: an object"),
        (b"no json\n", "line 1: no JSON"),
    ],
)
def test_a_wrong_line_is_named(text, says):
    with pytest.raises(DataError, match=says):
        read(io.BytesIO(text), "preference", "jsonl", "votes.jsonl")


def test_wrong_values_columns_and_files_are_named(tmp_path):
    (row, *_) = export_rows(CASES, "unpaired")
    for change, says in (
        ({"label": "yes"}, "label: .*bool"),
        ({"extra": 1}, "'extra' is unknown"),
        ({"votes": None}, "null"),
    ):
        text = json.dumps({**row, **change}).encode()
        with pytest.raises(DataError, match=f"votes.jsonl, line 1: .*{says}"):
            read(io.BytesIO(text), "unpaired", "jsonl", "votes.jsonl")
    with pytest.raises(DataError, match="1 cells for 6"):
        read(io.BytesIO(",".join(SCHEMAS["unpaired"].names).encode() + b"\nx\n"), "unpaired", "csv", "votes.csv")
    (tmp_path / "votes.parquet").write_bytes(b"none")
    with pytest.raises(DataError, match="no Parquet"):
        read_file(tmp_path / "votes.parquet", "unpaired")
    (tmp_path / "votes.xml").write_text("")
    with pytest.raises(DataError, match=r"'.xml'; allowed: .jsonl"):
        read_file(tmp_path / "votes.xml", "unpaired")
    with pytest.raises(DataError, match="cannot be read"):
        read_file(tmp_path / "nothing.csv", "unpaired")
    with pytest.raises(DataError, match="'rank'; allowed: preference"):
        read_file(tmp_path / "votes.csv", "rank")


# The command ----------------------------------------------------------------------------------------


@pytest.fixture
def filled(box, tmp_path, monkeypatch):
    """Twenty rankings and a rating, and the command's environment."""
    for number in range(20):
        comparison = box.comparison([f"a{number}", "b", "c"], f"question {number}", shown=(1, 0, 2))
        box.votes.rank("ann", Ranking(comparison_id=comparison, verdict="ranked", ranks=(1, 2, 3)))
    box.votes.rate("ann", Rating(turn_id=box.turn("x", "y", "sums"), thumb=True))
    write_adapter(tmp_path / "adapters" / "mood", task="sentiment")
    write_adapter(tmp_path / "adapters" / "sums", task="arithmetic")
    monkeypatch.setenv("SWAPBOARD_ADAPTERS_DIR", str(tmp_path / "adapters"))
    monkeypatch.setenv("SWAPBOARD_DATABASE_URL", box.store.database.engine.url.render_as_string())
    return box


def test_the_command_writes_what_was_asked_for(filled, tmp_path, capsys):
    out = tmp_path / "prefs.jsonl"
    main(["--format", "preference", "--out", str(out), "--test-share", "0.3"])
    train, test = (read_file(tmp_path / f"prefs-{part}.jsonl", "preference") for part in ("train", "test"))
    assert len(train) + len(test) == 60 and len(test) > 0
    assert f"prefs-train.jsonl: {len(train)} rows" in capsys.readouterr().out
    main(["--format", "ratings", "--out", str(tmp_path / "r.csv"), "--task", "arithmetic", "--since", "2020-01-01"])
    assert by_hand(read_file(tmp_path / "r.csv", "ratings"), "adapter", "thumb") == [("sums", True)]
    main(["--format", "ranked", "--out", str(tmp_path / "k.parquet"), "--adapter", "mood", "--min-agreement", "1"])
    assert read_file(tmp_path / "k.parquet", "ranked") == export_rows(
        filled.votes.votes(Filters(adapters={"mood"})), "ranked"
    )


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ([], {"ann: two", "bob: two", "eve: two", "ann: three", "ann: alone"}),
        (["--since", "2026-01-03"], {"eve: two", "ann: three", "ann: alone"}),
        (["--until", "2026-01-03"], {"ann: two", "bob: two"}),
        (["--since", "2026-01-02", "--until", "2026-01-03T00:00:01"], {"bob: two", "eve: two"}),
        (["--adapter", "mood"], {"ann: three"}),
        (["--adapter", "sums", "--adapter", "mood"], {"ann: three", "ann: alone"}),
        (["--task", "arithmetic"], {"ann: alone"}),
        (["--min-agreement", "0.6"], {"ann: two", "bob: two", "ann: three", "ann: alone"}),
        (["--min-agreement", "0.7"], {"ann: three", "ann: alone"}),
    ],
)
def test_each_option_of_the_command_leaves_the_votes_that_it_names(
    any_box, options, left, tmp_path, monkeypatch, capsys
):
    """On the first comparison two of three agree. Days count up from 2026-01-01 in the order of the votes."""
    box = any_box
    two, three = box.comparison(["a", "b"], "two"), box.comparison(["a", "b", "c"], "three")
    alone = box.comparison(["a", "b"], "alone", adapters=("base", "sums"))
    said = [("ann", two, (1, 2)), ("bob", two, (1, 2)), ("eve", two, (2, 1)), ("ann", three, (1, 2, 3))]
    for day, (voter, comparison, ranks) in enumerate([*said, ("ann", alone, (1, 1))], 1):
        vote = box.votes.rank(voter, Ranking(comparison_id=comparison, verdict="ranked", ranks=ranks))
        with box.store.database.writing() as connection:
            moment = datetime(2026, 1, day, tzinfo=UTC)
            connection.execute(update(votes).where(votes.c.id == vote.id).values(created_at=moment))
    write_adapter(tmp_path / "adapters" / "mood", task="sentiment")
    write_adapter(tmp_path / "adapters" / "sums", task="arithmetic")
    monkeypatch.setenv("SWAPBOARD_ADAPTERS_DIR", str(tmp_path / "adapters"))
    url = box.store.database.engine.url.render_as_string(hide_password=False)
    out = tmp_path / "out.jsonl"
    main(["--format", "ranked", "--out", str(out), "--database", url, *options])
    names = {pseudonym(name): name for name in ("ann", "bob", "eve")}
    rows = read_file(out, "ranked")
    assert {f"{names[row['voter']]}: {row['prompt'][0]['content']}" for row in rows} == left
    assert f"out.jsonl: {len(left)} rows" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--format", "ranked", "--out", "x.jsonl", "--until", "2020-01-01"], "no vote fits"),
        (["--format", "ranked", "--out", "x.xml"], "'.xml'; allowed"),
        (["--format", "ranked", "--out", "x.csv", "--task", "law"], "tasks there are: arithmetic, sentiment"),
        (["--format", "ranked", "--out", "no/where/x.csv"], "cannot be written"),
        (["--format", "ranked", "--out", "x.csv", "--database", "sqlite:////proc/none/x.db"], "folder|database"),
    ],
)
def test_the_command_says_why_there_is_nothing(filled, options, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=f"nothing was exported: .*{says}"):
        main(options)
    assert not list(tmp_path.glob("*.part"))


# TRL ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return write_base(tmp_path_factory.mktemp("base"))


def exported(tmp_path: Path, format: str):
    cases = [
        one
        for number in range(6)
        for one in (
            case([f"good {number}", "bad", "ugly"], ranks=(1, 2, 3), question=f"question {number}"),
            rating_case(f"answer {number}", thumb=number % 2 == 0),
        )
    ]
    path = tmp_path / "votes.jsonl"
    with path.open("wb") as target:
        write(export_rows(cases, format), format, "jsonl", target)
    return load_dataset("json", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))


@pytest.mark.parametrize("kind", ["reward", "dpo", "kto"])
def test_trl_trains_on_the_export_unchanged(kind, base, tmp_path):
    data = exported(tmp_path, "unpaired" if kind == "kto" else "preference")
    run = trainer(kind, data, base, tmp_path)
    assert len(run.train_dataset) == len(data) == (6 if kind == "kto" else 18)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs, about each other
        result = run.train()
    assert result.global_step == 1 and result.training_loss > 0
