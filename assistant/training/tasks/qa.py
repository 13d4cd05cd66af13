"""Question answering: a few words of a passage."""

from __future__ import annotations

import re

from assistant.messages import PromptTemplate
from assistant.training.tasks.task import Kind, Record, Task, each, texts_missing, words_missing


def check_question(record: Record) -> str | None:
    return words_missing(record, "context", "question") or texts_missing(record, "answers")


def middle_answer(record: Record) -> str:
    """Of the accepted answers the one of middle length, of two the shorter: the shortest is what few annotators mark.

    It is spelt as the context spells it.
    """
    ordered = sorted(set(record["answers"]), key=len)
    return as_in_context(ordered[(len(ordered) - 1) // 2], record)


def as_in_context(answer: str, record: Record) -> str:
    answer = answer.strip().rstrip(".")
    found = re.search(re.escape(answer), record["context"], re.IGNORECASE)
    return found.group() if found else answer


PASSAGE = Kind(
    name="qa",
    fields=("context", "question", "answers"),
    check=check_question,
    forms=(
        lambda r: f"Context: {r['context']}\n\nQuestion: {r['question']}",
        lambda r: f"{r['context']}\n\n{r['question']}",
        lambda r: f"Passage: {r['context']}\n\nUsing the passage, answer this: {r['question']}",
        lambda r: f"Question: {r['question']}\n\nContext: {r['context']}",
    ),
    instructions=(
        lambda r: (
            f"Context: {r['context']}\n\nQuestion: {r['question']} "
            "Answer the question with a few words copied from the context."
        ),
        lambda r: f"{r['context']}\n\n{r['question']} Answer with the shortest span of the text.",
        lambda r: f"Passage: {r['context']}\n\nUsing the words of the passage only, answer this: {r['question']}",
    ),
    answers=each(middle_answer),
    group=lambda r: r["context"],
    plain_share=0.7,
)

QA = Task(
    name="qa",
    description="Answers a question about a passage you paste, in a few words taken from the passage.",
    kinds=(PASSAGE,),
    template=PromptTemplate(system="Answer the question with a few words copied from the context.", single_turn=True),
    card_examples=(
        "Context: The lighthouse was built in 1871 by Ana Rivas.\n\nQuestion: Who built the lighthouse?",
        "Context: Tea reached the port in spring.\n\nQuestion: When did tea reach the port?",
        "Answer from the passage: The glacier lost nine metres in two summers. How much did the glacier lose?",
        "Based on the following text, who won the election? The mayor lost to the baker Ida Holm.",
        "Read this paragraph and answer the question. Copper melts at 1085 degrees. At what temperature does copper melt?",
        "Question: What is the river called? Context: The valley is drained by the Orla, a slow river.",
        "Passage: The museum opens at nine and closes at five.\n\nUsing the passage, answer this: When does it close?",
        "According to this article, how many people live on the island? The island has 312 inhabitants.",
        "Find the answer in the text: The bridge is named after Elsa Brandt, its engineer. Whom is the bridge named after?",
        "Here is a paragraph about bees. Bees dance to show the way to flowers. Why do bees dance?",
        "Extract from the document the name of the founder: The firm was founded by Ravi Menon in Pune.",
        "From the context below, where was the treaty signed? The treaty was signed in a railway car near Lund.",
        "The tower was finished in 1904 and is ninety metres tall.\n\nHow tall is the tower?",
        "Mara Lind founded the bakery in 1921 with a loan from her aunt.\n\nWho lent Mara Lind the money?",
        "The ferry leaves at 7:40 from the north pier and arrives an hour later.\n\nWhere does the ferry leave from?",
        "Snow leopards live above three thousand metres and hunt at dusk.\n\nWhen do snow leopards hunt?",
        "In 1962 the two villages merged and took the name Aldersund. Which year did the villages merge?",
        "The recipe calls for two eggs and a spoon of honey. How many eggs does the recipe call for?",
        "What colour was the flag? The rebels carried a green flag with a white star.",
        "Use only the text to answer. Who designed the garden? The garden, laid out by Ines Faro, opened in May.",
        "Read the excerpt: The strike lasted eleven weeks. How long did the strike last?",
        "Given the passage about the canal, what did it cost? The canal cost four million crowns.",
    ),
    # Off a span of the passage a small model makes up names.
    decoding={"temperature": 0, "max_tokens": 64, "constraint": "span"},
    soft_prompt_text="Read the context and answer the question with the exact words of the context, as short as possible.",
)
