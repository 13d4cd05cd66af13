"""Auto: text → Route(adapter, confidence, reason); several intents → several steps.

A message is compared with the example prompts on each adapter's card, and with examples of general
chat that stand for the base. Nothing is trained: a card with examples is a route.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from assistant.catalog import Adapter, Score
from assistant.messages import BASE, Route
from assistant.routing.clauses import quotations, read_request
from assistant.routing.nearest import Embed, Examples, Nearness, embed_examples, embed_views, nearness
from assistant.routing.views import Spelling, View, view
from assistant.routing.wording import REFERS_BACK

CHAT_FILE = Path(__file__).with_name("chat.jsonl")

THRESHOLD = 0.35
"""Below this confidence Auto uses the base. Chosen on the development half of the routing set:
`python -m eval.tasks.routing --choose-threshold`, see docs/routing.md."""
TEMPERATURE = 0.03
"""Turns similarity into confidence: a lead of 0.1 over one rival makes 28 to 1. Chosen on the development half too."""
FLOOR = 0.2
"""Similarity the base has to every message: what is near to nothing goes to the base."""
BASE_STEP = 0.6
"""Confidence from which a clause is a step of its own for the base ("… and write a poem")."""
MOST_ASKS = 8
"""Requests of one message that may become steps; a message of more is a list, and is answered whole. Each costs two
vectors before, and as a step an answer of its own."""
UNKNOWN_TASK = "unknown"
QA_TASK = "qa"
"""The task of adapters that answer a question from a passage."""
LOWER_IS_BETTER = frozenset({"perplexity", "loss", "ece", "wer", "ter"})


@dataclass(frozen=True)
class Target:
    """One task that can be asked for: its examples, the adapter that serves it, and why that one."""

    task: str
    adapter: str
    examples: Examples
    choice: str


@dataclass(frozen=True)
class Judgement:
    """What one clause asks for. `adapter` is the base where no adapter reaches the threshold."""

    adapter: str
    confidence: float
    reason: str
    clause: str = ""


class Router:
    """Decides which adapter answers. Thread-safe.

    Args:
        embed: texts → unit vectors (n, d).
        adapters: the adapters of this moment; asked on every message, so a new folder is a new route.
        threshold: confidence in [0, 1] below which the base answers; None: `THRESHOLD`.
    """

    def __init__(
        self,
        embed: Embed,
        adapters: Callable[[], Iterable[Adapter]],
        threshold: float | None = None,
    ) -> None:
        self.threshold = THRESHOLD if threshold is None else threshold
        self._embed = embed
        self._adapters = adapters
        self._chat: Examples | None = None
        self._cards: dict[tuple[str, tuple[str, ...]], Examples] = {}
        self._lock = threading.Lock()

    def route(self, text: str, has_documents: bool = False) -> list[Route]:
        """One route per step, in the order of the message; a message with one intent is one step, whole.

        So is one that asks for more than `MOST_ASKS` things; its reason says so. With `has_documents` passages will be
        put before the message: a whole one that no task is found in is then a question on a passage, not general chat.
        """
        targets, chat = self._targets()
        if not text.strip() or not targets:
            why = "the message is empty" if targets else "no adapter has example prompts on its card"
            return [Route(adapter=BASE, confidence=1.0, reason=f"{why}; the base answers", text=text)]
        spelling = Spelling(text for examples in (chat, *(t.examples for t in targets)) for text in examples.texts)
        request = read_request(text)
        asks = [spelling.corrected(ask) for ask in request.asks]
        materials = _materials(request.asks, request.material)
        readings = [[view(" ".join(asks), request.material)]]
        if 1 < len(asks) <= MOST_ASKS:
            readings += [_readings(ask, material) for ask, material in zip(asks, materials, strict=True)]
        vectors = iter(embed_views([seen for reading in readings for seen in reading], self._embed))
        whole, *parts = [
            max((self._judge(seen, *next(vectors), targets, chat) for seen in reading), key=lambda j: j.confidence)
            for reading in readings
        ]
        steps = self._steps(parts, request.asks, materials) if parts else []
        if not steps:
            if has_documents:
                whole = _from_documents(whole, targets)
            reason = whole.reason
            if len(asks) > MOST_ASKS:
                reason += f"; it asks for {len(asks)} things, more than {MOST_ASKS}, and stays whole"
            return [Route(adapter=whole.adapter, confidence=whole.confidence, reason=reason, text=text)]
        return steps

    def _judge(
        self, seen: View, frame: np.ndarray, whole: np.ndarray, targets: Sequence[Target], chat: Examples
    ) -> Judgement:
        near = [nearness(seen, frame, whole, target.examples) for target in targets]
        base = nearness(seen, frame, whole, chat)
        scores = np.array([*(n.score for n in near), max(base.score, FLOOR)])
        weights = np.exp((scores - scores.max()) / TEMPERATURE)
        confidence = weights / weights.sum()
        best = int(np.argmax(confidence[:-1]))
        target, sure, of_base = targets[best], float(confidence[best]), float(confidence[-1])
        if sure >= self.threshold and sure >= of_base:
            reason = f"near the example {_quoted(near[best])} on its card{target.choice}{_runner_up(targets, confidence, best)}"
            return Judgement(target.adapter, sure, reason)
        if sure < self.threshold:
            why = f"below the threshold {self.threshold:.2f}"
        else:
            why = f"and general chat is nearer, with {of_base:.2f}"
        reason = (
            f"the nearest adapter, {target.adapter}, has confidence {sure:.2f}, {why} "
            f"(its example: {_quoted(near[best])}); the base answers"
        )
        return Judgement(BASE, of_base, reason)

    def _steps(self, parts: Sequence[Judgement], asks: Sequence[str], materials: Sequence[str]) -> list[Route]:
        """Steps that are asked for with confidence; a clause that is not goes along with the one before it."""
        steps: list[tuple[Judgement, list[str], str]] = []
        lead: list[str] = []
        for part, ask, material in zip(parts, asks, materials, strict=True):
            is_sure = part.adapter != BASE or part.confidence >= BASE_STEP
            if steps and (not is_sure or steps[-1][0].adapter == part.adapter):
                steps[-1][1].append(ask)
            elif is_sure:
                steps.append((part, [*lead, ask], material))
                lead = []
            else:
                lead.append(ask)
        if len({judgement.adapter for judgement, _, _ in steps}) < 2:
            return []
        return [
            Route(adapter=j.adapter, confidence=j.confidence, reason=j.reason, text=_step_text(clauses, material))
            for j, clauses, material in steps
        ]

    def _targets(self) -> tuple[list[Target], Examples]:
        groups: dict[str, list[Adapter]] = {}
        for adapter in self._adapters():
            if adapter.is_usable and adapter.card.examples:
                task = adapter.card.task
                groups.setdefault(task if task != UNKNOWN_TASK else f"{task}:{adapter.name}", []).append(adapter)
        with self._lock:
            if self._chat is None:
                self._chat = self._embedded(chat_examples())
            wanted: dict[tuple[str, tuple[str, ...]], Examples] = {}
            targets = []
            for task, adapters in sorted(groups.items()):
                texts = tuple(dict.fromkeys(text for adapter in adapters for text in adapter.card.examples))
                key = (",".join(sorted(adapter.digest for adapter in adapters)), texts)
                wanted[key] = self._cards.get(key) or self._embedded(texts)
                chosen, choice = best_of(task, adapters)
                targets.append(Target(task, chosen.name, wanted[key], choice))
            # What is no longer in the catalogue is forgotten.
            self._cards = wanted
            return targets, self._chat

    def _embedded(self, texts: tuple[str, ...]) -> Examples:
        views = []
        for text in texts:
            request = read_request(text)
            views.append(view(" ".join(request.asks), request.material))
        return embed_examples(texts, views, self._embed)


@cache
def chat_examples() -> tuple[str, ...]:
    """What general chat looks like: the counter-examples every card is compared with."""
    with CHAT_FILE.open(encoding="utf-8") as lines:
        return tuple(json.loads(line)["text"] for line in lines)


def best_of(task: str, adapters: Sequence[Adapter]) -> tuple[Adapter, str]:
    """Of several adapters for one task the one with the better score, then the first by name; and why, in words.

    Scores count where all scored adapters have the same metric on the same records, asked alike; unscored ones come
    last.
    """
    by_name = sorted(adapters, key=lambda adapter: adapter.name)
    if len(by_name) == 1:
        return by_name[0], ""
    scored = [adapter for adapter in by_name if adapter.card.scores]
    for first in scored[0].card.scores if scored else ():
        found = [_same(first, adapter.card.scores) for adapter in scored]
        if all(score is not None for score in found):
            values = [score.value for score in found if score is not None]
            best = min(values) if first.metric.lower() in LOWER_IS_BETTER else max(values)
            chosen = scored[values.index(best)]
            return chosen, f"; of {len(by_name)} adapters for {task} it has the best {first.metric} ({best:.3f})"
    chosen = scored[0] if len(scored) == 1 else by_name[0]
    why = "the only one with a score" if len(scored) == 1 else "the first by name, as no score compares them"
    return chosen, f"; of {len(by_name)} adapters for {task} it is {why}"


def _from_documents(judgement: Judgement, targets: Sequence[Target]) -> Judgement:
    """What the base would answer is answered from the documents by the adapter for questions on a passage, if any."""
    target = next((target for target in targets if target.task == QA_TASK), None)
    if judgement.adapter != BASE or target is None:
        return judgement
    reason = f"answers from your documents{target.choice}; without them: {judgement.reason}"
    return replace(judgement, adapter=target.adapter, reason=reason)


def _same(score: Score, scores: Iterable[Score]) -> Score | None:
    return next((other for other in scores if other.has_measured_as(score)), None)


def _materials(asks: Sequence[str], material: str) -> list[str]:
    """The material of each ask: what all share, else the quotation of an earlier ask that it refers back to."""
    found: list[str] = []
    last = ""
    for ask in asks:
        own = quotations(ask)
        found.append(material if material or own or not REFERS_BACK.search(ask) else last)
        last = own[-1] if own else last
    return found


def _readings(ask: str, material: str) -> list[View]:
    """A clause among others: with the material; and without, where nothing says that it is about it ("tell me a joke")."""
    seen = view(ask, material)
    # A lone verb ("simplify and translate this") shares the object of its neighbour.
    is_apart = bool(material) and len(ask.split()) > 1 and not seen.is_grounded and not REFERS_BACK.search(ask)
    return [seen, view(ask, "")] if is_apart else [seen]


def _step_text(clauses: Sequence[str], material: str) -> str:
    asked = ". ".join(clause[:1].upper() + clause[1:].rstrip(".") for clause in clauses)
    return f"{asked.replace('?.', '?')}\n\n{material}" if material else asked.replace("?.", "?")


def _quoted(near: Nearness, length: int = 80) -> str:
    line = " ".join(near.example.split())
    return f"“{line if len(line) <= length else line[: length - 1] + '…'}” ({near.similarity:.2f})"


def _runner_up(targets: Sequence[Target], confidence: np.ndarray, best: int) -> str:
    names = [*(target.adapter for target in targets), BASE]
    order = [i for i in np.argsort(-confidence, kind="stable") if i != best]
    return f"; next: {names[int(order[0])]} at {confidence[order[0]]:.2f}"
