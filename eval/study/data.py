"""The study's own files, cut from public training files: parts to train on, and parts held out."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from assistant.errors import DataError
from assistant.training.data import json_lines, read_items
from assistant.training.publish import write_whole
from assistant.training.tasks.registry import INSTRUCT
from assistant.training.tasks.task import Record
from eval.study.plan import MIXTURE, UNSEEN, Scale

SOURCES = {
    "qa": "qa/train.jsonl",
    "sentiment": "sentiment/train.jsonl",
    "summarisation": "summarisation/train.jsonl",
    "policy": "legal/policyqa_train.jsonl",
    "research": "medical/pubmedqa_train.jsonl",
    "plain-english": "legal/plain_english_train.jsonl",
    "moderation": "moderation/train.jsonl",
}
LAST = "quoref"
"""Questions of this title come after the others: the questions held out are like those before them."""


@dataclass(frozen=True)
class Cut:
    """Records of one kind. No context, title or document of `held_out` is in `train`."""

    train: list[Record]
    held_out: list[Record]


def prepare(source: Path, folder: Path, scale: Scale) -> None:
    """Write every file the trials name into `folder`.

    Raises:
        DataError: a training file is absent, wrong, or too small for the scale; or the folder holds parts of other
            data, which its results are of; names it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for kind, place in SOURCES.items():
        path = source / place
        records = [item.record for item in read_items([f"{kind}={path}"], INSTRUCT)]
        cut = hold_out(records, scale)
        write(folder / f"{kind}_held_out.jsonl", cut.held_out)
        sizes = {"qa": {*scale.sizes, scale.questions}, "sentiment": {scale.sentences}}.get(kind, set())
        for size in sorted(sizes | ({scale.each_kind} if kind in MIXTURE else set())):
            if len(cut.train) < size:
                raise DataError(f"{path}: {len(cut.train)} records can be trained on, the study needs {size}")
            write(folder / f"{kind}_{size}.jsonl", cut.train[:size])
        if kind == "sentiment":
            # Their labels are not needed, and those of the labelled sentences would make the comparison unfair.
            further = cut.train[scale.sentences : scale.sentences + scale.raw]
            if len(further) < scale.raw:
                raise DataError(f"{path}: {len(further)} records are left for raw text, the study needs {scale.raw}")
            write(folder / "sentiment_raw.jsonl", [{"text": record["text"]} for record in further])
        if kind == UNSEEN and not cut.held_out:
            raise DataError(f"{path}: no records to measure")


def hold_out(records: Sequence[Record], scale: Scale, seed: int = 0) -> Cut:
    """Whole groups (articles, contexts, documents) are held out until there are `scale.held_out` records.

    The rest is in an order of its own, so that a larger training part contains the smaller ones.
    """
    fitting = [record for record in records if len(_text(record)) <= scale.characters]
    group = _group(fitting)
    names = sorted({group(record) for record in fitting} - {LAST})
    draw = random.Random(seed)
    draw.shuffle(names)
    held: set[str] = set()
    count = 0
    for name in names:
        if count >= scale.held_out or count >= len(fitting) // 3:
            break
        held.add(name)
        count += sum(group(record) == name for record in fitting)
    train = [record for record in fitting if group(record) not in held]
    draw.shuffle(train)
    train.sort(key=lambda record: record.get("title") == LAST)
    outside = [record for record in fitting if group(record) in held]
    return Cut(train, draw.sample(outside, min(scale.held_out, len(outside))))


def _group(records: Sequence[Record]) -> Callable[[Record], str]:
    has_titles = all("title" in record for record in records)
    return lambda record: str(record["title"]) if has_titles else _text(record)


def _text(record: Record) -> str:
    return str(record.get("context") or record.get("document") or record.get("text"))


def write(path: Path, records: Sequence[Record]) -> None:
    text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    if path.is_file() and path.read_text(encoding="utf-8") != text:
        raise DataError(
            f"{path} was cut from other data, and what has been measured is of that; give another --out, "
            f"or remove {path.parent.parent}"
        )
    write_whole(path, text)


@dataclass(frozen=True)
class Makeup:
    """Of how many articles the held-out questions are; by the size of a training part, how many are of `LAST`."""

    articles: int
    of_last: dict[int, int]


def makeup(folder: Path, scale: Scale) -> Makeup:
    """What is to be known of the questions that `prepare` wrote."""

    def titles(name: str) -> list[str]:
        return [str(record.get("title")) for _, record in json_lines(folder / f"qa_{name}.jsonl")]

    return Makeup(len(set(titles("held_out"))), {size: titles(str(size)).count(LAST) for size in scale.sizes})
