"""Comparisons as tables and downloads."""

from __future__ import annotations

import csv
import io
import json

import pytest

from assistant.comparison.request import Contestant
from assistant.comparison.results import FIELDS, averages, table, to_csv, to_json_lines
from assistant.messages import Decoding
from tests.comparison.conftest import asked, collect


async def compared(compare_over, comparisons, *requests):
    kept = []
    for request in requests:
        started, *_ = await collect(compare_over().run(request, "ann"))
        kept.append(comparisons.comparison(started.id, "ann"))
    return kept


async def test_every_answer_is_a_row_with_its_scores_and_figures(compare_over, comparisons):
    contestants = (Contestant(mode="prompt"), Contestant(mode="tuned", adapter="mood"))
    request = asked(contestants=contestants, references=("mood: word1",))
    prompt, tuned = table(await compared(compare_over, comparisons, request))
    assert [prompt[k] for k in ("column", "contestant", "state", "tokens")] == ["A", "prompt", "finished", 5]
    assert [tuned[k] for k in ("column", "contestant", "adapter", "tokens")] == ["B", "tuned mood", "mood", 3]
    # Two of the answer's three words are in the reference of two: F1 = 2 · 2 / (3 + 2).
    assert (tuned["exact_match"], tuned["f1"]) == (0.0, pytest.approx(0.8))
    assert tuned["answer"] == "mood: word1 word2" and tuned["seconds"] >= 0


async def test_contestants_that_differ_in_decoding_only_are_numbered(compare_over, comparisons):
    contestants = (Contestant(mode="prompt"), Contestant(mode="prompt", decoding=Decoding(temperature=1)))
    rows = table(await compared(compare_over, comparisons, asked(contestants=contestants)))
    assert [row["contestant"] for row in rows] == ["prompt (1)", "prompt (2)"]


async def test_a_hidden_row_tells_its_answer_and_its_scores_only(compare_over, comparisons):
    (kept,) = await compared(compare_over, comparisons, asked(blind=True, references=("x",)))
    for row in table([kept]):
        told = {name for name in FIELDS if row[name] is not None}
        assert told == {
            "row", "question", "references", "column", "state", "answer", "exact_match", "f1", "rouge_l"
        }  # fmt: skip
    assert averages(table([kept])) == []
    columns = json.loads(to_json_lines([kept]))["columns"]
    assert all(not {"mode", "adapter", "contestant", "parts", "figures"} & set(column) for column in columns)


async def test_means_are_over_the_answers_there_are(compare_over, comparisons):
    contestants = (Contestant(mode="prompt"), Contestant(mode="tuned", adapter="moood"))
    requests = [
        asked(contestants=contestants, references=("base word1 word2 word3 word4",)),
        asked(contestants=contestants, references=("nothing",)),
    ]
    prompt, typo = averages(table(await compared(compare_over, comparisons, *requests)))
    assert (prompt["contestant"], prompt["answers"], prompt["failed"]) == ("prompt", 2, 0)
    assert prompt["exact_match"] == 0.5 and prompt["tokens"] == 5
    assert (typo["contestant"], typo["answers"], typo["failed"], typo["f1"]) == ("tuned moood", 0, 2, None)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\nx", "＝1+1"])
def test_a_cell_that_a_spreadsheet_would_run_is_disarmed(text):
    row = {**dict.fromkeys(FIELDS), "question": text, "answer": "a, b;=1", "references": ["a", "=1"], "tokens": -1}
    (back,) = csv.DictReader(io.StringIO(to_csv([row]), newline=""))
    assert back["question"] == "'" + text and back["answer"] == "a, b;'=1" and back["tokens"] == "-1"
    assert back["references"] == "a\n'=1" and back["contestant"] == ""


def test_every_cell_of_a_table_is_in_quotes():
    row = {**dict.fromkeys(FIELDS), "question": "a", "tokens": 1}
    header, line = to_csv([row]).splitlines()
    assert all(cell[0] == cell[-1] == '"' for text in (header, line) for cell in text.split(","))


async def test_json_lines_hold_everything_that_is_known(compare_over, comparisons):
    (kept,) = await compared(compare_over, comparisons, asked("Grüße?"))
    (line,) = to_json_lines([kept]).splitlines()
    told = json.loads(line)
    assert told["question"] == "Grüße?" and told["request"]["seed"] is not None and "Grüße" in line
    part = told["columns"][2]["parts"][0]
    assert part["digest"] and part["decoding"]["max_tokens"] == 3 and "timing" in part and "prompt" in part
