"""Asking: a question about a passage, and the words of it that answer. For making questions from passages that have
none."""

from __future__ import annotations

from assistant.messages import PromptTemplate
from assistant.training.tasks.qa import check_question, middle_answer
from assistant.training.tasks.task import Kind, Record, Task, each


def written(record: Record) -> str:
    """The answer on a line of its own, then the question: chosen first, the answer keeps the question to one thing."""
    return f"{middle_answer(record)}\n{record['question'].strip()}"


def read(text: str) -> tuple[str, str] | None:
    """(question, answer) as `written` puts them; None where the text is no such pair."""
    answer, line, question = text.strip().partition("\n")
    if not line or not answer.strip() or not question.strip().endswith("?") or "\n" in question.strip():
        return None
    return question.strip(), answer.strip()


QUESTION = Kind(
    name="asking",
    fields=("context", "question", "answers"),
    check=check_question,
    forms=(
        lambda r: r["context"],
        lambda r: f"Passage: {r['context']}",
    ),
    instructions=(lambda r: f"{r['context']}\n\nGive a few words of this passage, and a question that they answer.",),
    answers=each(written),
    group=lambda r: r["context"],
    plain_share=1.0,
)

ASKING = Task(
    name="asking",
    description="Makes a question about a passage, with the words of the passage that answer it.",
    kinds=(QUESTION,),
    template=PromptTemplate(
        system="Give a few words of the passage, then on a new line a question that they answer.", single_turn=True
    ),
    # It serves a command: in a chat, Auto leaves it alone.
    card_examples=(),
    decoding={"temperature": 1.0, "top_p": 0.9, "max_tokens": 96},
    soft_prompt_text="Give a few words of the passage, then a question about the passage that these words answer.",
)
