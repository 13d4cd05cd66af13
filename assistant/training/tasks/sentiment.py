"""Sentiment: is a text positive or negative?"""

from __future__ import annotations

import re

from assistant.messages import PromptTemplate
from assistant.training.tasks.task import Kind, Record, Task, each, label_outside, words_missing

LABELS = ("positive", "negative")


def natural(text: str) -> str:
    """Undo the spacing of tokenised text ("it 's fun , really" → "It's fun, really")."""
    text = re.sub(r"\s+(n't|'\w+|[,.!?;:])", r"\1", text.replace("`` ", '"').replace(" ''", '"'))
    return text[:1].upper() + text[1:]


def _check(record: Record) -> str | None:
    return words_missing(record, "text") or label_outside(record, LABELS)


REVIEW = Kind(
    name="sentiment",
    fields=("text", "label"),
    check=_check,
    forms=(
        lambda r: r["text"],
        lambda r: natural(r["text"]),
        lambda r: f"Is this review positive or negative? {natural(r['text'])}",
        lambda r: f'What is the sentiment of this text: "{natural(r["text"])}"',
        lambda r: f"Classify the sentiment: {natural(r['text'])}",
        lambda r: f"Review: {natural(r['text'])}\nSentiment?",
    ),
    instructions=(
        lambda r: f"Is the sentiment of this text positive or negative? Answer with one word.\n\nText: {r['text']}",
        lambda r: f"{natural(r['text'])}\n\nIs the opinion above positive or negative?",
        lambda r: f"Classify the sentiment of this review as positive or negative: {natural(r['text'])}",
        lambda r: f"Did the writer like it? Answer positive or negative.\n\n{natural(r['text'])}",
    ),
    answers=each(lambda r: r["label"]),
    label=lambda r: r["label"],
)

SENTIMENT = Task(
    name="sentiment",
    description="Says whether a review or opinion is positive or negative.",
    kinds=(REVIEW,),
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
