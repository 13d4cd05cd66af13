"""Sets of questions as people bring them."""

from __future__ import annotations

import pytest

from assistant.comparison.questions import MOST_ROWS, read_questions
from assistant.errors import DataError


def told(rows):
    return [(row.line, row.text, row.references, row.error) for row in rows]


def test_csv_has_questions_and_any_number_of_references():
    data = 'question,reference,reference_2\n"Who, then?",Ann,\n"two\nlines",a,b\n\nlast,,\n'
    assert told(read_questions(data, "set.csv")) == [
        (2, "Who, then?", ("Ann",), None),
        (3, "two\nlines", ("a", "b"), None),
        (6, "last", (), None),
    ]


def test_a_spreadsheets_own_csv_is_read_too():
    data = "\ufeffQuestion;Answer\r\nWie viel?;1,5\r\n".encode()
    assert told(read_questions(data, "set.csv")) == [(2, "Wie viel?", ("1,5",), None)]


def test_json_lines_take_one_reference_or_several():
    data = '{"question": "a"}\n\n{"question": "b", "references": ["x", "y"]}\n{"question": "c\u2028d", "answer": "z"}'
    assert told(read_questions(data, "set.jsonl")) == [
        (1, "a", (), None),
        (3, "b", ("x", "y"), None),
        (4, "c\u2028d", ("z",), None),
    ]


def test_pasted_text_is_known_by_how_it_begins():
    assert [r.text for r in read_questions("Who was Ann?\n\nWhy, though?\n")] == ["Who was Ann?", "Why, though?"]
    assert [r.text for r in read_questions('{"question": "a"}')] == ["a"]
    assert [r.references for r in read_questions("question\tanswer\na\tb\n")] == [("b",)]


@pytest.mark.parametrize(
    ("name", "line", "words"),
    [
        ("s.jsonl", '{"question": ', "no JSON"),
        ("s.jsonl", '{"question": ""}', "must hold some text"),
        ("s.jsonl", '{"question": 3}', "must hold some text"),
        ("s.jsonl", '{"question": "a", "references": [3]}', "a text or a list of texts"),
        ("s.jsonl", '{"question": "a", "context": "b"}', "unknown 'context'"),
        ("s.jsonl", '["a"]', "an object, not list"),
        ("s.jsonl", r'{"question": "a \ud83d b"}', r"'\ud83d' is half of a character"),
        ("s.jsonl", r'{"question": "a", "answer": "\ude00"}', r"'\ude00' is half of a character"),
        ("s.jsonl", r'{"question": "\ud83d", "context": "b"}', "unknown 'context'"),
        ("s.csv", "a,b,c", "3 cells under 2 columns"),
        ("s.csv", " ,b", "must hold some text"),
    ],
)
def test_a_wrong_row_keeps_its_reason_and_the_others_go_on(name, line, words):
    first, good = ("question,answer\n", "fine,yes") if name == "s.csv" else ("", '{"question": "fine"}')
    bad, fine = read_questions(f"{first}{line}\n{good}\n", name)
    assert words in bad.error and bad.line == (2 if first else 1)
    assert fine.error is None and fine.text == "fine"
    assert bad.text.encode().decode() == bad.text, "it is kept, so a database must take it"


@pytest.mark.parametrize(
    ("data", "name", "words"),
    [
        ("", "s.csv", "s.csv holds no questions"),
        ("  \n", "", "the pasted questions holds no questions"),
        ("prompt,answer\na,b\n", "s.csv", "line 1: unknown column 'prompt'"),
        ("answer\nb\n", "s.csv", "line 1: 0 columns 'question'"),
        ('question\n"a\n', "s.csv", "line 2: unexpected end of data"),
        (b"question\n\xff\n", "s.csv", "not UTF-8.*byte 9"),
        ('{"question": 1}\n{', "s.jsonl", "no row can be asked; line 1"),
        ("a\n" * (MOST_ROWS + 1), "", f"line {MOST_ROWS + 1}: more than 5,000"),
    ],
)
def test_what_cannot_be_read_at_all_is_refused_by_file_and_line(data, name, words):
    with pytest.raises(DataError, match=words):
        read_questions(data, name)
