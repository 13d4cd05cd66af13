"""What does tuning cost the base's own abilities, and is the base itself untouched?

`python -m eval.forgetting --adapter NAME… [--base-folder FOLDER…] [--text PATH] [--questions PATH] --out PATH.json`

General text is read and general questions are answered by the base before any adapter is in memory, with each adapter
on, and with it off again. Off must be the base itself, bit by bit: every log-probability of every token is compared with
the one from before, once while the adapter is in memory and used in turn with the base, and once after it was unloaded.

For this the base is asked for one thing at a time. Several requests in one step of the engine are multiplied as one
matrix, and how many rows it has moves the last bits of a sum, with or without adapters. How far is measured too: the
base several at a time before any adapter, as a control, and the base in one batch with the adapter. An adapter that is
on is asked several at a time, so what it costs is told from the control.

A base trained whole has no off; `--base-folder` serves its folder and shows what it forgot.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assistant.catalog import Catalog
from assistant.errors import EvaluationError
from assistant.messages import BASE, ChatRequest, CompletionRequest, Decoding, Done, Message
from assistant.service import ChatService
from assistant.settings import load_settings
from assistant.training.data import sample
from eval.ask import NO_REVISIONS, ask_all
from eval.command import Result, add_common, described, run_command
from eval.digest import digest_of
from eval.metrics.bootstrap import Measure, Statistics, means, measure
from eval.metrics.paired import Difference, paired_bootstrap
from eval.metrics.perplexity import METRICS, perplexity
from eval.session import measured_service
from eval.tasks.chat import CHAT
from eval.tasks.perplexity import read_texts, scored
from eval.tasks.scorers import holds_accepted

log = logging.getLogger(__name__)

SCORED = Decoding(temperature=0, max_tokens=0, logprobs=0)
ANSWERED = Decoding(temperature=0, max_tokens=64)
BEFORE = "base before"
CONTROL = "base before, several at a time"
ON = "adapter on"
IN_TURN = "adapter off, in turn with it"
IN_ONE_BATCH = "adapter off, in one batch with it"
AFTER = "adapter off, after it"
EXACT = (IN_TURN, AFTER)
"""States in which the base must be the base to the last bit."""


@dataclass(frozen=True)
class Abilities:
    """Texts to be read and questions to be answered; each question has `accepted` answers."""

    texts: tuple[Mapping[str, Any], ...]
    questions: tuple[Mapping[str, Any], ...]

    def requests(self, adapter: str) -> list[CompletionRequest | ChatRequest]:
        reading = [
            CompletionRequest(prompt=text["text"], adapter=adapter, decoding=SCORED, echo=True) for text in self.texts
        ]
        asking = [
            ChatRequest(messages=(Message(role="user", content=row["question"]),), adapter=adapter, decoding=ANSWERED)
            for row in self.questions
        ]
        return [*reading, *asking]


@dataclass(frozen=True)
class Shown:
    """What one state of the weights has shown: ln P of each text's tokens but the first, the bytes of these, and an answer
    per question."""

    logprobs: tuple[tuple[float, ...], ...]
    sizes: tuple[int, ...]
    answers: tuple[str, ...]


@dataclass(frozen=True)
class Figures:
    """What is computed over `count` examples, and what the figures are called."""

    names: Sequence[str]
    statistics: Statistics
    count: int


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command("eval.forgetting", _parser(), arguments, measure_all, show)


async def measure_all(options: argparse.Namespace) -> Result:
    """One entry of `states` for the base, for each adapter on and off, and for each base folder.

    Raises:
        EvaluationError: the base with an adapter off is not the base from before, to the last bit; a request failed, or
            an adapter was replaced meanwhile.
        DataError: the data is wrong; names file and line.
    """
    settings = load_settings()
    # Whatever can be wrong is looked at before minutes are spent on the rest.
    if not options.adapter and not options.base_folder:
        raise EvaluationError(
            "nothing to compare with the base; allowed: --adapter NAME…, --base-folder FOLDER…, or both"
        )
    for name in options.adapter:
        Catalog(settings.adapters_dir).get(name)
    for folder in options.base_folder:
        if not folder.is_dir():
            raise EvaluationError(f"--base-folder {folder}: no such folder")
    texts = [item.record for item in read_texts(options.text)]
    questions = [item.record for item in CHAT.load(options.questions)]
    abilities = Abilities(*(tuple(sample(rows, options.limit, options.seed)) for rows in (texts, questions)))
    async with measured_service(settings) as service:
        about = described(service, BASE)
        before = await shown(service, BASE, abilities, 1)
        states = [state(BEFORE, BASE, before, before, abilities)]
        several = await shown(service, BASE, abilities, options.concurrency)
        states.append(state(CONTROL, BASE, several, before, abilities))
        for name in options.adapter:
            states += await _adapter_states(service, name, before, several, abilities, options.concurrency)
    for folder in options.base_folder:
        log.info("serving %s", folder)
        async with measured_service(settings.model_copy(update={"base": str(folder)})) as service:
            whole = await shown(service, BASE, abilities, 1)
            entry = state("another base", str(folder), whole, before, abilities)
            states.append(entry | {"base_digest": service.backend.base_digest})
    return {
        **about,
        "adapter": list(options.adapter),
        "data": {
            "text": options.text or "own",
            "questions": options.questions or "own",
        },
        "data_digest": {"text": digest_of(texts), "questions": digest_of(questions)},
        "count": len(abilities.questions),
        "config": {"limit": options.limit, "seed": options.seed, "concurrency": options.concurrency},
        "states": states,
    }


async def _adapter_states(
    service: ChatService, name: str, before: Shown, several: Shown, abilities: Abilities, concurrency: int
) -> list[dict[str, Any]]:
    """The adapter on; the base in turn with it, and in one batch with it; the base once it is unloaded.

    Args:
        before: the base asked one at a time.
        several: the base asked `concurrency` at a time, as the adapter that is on.
    """
    log.info("adapter %s", name)
    revisions = {name: service.catalog.get(name).digest}
    on = await shown(service, name, abilities, concurrency, revisions)
    entries = [state(ON, name, on, several, abilities, CONTROL) | {"adapter_digest": revisions[name]}]
    reading = Abilities(abilities.texts, ())
    both = zip(reading.requests(BASE), reading.requests(name), strict=True)
    mixed = [request for pair in both for request in pair]
    for what, at_once in ((IN_TURN, 1), (IN_ONE_BATCH, concurrency)):
        off = _shown((await ask_all(service, mixed, at_once, revisions=revisions))[::2], reading)
        entries.append(state(what, name, off, before, reading))
    await service.unload_adapter(name)
    entries.append(state(AFTER, name, await shown(service, BASE, abilities, 1), before, abilities))
    for entry in entries:
        if entry["state"] in EXACT:
            require_unchanged(entry)
    return entries


def require_unchanged(entry: Mapping[str, Any]) -> None:
    """Raises EvaluationError where the base with an adapter off is not the base."""
    if entry["different_logprobs"]:
        raise EvaluationError(
            f"{entry['state']} {entry['name']!r}: {entry['different_logprobs']} of {entry['tokens']} log-probabilities "
            f"differ from the base's, by up to {entry['largest_difference']:.2e}; allowed: none"
        )


async def shown(
    service: ChatService,
    adapter: str,
    abilities: Abilities,
    concurrency: int,
    revisions: Mapping[str, str] = NO_REVISIONS,
) -> Shown:
    ends = await ask_all(service, abilities.requests(adapter), concurrency, revisions=revisions)
    return _shown(ends, abilities)


def _shown(ends: Sequence[Done], abilities: Abilities) -> Shown:
    parts = [end.parts[0] for end in ends]
    asking = parts[len(abilities.texts) :]
    read = [scored(text["text"], part) for text, part in zip(abilities.texts, parts, strict=False)]
    return Shown(
        tuple(tuple(logprobs) for logprobs, _ in read), tuple(size for _, size in read), tuple(p.text for p in asking)
    )


def state(
    what: str, name: str, seen: Shown, before: Shown, abilities: Abilities, against: str = BEFORE
) -> dict[str, Any]:
    """The figures of one state, their paired differences from the base `before`, and how many tokens and answers differ.

    `against` is the state in which the base was `before`.

    Log-probabilities are compared as they are, bit by bit. Another base may cut texts into other tokens: then there is
    nothing to compare token by token, and the counts are None.
    """
    metrics: dict[str, Measure] = {}
    difference: dict[str, Difference] = {}
    for read, was in zip(_figures(seen, abilities), _figures(before, abilities), strict=True):
        if not read.count:  # Only texts were read in this state.
            continue
        metrics |= dict(zip(read.names, measure(read.statistics, read.count), strict=True))
        changes = paired_bootstrap(was.statistics, read.statistics, read.count)
        difference |= dict(zip(read.names, changes, strict=True))
    gaps = gaps_between(seen, before)
    return {
        "state": what,
        "name": name,
        "against": against,
        "metrics": metrics,
        "difference": difference,
        "tokens": sum(map(len, seen.logprobs)),
        "different_logprobs": None if gaps is None else sum(gap != 0 for gap in gaps),
        "largest_difference": None if gaps is None else max(gaps),
        "different_answers": sum(a != b for a, b in zip(seen.answers, before.answers, strict=False)),
        "examples": [
            {
                "id": row.get("id", number),
                "input": row["question"],
                "expected": list(row["accepted"]),
                "answer": answer,
                "accuracy": holds_accepted(answer, row["accepted"]),
            }
            for number, (row, answer) in enumerate(zip(abilities.questions, seen.answers, strict=True))
        ],
    }


def gaps_between(seen: Shown, before: Shown) -> list[float] | None:
    """The size of each token's difference; None where the texts were cut into other numbers of tokens."""
    if [len(text) for text in seen.logprobs] != [len(text) for text in before.logprobs]:
        return None
    pairs = zip(seen.logprobs, before.logprobs, strict=True)
    return [abs(a - b) for text, other in pairs for a, b in zip(text, other, strict=True)]


def _figures(seen: Shown, abilities: Abilities) -> tuple[Figures, Figures]:
    """Of the texts, and of the questions."""
    surprise = [-sum(text) for text in seen.logprobs]
    tokens = [len(text) for text in seen.logprobs]
    # In a state that read texts only, there are answers before and no questions now.
    right = [holds_accepted(a, row["accepted"]) for a, row in zip(seen.answers, abilities.questions, strict=False)]
    return (
        Figures(METRICS, perplexity(surprise, tokens, seen.sizes), len(tokens)),
        Figures(("accuracy",), means(right), len(right)),
    )


def show(result: Result) -> None:
    for entry in result["states"]:
        figures = "  ".join(f"{name} {figure.value:.4f}" for name, figure in entry["metrics"].items())
        print(
            f"{entry['state']:34} {entry['name']:20} {figures}"
            f"  {entry['different_logprobs']} of {entry['tokens']} log-probabilities differ"
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m eval.forgetting", description="Measure what tuning costs the base."
    )
    parser.add_argument("--base-folder", nargs="+", type=Path, default=[], help="bases trained whole")
    parser.add_argument("--text", help="JSON lines with text, or a .txt of one text per line; our own set unless given")
    parser.add_argument("--questions", help="JSON lines with question and accepted; our own set unless given")
    add_common(parser, many_adapters=True)
    return parser


if __name__ == "__main__":
    sys.exit(main())
