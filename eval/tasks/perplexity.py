"""Perplexity of raw texts, without the chat template: what the base knows, and what an adapter forgot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from assistant.errors import DataError, EvaluationError
from assistant.messages import BASE, CompletionRequest, Decoding, Part
from assistant.training.data import Item, read_items
from assistant.training.tasks.task import Kind, Task, each, words_missing
from eval.ask import NO_REVISIONS, Ended, Replies, ask_all
from eval.metrics.bootstrap import Statistics, measure
from eval.metrics.perplexity import METRICS, perplexity
from eval.tasks.interface import DATA, Outcome

NAME = "perplexity"
TEXT = Kind(
    name=NAME,
    fields=("text",),
    check=lambda record: words_missing(record, "text"),
    forms=(lambda record: record["text"],),
    instructions=(lambda record: record["text"],),
    answers=each(lambda record: ""),
)
TEXTS = Task(NAME, "Raw texts.", (TEXT,), template=None, card_examples=())


def read_texts(data: str | None) -> list[Item]:
    """Texts of the field `text` of JSON lines or a hub dataset, or the lines of a .txt file; our own set for None.

    Raises:
        DataError: the data cannot be read, is empty or malformed; names file and line.
    """
    if data is None or not data.endswith(".txt"):
        return read_items([data or str(DATA / f"{NAME}.jsonl")], TEXTS, split="test")
    try:
        lines = Path(data).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{data}: cannot be read: {error}") from error
    items = [Item(TEXT, {"text": line.strip()}, f"{data}:{n}") for n, line in enumerate(lines, start=1) if line.strip()]
    if not items:
        raise DataError(f"{data}: empty; allowed: one text per line")
    return items


async def run(
    service: Replies,
    items: Sequence[Item],
    adapter: str = BASE,
    concurrency: int = 8,
    revisions: Mapping[str, str] = NO_REVISIONS,
) -> Outcome:
    """Score every token of every text but the first, which nothing comes before.

    Raises:
        EvaluationError: there are no texts, a text has one token only or does not fit the context (names it), or
            another revision answered; see `eval.ask.ask_all`.
    """
    decoding = Decoding(temperature=0, max_tokens=0, logprobs=0)
    requests = [
        CompletionRequest(prompt=item.record["text"], adapter=adapter, decoding=decoding, echo=True) for item in items
    ]
    names = [item.record.get("id", item.where) for item in items]
    ends = await ask_all(service, requests, concurrency, names, revisions=revisions)
    examples = [_example(item, end) for item, end in zip(items, ends, strict=True)]
    metrics = dict(zip(METRICS, measure(figures(examples), len(examples)), strict=True))
    return Outcome(metrics, examples, {"decoding": decoding.model_dump(mode="json", exclude_unset=True)})


def figures(examples: Sequence[Mapping[str, Any]]) -> Statistics:
    """Those named in `eval.metrics.perplexity.METRICS`."""
    return perplexity(*([example[name] for example in examples] for name in ("surprise", "scored_tokens", "bytes")))


def scored(text: str, part: Part) -> tuple[list[float], int]:
    """ln P of each token of an echoed text but the first, and the UTF-8 bytes of these.

    The first has no score, so its bytes are not to be paid for either.
    """
    logprobs = [score.logprob for score in part.prompt_scores if score.logprob is not None]
    first = part.prompt_scores[0].token if part.prompt_scores else ""
    return logprobs, len(text[len(first) :].encode())


def _example(item: Item, end: Ended) -> dict[str, Any]:
    text, name, part = item.record["text"], item.record.get("id", item.where), end.parts[0]
    logprobs, size = scored(text, part)
    if not logprobs:
        raise EvaluationError(f"example {name} has {len(part.prompt_scores)} tokens; allowed: two or more")
    return {
        "id": name,
        "kind": NAME,
        "input": text,
        "answer": "",
        "surprise": -sum(logprobs),
        "scored_tokens": len(logprobs),
        "bytes": size,
        "seconds": end.seconds,
    }
