"""Languages told from a question."""

from __future__ import annotations

import pytest

from assistant.feedback.language import UNKNOWN, language_of


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("What is the capital of France, and how many people live there?", "English"),
        ("Wie heißt die Hauptstadt von Frankreich, und wie viele Menschen leben dort?", "German"),
        ("¿Cuál es la capital de Francia y cuánta gente vive allí?", "Spanish"),
        ("法国的首都是哪里？那里有多少人？", "Chinese"),
        ("Какой город является столицей Франции?", "Russian"),
        ("フランスの首都はどこですか？", "Japanese"),
    ],
)
def test_a_question_has_the_language_it_is_asked_in(text, name):
    assert language_of(text) == name


@pytest.mark.parametrize("text", ["", "2 + 3?", "ok", "print(sorted(x))"])
def test_what_may_be_of_any_language_is_of_none(text):
    assert language_of(text) == UNKNOWN
