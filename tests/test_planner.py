"""What is settled about a request before anything is computed; whole turns are in `test_service`."""

from __future__ import annotations

import pytest

from assistant.planner import brings_material
from assistant.training.tasks.qa import PASSAGE, QA

LIGHTHOUSE = "The lighthouse was built by Ana Rivas."
QUESTION = "Who built the lighthouse?"


@pytest.mark.parametrize("form", [*PASSAGE.forms, *PASSAGE.instructions])
def test_a_message_in_each_form_that_qa_is_trained_in_brings_material(form):
    assert brings_material(form({"context": LIGHTHOUSE, "question": QUESTION}))
    assert brings_material(form({"context": LIGHTHOUSE, "question": "The lighthouse was built by whom"}))


@pytest.mark.parametrize("text", QA.card_examples)
def test_an_example_of_the_qa_card_brings_material(text):
    assert brings_material(text)


@pytest.mark.parametrize(
    "text",
    [
        QUESTION,
        "who built the lighthouse",
        "Tell me who built the lighthouse.",
        "Hello there! Who built the lighthouse?",
        "Who founded St. Louis? And when was that?",
        "In the U.S. Congress, who sits longest?",
        "What is a keeper?\nAnd what is a pilot?",
        "the builder of the lighthouse",
        "Wer hat den Leuchtturm gebaut?",
        "灯塔是谁建造的？",
    ],
)
def test_a_question_alone_brings_no_material(text):
    assert not brings_material(text)
