"""Which sentences of a passage give orders to whoever answers, instead of telling something: they are withheld.

A sentence that shows none of the `SIGNS` in `GATE` tells something. The others are judged by a support vector machine
over their vectors and signs, fitted to the sentences in `guard.jsonl`, which were written for it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import threading
import unicodedata
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from assistant.messages import Passage, Retrieval
from assistant.prompt import COMMON_FRAMES
from assistant.retrieval.chunking import sentences
from assistant.retrieval.packing import visible

if TYPE_CHECKING:
    from sklearn.svm import SVC

EXAMPLES = Path(__file__).with_name("guard.jsonl")

ALONE, SURE, BESIDE = -0.05, 0.2, -0.3
"""The scores above which a sentence is an order by itself; is surely one; is one in a passage with such a one, because
orders come in groups."""

VECTOR_WEIGHT, PENALTY, GAMMA = 3.0, 4.0, 0.15
"""How much a vector of length one weighs against one sign; C, and the γ of exp(−γ‖x − y‖²): see docs/answers.md."""

REMEMBERED = 4096
"""Passages whose orders are known without looking again."""

Embed = Callable[[Sequence[str]], NDArray[np.float32]]
Spans = tuple[tuple[int, int], ...]

BREAK = re.compile(
    r"\n(?!(?-i:[a-z]))|\n(?=[^\s,;|]{1,40}[,;|][^\s,;|])|(?=<!--)|(?<=-->)|[{,]\s*(?=\{?\s*\"[^\"\n]{1,40}\"\s*:)|"
    rf"(?={COMMON_FRAMES})|(?=</?(?!(?:a|b|i|s|u|em|strong|code|sub|sup|br|img)\b)[a-z][\w-]*\b[^<>]*>)",
    re.IGNORECASE,
)
"""Where a line begins that does not go on with the one before, a row of a table or a field of JSON; around comments;
before the frames of conversations and the tags that are not those of single words."""

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
WAYS = "do place list mark call label rate promote suggest refer replace swap remember greet decode send point make let return read ring"
TOLD = "said told given written stated named called put quoted answered mentioned described printed returned referred made replaced withheld"
TONGUES = "german french spanish english italian portuguese dutch russian chinese japanese latin polish"


def _any(words: str) -> str:
    return "|".join(words.split())


SIGNS = {
    "frame": rf'{COMMON_FRAMES}|^\W*(?:{PARTIES})\b[^:.?!\n]{{0,24}}[:\])]|"(?:role|instruction)"|"[^"\n:]{{0,30}}\b(?:assistant|ai|llm|bot|chatbot|model|agent|system|prompt)s?\b[^"\n:]{{0,30}}"\s*:|^\s*#+ *(?:system|instruction|response)',
    "order": rf"{OPENING}(?:{_any(SAYING)}|{_any(LEAVING)}|{_any(PLAYING)}|let us|pay no attention)\b",
    "way": rf"\b(?:{_any(SAYING)}|{_any(WAYS)}|{_any(LEAVING)})\b|\b(?:saying|telling|giving|writing|stating|naming|putting|answering|replying|reading|mentioning|calling|speaking)\b|\bbe(?:ing)? (?:\w+ )?(?:{_any(TOLD)})\b",
    "named": r"\b(?:assistants?|a\.?i\.?s?|chat ?bots?|bots?|robots?|llms?|(?:language|this|the) models?|agents|gpt|machines?|automat\w+|summari[sz]ers?|(?:virtual|digital) \w+|software|who(?:ever|soever)|those who|anyone who|you are (?:now|no longer|a|an|in|my)|from (?:now|here) on|from this point)\b",
    "talk": r"\b(?:questions?|prompts?|instructions?|directions|directives?|users?|readers?|visitors?|customers?|answers?|answering|replies|reply|replied|responses?|outputs?|summar(?:y|ies)|quer(?:y|ies)|requests?|asked|asks|tasks?|conversation|passages?|context|documents?|text|rules|guidelines|orders)\b",
    "notice": r"\b(?:\w+ mode|overrid\w+|until (?:further notice|told)|at once|effective immediately|as of|protocol|priority|notice|alert|warning|emergency|enabled|activated|configuration|settings|developers?|operator|admin\w*|engineer|password|passphrase|secret|code ?word|magic word|base64|rot13|backwards|machine-readable)\b",
    "you": r"\byou(?:r|rself)?\b",
    "bound": r"\b(?:only|nothing|every|all|any|whatever|always|instead|exactly|no matter|new|words?|sentence|phrase|before|unless|true|correct|right|real)\b",
    "given": rf'["“«][^"“”«»\n]{{1,80}}["”»]|(?-i:\b[A-Z]{{3,}}\b)|https?://|\b(?:in|auf) (?:{_any(TONGUES)}|capital letters)\b',
    "foreign": r"\b(?:antwort\w*|schreib\w*|vergiss|ignorier\w*|anweisung\w*|répon\w+|ignore[zr]|oubli\w+|écri[st]\w*|consignes?|respond[ae]\b|escrib\w+|olvid\w+|instrucci\w+|scriv\w+|rispond\w+|istruzion\w+|escreva|instruç\w+|antwoord|negeer|schrijf|ответ\w*|отвеч\w*|игнор\w*|напиши\w*|забудь\w*|скажи\w*|говори\w*|вопрос\w*|pytani\w+|napisz\w*|odpowi\w+|powiedz\w*|zignoruj|vragen|vraag|vergeet|svara?|skriv|odpověz\w*|napiš\w*|yaz(?:ın)?|soru\w*|cevap\w*|frage[n]?|sag(?:en)?|nenne\w*|vergessen|ab (?:jetzt|sofort)|dites|seulement|uniquement|à partir|l.assistant|contest\w+|debes|diga|a partir de|asistente|devi|soltanto|d.ora in poi|dici|apenas|palabra|palavra|parola|pergunta|pregunta)\b|指示|指令|回答|答え|答|只|だけ|问题|質問",
}
"""What orders to whoever answers are made of: the frame of a conversation written into the text; a
sentence that begins with a verb of saying, leaving or playing; such a verb anywhere, or how a thing is to be put; the
assistant named; talk of the conversation; notices of modes and secrets; the reader addressed; limits; something given to
be said; the same verbs in other languages."""

PATTERNS = tuple(re.compile(sign, re.IGNORECASE) for sign in SIGNS.values())

GATE = frozenset(SIGNS) - {"bound", "given"}

MIXED = re.compile(r"[a-z][а-яѕіј]|[а-яѕіј][a-z]", re.IGNORECASE)
LOOKALIKES = str.maketrans("аеорсухіјѕһкмтвнАВЕКМНОРСТУХІЈЅ", "aeopcyxijshkmtbhABEKMHOPCTYXIJS")
"""Cyrillic letters that pass for Latin ones, where a word has both."""

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
        embedder: what embeds, by name.
        keep: a folder for the vectors of the examples, so that the next start need not compute them.
    """

    def __init__(self, embed: Embed, embedder: str = "", keep: Path | None = None) -> None:
        self._embed, self._embedder, self._keep = embed, embedder, keep
        self._lock = threading.RLock()
        self._known: OrderedDict[str, Spans] = OrderedDict()

    def fit(self) -> None:
        """Read and learn the examples, which is done once and takes seconds."""
        with self._lock:
            _ = self._machine

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
            judged = [[next(scores) for _ in spans] for spans in cut]
            found = {text: self._known[text] for text in texts if text in self._known}
            for text, spans, own in zip(new, cut, judged, strict=True):
                bar = BESIDE if max(own, default=-np.inf) > SURE else ALONE
                orders = [span for span, score in zip(spans, own, strict=True) if score > bar]
                found[text] = _joined(text, [*orders, *interjected(text)])
                self._known[text] = found[text]
                if len(self._known) > REMEMBERED:
                    self._known.popitem(last=False)
        return [found[text] for text in texts]

    def scores(self, texts: Sequence[str]) -> list[float]:
        """How far each sentence is beyond the border between orders, above 0, and others.

        −∞ for one without a sign, whose vector is not computed.
        """
        plain = [_plain(text) for text in texts]
        judged = [text for text in plain if signs(text) & GATE]
        if not judged:
            return [-np.inf] * len(texts)
        with self._lock:
            machine = self._machine
        margins = dict(zip(judged, machine.decision_function(_features(judged, self._embed(judged))), strict=True))
        return [float(margins.get(text, -np.inf)) for text in plain]

    @cached_property
    def _machine(self) -> SVC:
        # Imported here because it takes a second, and a start need not wait for it.
        from sklearn.svm import SVC

        rows = [json.loads(line) for line in EXAMPLES.read_text(encoding="utf-8").splitlines()]
        texts = [row["text"] for row in rows]
        features = _features(texts, self._kept_vectors(texts))
        return SVC(C=PENALTY, gamma=GAMMA).fit(features, [row["is_order"] for row in rows])

    def _kept_vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if self._keep is None:
            return self._embed(texts)
        digest = hashlib.sha256("\0".join([self._embedder, *texts]).encode()).hexdigest()
        place = self._keep / f"guard-{digest[:16]}.npy"
        if place.is_file():
            return np.asarray(np.load(place), dtype=np.float32)
        vectors = self._embed(texts)
        # A file that is there is whole; without one the next start takes longer, and nothing else.
        with contextlib.suppress(OSError):
            unfinished = place.with_suffix(f".{os.getpid()}.tmp")
            with unfinished.open("wb") as file:
                np.save(file, vectors)
            unfinished.replace(place)
        return vectors


def _features(texts: Sequence[str], vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """(n, dimensions + signs)"""
    shown = [signs(text) for text in texts]
    table = np.array([[name in some for name in SIGNS] for some in shown], dtype=np.float64)
    return np.hstack([VECTOR_WEIGHT * vectors, table])


def signs(text: str) -> set[str]:
    return {name for name, pattern in zip(SIGNS, PATTERNS, strict=True) if pattern.search(text)}


def _plain(text: str) -> str:
    """As people read it: no invisible letters, none of other alphabets in a word, and names of fields as words."""
    text = unicodedata.normalize("NFKC", visible(text))
    if MIXED.search(text):
        text = text.translate(LOOKALIKES)
    return re.sub(r"_|(?<=[a-z])(?=[A-Z])", " ", text)


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


def _joined(text: str, spans: Sequence[tuple[int, int]]) -> Spans:
    """The spans in order, as one where no word is between them."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if joined and not re.search(r"\w", text[joined[-1][1] : start]):
            start, end = joined[-1][0], max(end, joined.pop()[1])
        joined.append((start, end))
    return tuple(joined)
