"""One name for the content of records, wherever they were read from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, is_dataclass

from pydantic import BaseModel


def digest_of(records: Iterable[object]) -> str:
    """SHA-256 in hex over the records in their order, each as JSON; the order of their fields does not count.

    What they are: objects of a file, dataclasses, messages, or lists of these.
    """
    whole = hashlib.sha256()
    for record in records:
        whole.update(json.dumps(record, sort_keys=True, default=_plain).encode() + b"\n")
    return whole.hexdigest()


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    # Data of a hub may hold dates and the like.
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else str(value)
