"""Data files → training examples. What is wrong in a file is named with its line."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from assistant.errors import DataError
from assistant.messages import Message
from assistant.prompt import Prompter
from assistant.training.tasks.prescriptions import prescriptions
from assistant.training.tasks.task import Kind, Record, Task

T = TypeVar("T")


class Sourced(Protocol):
    @property
    def source(self) -> str: ...


S = TypeVar("S", bound=Sourced)

HUB = "hub:"
MADE = "made:prescriptions"
MADE_COUNT = 2000
MOST_HELD_OUT = 200


@dataclass(frozen=True)
class Item:
    """A record, its kind, and the file and line it came from."""

    kind: Kind
    record: Record
    where: str


@dataclass(frozen=True)
class Example:
    """Token ids of one prompt as served and of its answer, end-of-turn token included.

    Examples with equal `group` are likely to begin with the same tokens. Those of one `source` tell of the same.
    """

    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    group: str = ""
    kind: str = ""
    label: str = ""
    source: str = ""

    def __len__(self) -> int:
        return len(self.prompt) + len(self.answer)


def read_items(sources: Sequence[str], task: Task, split: str = "train") -> list[Item]:
    """All records of JSON lines files or datasets on the hub, each with its kind.

    Args:
        sources: `PATH`, `hub:ID[:CONFIG][@SPLIT]` or `made:prescriptions`; with `KIND=` before it all its records
            are of that kind, else their fields tell; with `#N` after it N of its records are drawn.
        split: the split of a hub dataset that names none.

    Raises:
        DataError: a file is absent or empty, a line is no JSON object, a field is missing, or a
            value is not allowed; names file and line.
    """
    items: list[Item] = []
    for source in sources:
        name, equals, rest = source.partition("=")
        kind = task.kind(name) if equals else None
        place, _, count = (rest if kind else source).partition("#")
        rows = [Item(kind or _kind_of(where, record, task), record, where) for where, record in _rows(place, split)]
        if not rows:
            raise DataError(f"{source}: empty; allowed: one {task.name} record per line")
        for item in rows:
            _check(item)
        items += sample(rows, how_many(source, count), seed=0)
    return items


def how_many(source: str, text: str) -> int | None:
    """The number after a source's `#`, None for all. Raises DataError where it is none."""
    if text and not (text.isdecimal() and int(text)):
        raise DataError(f"{source}: {text!r} is no number of records; allowed after '#': whole numbers from 1")
    return int(text) if text else None


def _kind_of(where: str, record: Record, task: Task) -> Kind:
    if (kind := task.kind_of(record)) is not None:
        return kind
    allowed = "; or ".join(", ".join(kind.fields) for kind in task.kinds)
    first = task.kinds[0]
    missing = next(name for name in first.fields if name not in record)
    what = f"no field {missing!r}" if len(task.kinds) == 1 else f"the fields {', '.join(record)} fit no kind"
    raise DataError(f"{where}: {what}; a {task.name} record has {allowed}")


def _check(item: Item) -> None:
    missing = [name for name in item.kind.fields if name not in item.record]
    if missing:
        fields = ", ".join(item.kind.fields)
        raise DataError(f"{item.where}: no field {missing[0]!r}; a {item.kind.name} record has {fields}")
    if (fault := item.kind.check(item.record)) is not None:
        raise DataError(f"{item.where}: {fault}")


def _rows(source: str, split: str) -> Iterator[tuple[str, Record]]:
    if source == MADE:
        yield from ((f"{source}:{n}", record) for n, record in enumerate(prescriptions(MADE_COUNT, seed=0), start=1))
    elif source.startswith(HUB):
        yield from _from_hub(source.removeprefix(HUB), split)
    else:
        yield from json_lines(Path(source))


def json_lines(path: Path) -> Iterator[tuple[str, Record]]:
    """(file and line, object) of every line that is not blank.

    Raises:
        DataError: the file cannot be read, or a line is no JSON object.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}:{number}: no JSON: {error}") from error
        if not isinstance(record, dict):
            raise DataError(f"{path}:{number}: a JSON {type(record).__name__}; allowed: an object per line")
        yield f"{path}:{number}", record


def _from_hub(place: str, split: str) -> Iterator[tuple[str, Record]]:
    """Rows of `ID[:CONFIG][@SPLIT]`; labels that are numbers become their names."""
    # Imported here: only this source needs it, and it takes seconds.
    from datasets import ClassLabel, load_dataset
    from datasets.exceptions import DatasetNotFoundError

    name, _, named = place.partition("@")
    id, _, config = name.partition(":")
    try:
        rows = load_dataset(id, config or None, split=named or split)
    except (DatasetNotFoundError, OSError, ValueError) as error:
        raise DataError(f"{HUB}{name}: cannot be loaded: {error}") from error
    for number, row in enumerate(rows, start=1):
        labels = {
            key: feature.int2str(row[key])
            for key, feature in rows.features.items()
            if isinstance(feature, ClassLabel) and row[key] is not None and row[key] >= 0
        }
        yield f"{HUB}{name}:{number}", plain_fields({**row, **labels})


def plain_fields(row: dict[str, Any]) -> Record:
    """The usual names of public datasets → ours: `sentence` is `text`, `answers` holds texts only."""
    record = dict(row)
    if "text" not in record and "sentence" in record:
        record["text"] = record.pop("sentence")
    if isinstance(record.get("answers"), dict) and "text" in record["answers"]:
        record["answers"] = list(record["answers"]["text"])
    return record


def sample(items: Sequence[T], limit: int | None, seed: int) -> list[T]:
    """At most `limit` items, drawn at random."""
    return list(items) if limit is None or limit >= len(items) else random.Random(seed).sample(items, limit)


def build_examples(
    items: Sequence[Item], task: Task, prompter: Prompter, max_tokens: int, seed: int, context: int | None = None
) -> tuple[list[Example], list[str]]:
    """Render records as they are served. Returns the examples, and which were longer than `max_tokens`.

    The form of each request is drawn once per group, so that a group keeps its common first tokens.

    Args:
        max_tokens: longer examples are left out knowingly.
        context: tokens the base can take; one that is longer is an error unless `max_tokens` leaves it out.

    Raises:
        DataError: an example does not fit the context, or all are longer than `max_tokens` tokens.
    """
    answers: dict[int, str] = {}
    for kind in dict.fromkeys(item.kind for item in items):
        own = [position for position, item in enumerate(items) if item.kind is kind]
        answers.update(zip(own, kind.answers([items[position].record for position in own]), strict=True))
    forms: dict[str, int] = {}
    examples = []
    skipped = []
    for position, (kind, record) in enumerate((item.kind, item.record) for item in items):
        group = kind.group(record)
        draw = random.Random(f"{seed}:{group or position}")
        form = forms.setdefault(
            group or str(position),
            0 if draw.random() < kind.plain_share or len(kind.forms) == 1 else draw.randrange(1, len(kind.forms)),
        )
        turns = (
            Message(role="user", content=kind.forms[form % len(kind.forms)](record)),
            Message(role="assistant", content=answers[position]),
        )
        prompt, answer = prompter.render_example(turns, task.template)
        label = kind.label(record) if kind.label else ""
        source = kind.source(record) if kind.source else group
        example = Example(tuple(prompt), tuple(answer), group, kind.name, label, source)
        if len(example) > max_tokens:
            skipped.append(f"{items[position].where} ({len(example)} tokens)")
        elif context is not None and len(example) > context:
            raise DataError(
                f"{items[position].where}: {len(example)} tokens; the base takes {context}. "
                f"Shorten it, or leave such examples out with --max-tokens {context}"
            )
        else:
            examples.append(example)
    if not examples:
        raise DataError(f"all {len(items)} examples are longer than {max_tokens} tokens; raise --max-tokens")
    return examples, skipped


def level_labels(examples: Sequence[Example], count: int, seed: int) -> list[Example]:
    """`count` examples of each label: of more some are drawn, fewer are repeated. Others stay as they are."""
    draw = random.Random(seed)
    levelled = [example for example in examples if not example.label]
    for label in sorted({(example.kind, example.label) for example in examples if example.label}):
        own = [example for example in examples if (example.kind, example.label) == label]
        draw.shuffle(own)
        levelled += (own * (count // len(own) + 1))[:count]
    return levelled


def split_validation(examples: Sequence[S], count: int | None, seed: int) -> tuple[list[S], list[S]]:
    """(train, validation): whole sources leave train until `count` examples have, so no context is in both.

    Args:
        count: None for a tenth, at most `MOST_HELD_OUT`.

    Raises:
        DataError: nothing would be left to train on.
    """
    if count is None:
        count = min(MOST_HELD_OUT, len(examples) // 10)
    sources: dict[str, list[S]] = {}
    for position, example in enumerate(examples):
        sources.setdefault(example.source or str(position), []).append(example)
    names = sorted(sources)
    random.Random(seed).shuffle(names)
    validation: list[S] = []
    while names and len(validation) < count:
        validation += sources[names.pop()]
    train = [example for name in names for example in sources[name]]
    if not train:
        raise DataError(
            f"{len(examples)} examples, {count} of them for validation: none is left to train on; lower --validation"
        )
    return train, validation
