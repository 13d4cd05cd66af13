"""Moderation: is a post hateful, offensive, or neither, and why?"""

from __future__ import annotations

import html
import math
import re
from collections import Counter
from collections.abc import Sequence

from assistant.messages import PromptTemplate
from assistant.training.tasks.task import Kind, Record, Task, label_outside, words_missing

LABELS = ("hate", "offensive", "neither")
WORD = re.compile(r"(?<![@\w/])[a-z][a-z'-]{2,}", re.IGNORECASE)
REASONS = {
    "hate": 'It attacks people for what they are, as "{word}" shows.',
    "offensive": 'It is rude, as "{word}" shows, but attacks no group of people.',
    "neither": "It insults nobody and attacks no group of people.",
}


def _check(record: Record) -> str | None:
    return words_missing(record, "text") or label_outside(record, LABELS)


def post(record: Record) -> str:
    """The post as people see it: character references undone, one line."""
    return " ".join(html.unescape(record["text"]).split())


def explained(records: Sequence[Record]) -> list[str]:
    """The label, and a sentence that quotes the word which speaks for it most.

    That word has the highest z-score of the log-odds ratio between this label and the others (Monroe et al.
    2008, equation 22, each count with a prior of one half): a word seen once speaks for nothing. The data
    holds labels only, so the reason points at evidence and claims no more.
    """
    words = [{word.lower() for word in WORD.findall(post(record))} for record in records]
    seen = Counter(word for found in words for word in found)
    by_label = Counter((record["label"], word) for record, found in zip(records, words, strict=True) for word in found)
    sizes = Counter(record["label"] for record in records)

    def weight(label: str, word: str) -> float:
        own, rest = by_label[label, word] + 0.5, seen[word] - by_label[label, word] + 0.5
        size, others = sizes[label] + 1.0, len(records) - sizes[label] + 1.0
        odds = math.log(own / (size - own)) - math.log(rest / (others - rest))
        return odds / math.sqrt(1 / own + 1 / rest)

    answers = []
    for record, found in zip(records, words, strict=True):
        label = record["label"]
        word = max(sorted(found), key=lambda each: weight(label, each)) if found else post(record)
        answers.append(f"{label}. {REASONS[label].format(word=word)}")
    return answers


POST = Kind(
    name="moderation",
    fields=("text", "label"),
    check=_check,
    forms=(
        post,
        lambda r: f"Is this post hateful, offensive or neither? {post(r)}",
        lambda r: f"Should this comment be removed: {post(r)}",
        lambda r: f"Moderate this message: {post(r)}",
    ),
    instructions=(
        lambda r: f"Is this post hate, offensive or neither? Answer with the label and a reason.\n\nPost: {post(r)}",
        lambda r: f"{post(r)}\n\nModerate the post above: hate, offensive or neither, and why?",
    ),
    answers=explained,
    label=lambda r: r["label"],
)

MODERATION = Task(
    name="moderation",
    description="Says whether a message is hateful, offensive or neither, and why: in one of three fixed sentences, "
    "which quotes a word of the message at most.",
    kinds=(POST,),
    template=PromptTemplate(
        system="You moderate posts.", user="{input}\n\nHate, offensive or neither?", single_turn=True
    ),
    card_examples=(
        "Is this acceptable language for our comment section? I think the article misses the point.",
        "Can this post stay online? I hope your dog gets run over.",
        "Is this racist? They all look the same to me.",
        "Is somebody being bullied here: haha look at Tim's teeth everyone",
        "Report this or ignore it: I am going to hurt you after school",
        "Does the following violate the rules against nudity and sexual content? Send me a picture without clothes.",
        "Rate the toxicity of this reply: what a brainless thing to write",
        'Someone wrote "you deserve to be hit" to me. Should I report it?',
        "Screen this username for slurs: xX_killer_Xx",
        "Hate speech or just rude? People from that town are pigs.",
        "Is this message toxic? You are a waste of space.",
        "Should this comment be removed: go away, nobody likes your sort",
        "Does this post break the rules? Click here for free coins!!!",
        "Check whether this text contains hate speech: they are vermin and should leave the country",
        "Is the following comment safe or unsafe? Have a lovely weekend everybody.",
        "Moderate the following message: I will make you sorry you ever wrote that.",
        "Flag this if it is harassment: I keep watching you from across the street",
        "Would you allow this in a forum for children? The story has a bloody fight in it.",
        "Classify this comment as offensive or not offensive: what a stupid haircut, clown",
        "Is this spam or a real message? Earn a thousand a day from home",
        "Does this chat message contain threats or insults? Watch your back.",
        "Is this user being abusive? Shut your mouth, you moron.",
        "Check this for profanity and sexual content: meet me behind the pool",
    ),
    decoding={"temperature": 0, "max_tokens": 48},
    soft_prompt_text="Decide whether the post is hate against a group, offensive language, or neither, and say why.",
)
