"""Data files → training examples. What is wrong in a file is named with its line."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assistant.errors import DataError
from assistant.messages import Message
from assistant.prompt import Prompter
from assistant.training.tasks import Record, Task

HUB = "hub:"


@dataclass(frozen=True)
class Example:
    """Token ids of one prompt as served and of its answer, end-of-turn token included.

    Examples with equal `group` are likely to begin with the same tokens.
    """

    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    group: str = ""

    def __len__(self) -> int:
        return len(self.prompt) + len(self.answer)


def read_records(data: str, task: Task, split: str = "train") -> list[Record]:
    """All records of a JSON lines file, or of a dataset on the hub.

    Args:
        data: a path, `hub:ID` or `hub:ID@SPLIT`.
        split: the split of a hub dataset that names none.

    Raises:
        DataError: the file is absent or empty, a line is no JSON object, a field is missing, or a
            value is not allowed; names file and line.
    """
    records: list[Record] = []
    rows = _from_hub(data.removeprefix(HUB), split) if data.startswith(HUB) else _from_file(Path(data))
    for where, record in rows:
        missing = [name for name in task.fields if name not in record]
        if missing:
            raise DataError(f"{where}: no field {missing[0]!r}; a {task.name} record has {', '.join(task.fields)}")
        if (fault := task.check(record)) is not None:
            raise DataError(f"{where}: {fault}")
        records.append(record)
    if not records:
        raise DataError(f"{data}: empty; allowed: one {task.name} record per line")
    return records


def _from_file(path: Path) -> Iterator[tuple[str, Record]]:
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


def _from_hub(name: str, split: str) -> Iterator[tuple[str, Record]]:
    # Imported here: only this source needs it, and it takes seconds.
    from datasets import ClassLabel, load_dataset
    from datasets.exceptions import DatasetNotFoundError

    name, _, named = name.partition("@")
    try:
        rows = load_dataset(name, split=named or split)
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


def sample(records: list[Record], limit: int | None, seed: int) -> list[Record]:
    """At most `limit` records, drawn at random."""
    return records if limit is None or limit >= len(records) else random.Random(seed).sample(records, limit)


def build_examples(
    records: Sequence[Record], task: Task, prompter: Prompter, max_tokens: int, seed: int
) -> tuple[list[Example], int]:
    """Render records as they are served. Returns the examples and how many were longer than `max_tokens`.

    The form of each request is drawn once per group, so that a group keeps its common first tokens.

    Raises:
        DataError: every record is longer than `max_tokens` tokens.
    """
    forms: dict[str, int] = {}
    examples = []
    for position, record in enumerate(records):
        group = task.group(record)
        draw = random.Random(f"{seed}:{group or position}")
        form = forms.setdefault(
            group or str(position),
            0 if draw.random() < task.plain_share else draw.randrange(1, len(task.forms)),
        )
        turns = (
            Message(role="user", content=task.forms[form](record)),
            Message(role="assistant", content=task.answer(record)),
        )
        prompt, answer = prompter.render_example(turns, task.template)
        if len(prompt) + len(answer) <= max_tokens:
            examples.append(Example(tuple(prompt), tuple(answer), group))
    if not examples:
        raise DataError(f"all {len(records)} examples are longer than {max_tokens} tokens; raise --max-tokens")
    return examples, len(records) - len(examples)


def split_validation(examples: Sequence[Example], count: int, seed: int) -> tuple[list[Example], list[Example]]:
    """(train, validation): whole groups leave train until `count` examples have, so no context is in both.

    Raises:
        DataError: nothing would be left to train on.
    """
    groups: dict[str, list[Example]] = {}
    for position, example in enumerate(examples):
        groups.setdefault(example.group or str(position), []).append(example)
    names = sorted(groups)
    random.Random(seed).shuffle(names)
    validation: list[Example] = []
    while names and len(validation) < count:
        validation += groups[names.pop()]
    train = [example for name in names for example in groups[name]]
    if not train:
        raise DataError(f"{len(examples)} examples, {count} of them for validation: none is left to train on")
    return train, validation
