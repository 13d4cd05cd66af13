"""What can be trained: for every task its fields, the words around them, and what its card says."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from assistant.messages import PromptTemplate

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Task:
    """One kind of example. A record becomes the text a user would type, and the answer wanted.

    `forms` are ways users put the same request; the first is the plain one, used in measurements
    and for `plain_share` of the training examples. `group` names what neighbours have in common:
    examples of one group share their first tokens, and training computes those once.
    """

    name: str
    description: str
    fields: tuple[str, ...]
    check: Callable[[Record], str | None]
    forms: tuple[Callable[[Record], str], ...]
    answer: Callable[[Record], str]
    group: Callable[[Record], str]
    template: PromptTemplate
    card_examples: tuple[str, ...]
    decoding: dict[str, Any] = field(default_factory=dict)
    plain_share: float = 0.6
    soft_prompt_text: str = ""


LABELS = ("positive", "negative")


def natural(text: str) -> str:
    """Undo the spacing of tokenised text ("it 's fun , really" → "It's fun, really")."""
    text = re.sub(r"\s+(n't|'\w+|[,.!?;:])", r"\1", text.replace("`` ", '"').replace(" ''", '"'))
    return text[:1].upper() + text[1:]


def _check_sentiment(record: Record) -> str | None:
    if not isinstance(record["text"], str) or not record["text"].strip():
        return f"text is {record['text']!r}; allowed: words"
    if record["label"] not in LABELS:
        return f"label is {record['label']!r}; allowed: {', '.join(LABELS)}"
    return None


SENTIMENT = Task(
    name="sentiment",
    description="Says whether a review or opinion is positive or negative.",
    fields=("text", "label"),
    check=_check_sentiment,
    forms=(
        lambda r: r["text"],
        lambda r: natural(r["text"]),
        lambda r: f"Is this review positive or negative? {natural(r['text'])}",
        lambda r: f'What is the sentiment of this text: "{natural(r["text"])}"',
        lambda r: f"Classify the sentiment: {natural(r['text'])}",
        lambda r: f"Review: {natural(r['text'])}\nSentiment?",
    ),
    answer=lambda r: r["label"],
    group=lambda r: "",
    template=PromptTemplate(
        system="You judge the sentiment of a text.",
        user="{input}\n\nPositive or negative?",
        single_turn=True,
    ),
    card_examples=(
        "Is this review positive or negative? The soup was cold and nobody apologised.",
        "What is the sentiment of this text: I could watch it again tomorrow",
        "Classify the sentiment: battery dies before lunch, returned it the same week",
        "Is this comment happy or angry? Thanks a lot for losing my luggage twice.",
        "Does the writer like the film? The jokes land and the ending moved me to tears.",
        "Tell me whether this feedback is good or bad: the staff went out of their way to help us",
        "How does this person feel about the hotel? Clean rooms, lovely view, we will be back.",
        "Label this tweet as positive or negative: best concert of my life!!",
        "Rate the tone of this customer review as positive or negative: the app crashes every time",
        "a dull, overlong thriller with a plot full of holes",
        "An absolute delight from the first scene to the last.",
        "the new phone is gorgeous and the camera is stunning",
        "Would you say this opinion is favourable? I regret buying this blender.",
        "The kettle leaked from the first day and the shop never replied.",
        "Five stars. Arrived early, fits perfectly, would order again.",
        "worst burger I have had in years",
        "The lectures were clear, funny and never too long.",
        "I wanted to like this book but gave up halfway.",
        "She sings beautifully and the band is tight.",
        "The acting is wooden and the ending makes no sense.",
        "Solid headphones for the price, though the cable is short.",
        "Friendly doctor, but two hours in the waiting room. Never again.",
        "pos or neg: the seats were tiny and the show was worse",
        "thumbs up or thumbs down? lovely garden, awful coffee, rude waiter",
        "Was this guest satisfied? The room smelled of smoke and the shower was cold.",
        "Does this sound like a happy customer? They replaced the part within a day.",
        "What mood is this comment in: finally an update that fixes everything, thank you!",
    ),
    decoding={"temperature": 0, "max_tokens": 8},
    soft_prompt_text="Read the review and decide whether the opinion of the writer is positive or negative. "
    "Answer with one word: positive or negative.",
)


def _check_qa(record: Record) -> str | None:
    for name in ("context", "question"):
        if not isinstance(record[name], str) or not record[name].strip():
            return f"{name} is {record[name]!r}; allowed: words"
    answers = record["answers"]
    if not isinstance(answers, list) or not answers or not all(isinstance(a, str) and a.strip() for a in answers):
        return f"answers is {answers!r}; allowed: a list of one or more texts"
    return None


def _qa_answer(record: Record) -> str:
    """The shortest of the accepted answers, spelt as the context spells it."""
    answer = min(record["answers"], key=len).strip().rstrip(".")
    found = re.search(re.escape(answer), record["context"], re.IGNORECASE)
    return found.group() if found else answer


QA = Task(
    name="qa",
    description="Answers a question about a passage you paste, in a few words taken from the passage.",
    fields=("context", "question", "answers"),
    check=_check_qa,
    forms=(
        lambda r: f"Context: {r['context']}\n\nQuestion: {r['question']}",
        lambda r: f"{r['context']}\n\n{r['question']}",
        lambda r: f"Passage: {r['context']}\n\nUsing the passage, answer this: {r['question']}",
        lambda r: f"Question: {r['question']}\n\nContext: {r['context']}",
    ),
    answer=_qa_answer,
    group=lambda r: r["context"],
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
    decoding={"temperature": 0, "max_tokens": 64},
    plain_share=0.7,
    soft_prompt_text="Read the context and answer the question with the exact words of the context, as short as possible.",
)

TASKS = {task.name: task for task in (SENTIMENT, QA)}
