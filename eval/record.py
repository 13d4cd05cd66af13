"""Put measured scores on an adapter's card: `python -m eval.record RESULT.json --against BASE.json`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from assistant.catalog import Catalog, Score
from assistant.errors import EvaluationError, SwapboardError
from assistant.messages import BASE
from assistant.settings import load_settings
from assistant.training.publish import record_scores


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m eval.record", description="Put scores on an adapter's card.")
    parser.add_argument("result", type=Path, help="what eval.run wrote for the adapter")
    parser.add_argument("--against", required=True, type=Path, help="what eval.run wrote for the base")
    options = parser.parse_args(arguments)
    try:
        result, against = read(options.result), read(options.against)
        scores = card_scores(result, against)
        adapter = Catalog(load_settings().adapters_dir).get(result["adapter"])
        if adapter.digest != result["adapter_digest"]:
            raise EvaluationError(f"{options.result} measured another revision of {adapter.name!r}; measure it again")
        record_scores(adapter.folder, scores)
    except SwapboardError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def read(path: Path) -> dict[str, Any]:
    """Raises EvaluationError where the file cannot be read or is no result of a task asked by adapter."""
    try:
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EvaluationError(f"{path}: cannot be read: {error}") from error
    if not isinstance(result, dict) or not {"adapter", "task", "data", "metrics", "command"} <= result.keys():
        raise EvaluationError(f"{path}: not a result of eval.run for an adapter or the base")
    return result


def card_scores(result: dict[str, Any], against: dict[str, Any]) -> list[Score]:
    """Scores as cards hold them, the base's own beside them.

    Raises:
        EvaluationError: the two do not belong together: another task, data, number of examples or base.
    """
    if result["adapter"] == BASE or against["adapter"] != BASE:
        raise EvaluationError(
            f"got {result['adapter']!r} against {against['adapter']!r}; allowed: an adapter against base"
        )
    for key in ("task", "data", "count", "base_digest"):
        if result[key] != against[key]:
            raise EvaluationError(
                f"{key}: the adapter has {result[key]!r}, the base {against[key]!r}; allowed: the same"
            )
    return [
        Score(
            metric=name,
            value=measure["value"],
            low=measure["low"],
            high=measure["high"],
            base=against["metrics"][name]["value"],
            data=result["data"],
            command=f"{against['command']}\n{result['command']}",
            date=result["date"],
            commit=result["commit"],
        )
        for name, measure in result["metrics"].items()
    ]


if __name__ == "__main__":
    sys.exit(main())
