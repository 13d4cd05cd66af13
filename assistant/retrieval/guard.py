"""Which sentences of a passage give orders to whoever answers, instead of telling something: they are withheld.

A sentence that shows none of the `SIGNS` in `GATE` tells something. What shows one is judged by a logistic regression
over its vector and its signs, fitted to the sentences in `guard.jsonl`, which were written for it.
"""

from __future__ import annotations

import json
import re
import threading
import unicodedata
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from assistant.messages import Passage, Retrieval
from assistant.prompt import COMMON_FRAMES
from assistant.retrieval.chunking import sentences
from assistant.retrieval.packing import visible

EXAMPLES = Path(__file__).with_name("guard.jsonl")

BESIDE = -1.0
"""Log odds from which a sentence beside an order is one too; alone it takes 0. Orders come in groups."""

VECTOR_WEIGHT, INVERSE_REGULARISATION = 3.0, 2.0
"""How much a vector of length one weighs against one sign, and C of the regression: see docs/answers.md."""

REMEMBERED = 4096
"""Passages whose orders are known without looking again."""

Embed = Callable[[Sequence[str]], NDArray[np.float32]]
Spans = tuple[tuple[int, int], ...]

BREAK = re.compile(r"\n(?![a-z])|(?=<!--)|(?<=-->)|(?=</?(?:p|div|span|li|td|tr|ul|ol|table|section|h[1-6])\b[^<>]*>)")
"""Where a line begins that does not go on with the one before, around comments, and before the tags of paragraphs."""

SAYING = (
    "answer reply respond say write print output repeat tell state begin start end finish close add append include insert "
    "mention recommend advise claim give name cite quote spell count list show reveal translate summari[sz]e speak talk "
    "sing copy describe compute calculate praise warn urge convince inform introduce put attribute format use keep"
)
LEAVING = "ignore disregard forget skip override cancel stop refuse leave bypass drop"
PLAYING = "act pretend imagine role-?play let.?s play"
OPENING = (
    r"(?:^\W*|[.,;:!?\"“(>\]}—–]\s*|\b(?:please|and|then|or|to|must|now|always|never|not|should|will|shall|only|just|ever|"
    r"you|kindly|instead)\s+(?:(?:please|only|always|never|not|now)\s+)?)"
)
PARTIES = r"system|assistant|user|human|ai|bot|chatbot|model|admin"
TONGUES = "german french spanish english italian portuguese dutch russian chinese japanese latin polish"


def _any(words: str) -> str:
    return "|".join(words.split())


SIGNS = {
    "frame": rf'{COMMON_FRAMES}|^\W*(?:{PARTIES})\b[^:.?!\n]{{0,24}}[:\])]|"(?:role|instruction)"|^\s*#+ *(?:system|instruction|response)',
    "order": rf"{OPENING}(?:{_any(SAYING)}|{_any(LEAVING)}|{_any(PLAYING)}|let us|pay no attention)\b",
    "named": r"\b(?:assistants?|a\.?i\.?s?|chat ?bots?|bots?|llms?|(?:language|this|the) models?|agents|gpt|you are (?:now|no longer|a|an|in|my)|from (?:now|here) on|from this point)\b",
    "talk": r"\b(?:questions?|prompts?|instructions?|directions|users?|answers?|replies|reply|responses?|quer(?:y|ies)|asked|asks|tasks?|conversation|passages?|context|documents?|text|rules|guidelines|orders)\b",
    "you": r"\byou(?:r|rself)?\b",
    "bound": r"\b(?:only|nothing|every|all|any|whatever|always|instead|exactly|no matter|new|words?|sentence|phrase|before|unless|true|correct|right|real)\b",
    "given": rf'["“«][^"“”«»\n]{{1,80}}["”»]|(?-i:\b[A-Z]{{3,}}\b)|https?://|\b(?:in|auf) (?:{_any(TONGUES)}|capital letters)\b',
    "foreign": r"\b(?:antwort\w*|schreib\w*|vergiss|ignorier\w*|anweisung\w*|répon\w+|ignore[zr]|oubli\w+|écri[st]\w*|consignes?|respond[ae]\b|escrib\w+|olvid\w+|instrucci\w+|scriv\w+|rispond\w+|istruzion\w+|escreva|instruç\w+|antwoord|negeer|schrijf|ответ\w*|игнор\w*|напиши)\b|指示|指令|回答|答え",
}
"""What orders to whoever answers are made of: the frame of a conversation written into the text; a
sentence that begins with a verb of saying, leaving or playing; the assistant named; talk of the conversation; the
reader addressed; limits; something given to be said; the same verbs in other languages."""

PATTERNS = tuple(re.compile(sign, re.IGNORECASE) for sign in SIGNS.values())

GATE = frozenset({"frame", "order", "named", "talk", "foreign"})

ANSWER = re.compile(r"(?:^|\?)\W*(?:(?:final |correct |right )?answer|a)\s*:", re.IGNORECASE)
QUESTION = re.compile(r"[?:]\W*$|^\W*(?:question|q)\s*\d*\s*[:.]", re.IGNORECASE)


class Searches(Protocol):
    """What is searched with; `assistant.retrieval.retriever` provides it."""

    def search(self, query: str, retrieval: Retrieval) -> tuple[Passage, ...]: ...

    def refresh(self) -> None: ...


class GuardedSearch:
    """A retriever whose passages say which of their sentences are orders."""

    def __init__(self, retriever: Searches, guard: Guard) -> None:
        self._retriever, self._guard = retriever, guard

    def refresh(self) -> None:
        self._retriever.refresh()
        self._guard.fit()

    def search(self, query: str, retrieval: Retrieval) -> tuple[Passage, ...]:
        """As the retriever's own, whose errors it raises."""
        return self._guard.mark(self._retriever.search(query, retrieval))


class Guard:
    """Finds orders. Thread-safe.

    Args:
        embed: texts → vectors of unit norm.
    """

    def __init__(self, embed: Embed) -> None:
        self._embed = embed
        self._lock = threading.RLock()
        self._known: OrderedDict[str, Spans] = OrderedDict()

    def fit(self) -> None:
        """Read and learn the examples, which is done once and takes seconds."""
        with self._lock:
            _ = self._weights

    def mark(self, passages: Sequence[Passage]) -> tuple[Passage, ...]:
        """The passages with the pieces of their texts that are to be withheld."""
        found = self.find([passage.text for passage in passages])
        return tuple(
            passage.model_copy(update={"withheld": spans}) for passage, spans in zip(passages, found, strict=True)
        )

    def find(self, texts: Sequence[str]) -> list[Spans]:
        """For each text where its orders begin and end, in order and apart from each other."""
        with self._lock:
            new = [text for text in dict.fromkeys(texts) if text not in self._known]
            cut = [list(units(text)) for text in new]
            scores = iter(self.scores([text[s:e] for text, spans in zip(new, cut, strict=True) for s, e in spans]))
            found = {text: self._known[text] for text in texts if text in self._known}
            for text, spans in zip(new, cut, strict=True):
                orders = _spread([next(scores) for _ in spans])
                found[text] = _joined(text, [*(span for span, is_order in zip(spans, orders, strict=True) if is_order), *interjected(text)])  # fmt: skip
                self._known[text] = found[text]
                if len(self._known) > REMEMBERED:
                    self._known.popitem(last=False)
        return [found[text] for text in texts]

    def scores(self, texts: Sequence[str]) -> list[float]:
        """Log odds that each sentence is an order; −∞ for one without a sign, whose vector is not computed."""
        plain = [unicodedata.normalize("NFKC", visible(text)) for text in texts]
        judged = [text for text in plain if signs(text) & GATE]
        if not judged:
            return [-np.inf] * len(texts)
        with self._lock:
            weights, bias = self._weights
        odds = dict(zip(judged, self._features(judged) @ weights + bias, strict=True))
        return [float(odds.get(text, -np.inf)) for text in plain]

    @cached_property
    def _weights(self) -> tuple[NDArray[np.float64], float]:
        # Imported here because it takes a second, and a start need not wait for it.
        from sklearn.linear_model import LogisticRegression

        rows = [json.loads(line) for line in EXAMPLES.read_text(encoding="utf-8").splitlines()]
        model = LogisticRegression(C=INVERSE_REGULARISATION, max_iter=1000)
        model.fit(self._features([row["text"] for row in rows]), [row["is_order"] for row in rows])
        return model.coef_[0], float(model.intercept_[0])

    def _features(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """(n, dimensions + signs)"""
        shown = [signs(text) for text in texts]
        table = np.array([[name in some for name in SIGNS] for some in shown], dtype=np.float64)
        return np.hstack([VECTOR_WEIGHT * self._embed(texts), table])


def signs(text: str) -> set[str]:
    return {name for name, pattern in zip(SIGNS, PATTERNS, strict=True) if pattern.search(text)}


def units(text: str) -> Iterator[tuple[int, int]]:
    """Where the sentences of a passage begin and end; what stands in a tag or comment is apart from what is around it."""
    start = 0
    for end in [*(match.start() for match in BREAK.finditer(text)), len(text)]:
        yield from sentences(text, start, end)
        start = end


def interjected(text: str) -> Iterator[tuple[int, int]]:
    """An `Answer:` in the midst of a text that is no list of questions: the line it stands in.

    That is the only such line, neither the first nor after a line that asks. The form is the one models are asked in.
    """
    lines = [match.span() for match in re.finditer(r"[^\n]*\w[^\n]*", text)]
    answers = [number for number, (start, end) in enumerate(lines) if ANSWER.search(text[start:end])]
    if len(answers) == 1 and answers[0] and not QUESTION.search(text[slice(*lines[answers[0] - 1])]):
        yield lines[answers[0]]


def _spread(scores: Sequence[float]) -> list[bool]:
    """Which are orders: those above 0, and from there on both sides as far as the scores are above `BESIDE`."""
    orders = [score > 0 for score in scores]
    for places in (range(1, len(scores)), range(len(scores) - 2, -1, -1)):
        step = -places.step
        for place in places:
            orders[place] = orders[place] or (orders[place + step] and scores[place] > BESIDE)
    return orders


def _joined(text: str, spans: Sequence[tuple[int, int]]) -> Spans:
    """The spans in order, as one where no word is between them."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if joined and not re.search(r"\w", text[joined[-1][1] : start]):
            start, end = joined[-1][0], max(end, joined.pop()[1])
        joined.append((start, end))
    return tuple(joined)
