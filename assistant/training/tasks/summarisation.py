"""Summarisation: a text in one to three sentences."""

from __future__ import annotations

import re

from assistant.messages import PromptTemplate
from assistant.training.tasks.task import Kind, Record, Task, each, texts_missing, words_missing

END_MARKS = re.compile(r"<\|endoftext\|>|</s>")
"""Public collections leave other models' end tokens in their texts."""


def check_document(record: Record) -> str | None:
    return words_missing(record, "document") or texts_missing(record, "summaries")


def clean(text: str) -> str:
    """No end tokens, no line breaks, no space before full stops."""
    return re.sub(r"\s+([.,])", r"\1", " ".join(END_MARKS.sub("", text).split()))


DOCUMENT = Kind(
    name="summarisation",
    fields=("document", "summaries"),
    check=check_document,
    forms=(
        lambda r: f"Summarise this text: {clean_lines(r['document'])}",
        lambda r: f"{clean_lines(r['document'])}\n\nTL;DR",
        lambda r: f"Give me a short summary.\n\n{clean_lines(r['document'])}",
        lambda r: f"What is the main point of this? {clean_lines(r['document'])}",
        lambda r: f"{clean_lines(r['document'])}\n\nSum this up in a sentence or two.",
        lambda r: clean_lines(r["document"]),
    ),
    instructions=(
        lambda r: f"Summarise the following text in one or two sentences.\n\n{clean_lines(r['document'])}",
        lambda r: f"{clean_lines(r['document'])}\n\nWrite a short summary of the text above.",
        lambda r: f"What is the main point of this text? Answer briefly.\n\n{clean_lines(r['document'])}",
    ),
    answers=each(lambda r: clean(r["summaries"][0])),
)


def clean_lines(text: str) -> str:
    """The document as it stands, but for other models' end tokens: the lines of a dialogue matter."""
    return END_MARKS.sub("", text).strip()


SUMMARISATION = Task(
    name="summarisation",
    description="Shortens a text, an article or a conversation to its main points.",
    kinds=(DOCUMENT,),
    template=PromptTemplate(system="Summarise the text in one to three sentences.", single_turn=True),
    card_examples=(
        "I have no time, tell me briefly what this letter says: The pool is closed for two weeks because a pipe has burst, and season tickets are extended.",
        "Short version please: we missed the bus, took a taxi, got stuck behind the same bus and came an hour late.",
        "What happened in this chapter, in short? The captain hides the letter, the mate finds it, and both swear to keep silent.",
        "Write a summary of the minutes below.\n\nItem one: fees stay the same. Item two: the fence is to be painted in June.",
        "Make this text half as long: It is with great pleasure that we announce that our little shop will be celebrating its tenth birthday.",
        "Extract the essence of this speech: We must plant more trees, and we must plant them now, for our children will need the shade.",
        "Summarise the following text: The library will move to a larger building next year because its shelves are full.",
        "Summarize this article in two sentences.\n\nA storm cut the power in three valleys on Sunday night. Crews restored most lines by noon, but two villages wait for a new mast.",
        "TL;DR: we looked at seven flats, liked two, could afford one, and it was gone before we called.",
        "Give me a short summary of this email: Dear parents, the school trip starts at eight, bring rain clothes and a packed lunch.",
        "What are the main points of this report? Visitor numbers rose, costs rose faster, and the board will meet again in May.",
        "Can you sum up this conversation? Eva: lunch at one? Karl: make it half past. Eva: fine, same place.",
        "Shorten this paragraph: Because of the delays that were announced last week, the opening of the new wing has been put off until the autumn.",
        "What is this passage about, in one line? Farmers on the plain have begun to plant hedges again to slow the wind.",
        "Condense these notes into three bullet points: budget approved, hiring paused, new supplier from June.",
        "Write a brief overview of the text below.\n\nThe museum shows four hundred clocks. The oldest still runs, wound by hand each morning.",
        "Give me the gist of this story: a fox trades his tail for a boat and regrets it at sea.",
        "List the key points of this text: Bread keeps longer in linen than in plastic, and it must never lie in the sun.",
        "Recap the discussion below for someone who missed it.\n\nLena wanted blue tiles, Omar wanted none, and in the end they agreed on cork.",
        "What would be a good headline for this report? Two students have crossed the channel in a boat made of bottles.",
        "Put the following into one sentence: The road was closed. Nobody knew why. It opened again at night.",
        "Make a headline out of this news item: A baker in the north has made a loaf as long as the church tower is high.",
    ),
    decoding={"temperature": 0, "max_tokens": 128, "repetition_penalty": 1.05},
    soft_prompt_text="Summarise the text: say its main point in one or two short sentences, in the words of the text.",
)
