"""Command lines of small runs, and what they leave."""

from __future__ import annotations

import csv
import json
from pathlib import Path

OPTIONS = {"data": "pairs.jsonl", "validation": 6, "rank": 2, "batch-size": 4, "epochs": 4, "lr": 0.01}


def command(recipe: str, **changes: object) -> list[str]:
    """Options of a run in the folder of the `place` fixture; None leaves an option out, a list gives it many values."""
    parts = ["--recipe", recipe]
    for key, value in {**OPTIONS, "out": f"adapters/{recipe}", **changes}.items():
        if value is not None:
            parts += [f"--{key.replace('_', '-')}", *map(str, value if isinstance(value, list) else [value])]
    return parts


def report(place: Path, name: str) -> dict:
    [path] = place.glob(f"runs/{name}-*/report.json")
    return json.loads(path.read_text(encoding="utf-8"))


def curve(place: Path, name: str, column: str) -> list[float]:
    [path] = place.glob(f"runs/{name}-*/loss.csv")
    with path.open(newline="", encoding="utf-8") as file:
        return [float(row[column]) for row in csv.DictReader(file) if row[column]]
