"""Put measured scores on an adapter's card: `python -m eval.record RESULT.json --against BASE.json`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from assistant.catalog import Catalog, Score
from assistant.errors import EvaluationError, SwapboardError
from assistant.messages import BASE
from assistant.settings import load_settings
from assistant.training.publish import record_scores
from eval.results import Result, check_same_examples, read_result


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m eval.record", description="Put scores on an adapter's card.")
    parser.add_argument("result", type=Path, help="what eval.run wrote for the adapter")
    parser.add_argument("--against", required=True, type=Path, help="what eval.run wrote for the base")
    options = parser.parse_args(arguments)
    try:
        result, against = read_result(options.result), read_result(options.against)
        scores = card_scores(result, against)
        adapter = Catalog(load_settings().adapters_dir).get(result["adapter"])
        if adapter.digest != result["adapter_digest"]:
            raise EvaluationError(f"{options.result} measured another revision of {adapter.name!r}; measure it again")
        record_scores(adapter.folder, scores)
    except SwapboardError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def card_scores(result: Result, against: Result) -> list[Score]:
    """Scores as cards hold them, the base's own beside them.

    Raises:
        EvaluationError: the two do not belong together: no adapter against the base, another task, other data,
            other examples or another base.
    """
    names = [each.get("adapter") for each in (result, against)]
    if names[0] in (BASE, None) or names[1] != BASE:
        raise EvaluationError(f"got {names[0]!r} against {names[1]!r}; allowed: an adapter against base")
    check_same_examples(result, against)
    if result["base_digest"] != against["base_digest"]:
        raise EvaluationError(
            f"base_digest: {result['base_digest']!r} and {against['base_digest']!r}; allowed: the same in both"
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
