"""Put measured scores on an adapter's card: `python -m eval.record RESULT.json [--against BASE.json]`.

A reward adapter is held against length and a coin, which its result has beside its own figures; any other against the
base, on the same examples.
"""

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
from eval.tasks import reward


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m eval.record", description="Put scores on an adapter's card.")
    parser.add_argument("result", type=Path, help="what eval.run wrote for the adapter")
    parser.add_argument("--against", type=Path, help="what eval.run wrote for the base; not for rewards")
    options = parser.parse_args(arguments)
    try:
        result = read_result(options.result)
        scores = card_scores(result, None if options.against is None else read_result(options.against))
        adapter = Catalog(load_settings().adapters_dir).get(result["adapter"])
        if adapter.digest != result["adapter_digest"]:
            raise EvaluationError(f"{options.result} measured another revision of {adapter.name!r}; measure it again")
        record_scores(adapter.folder, scores)
    except SwapboardError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def card_scores(result: Result, against: Result | None) -> list[Score]:
    """Scores as cards hold them, the base's own beside them where it has any.

    Raises:
        EvaluationError: the two do not belong together: no adapter against the base, another task, other data,
            other examples or another base; or a reward against anything, as the base gives none.
    """
    if result["task"] != reward.NAME:
        check_base(result, against)
    elif against is not None:
        raise EvaluationError("--against: the base gives no rewards; a reward's result has length and a coin beside it")
    base = against or {}
    constraint, base_constraint = _constraint(result), _constraint(base)
    bases = base.get("metrics", {})
    commands = [result["command"]] if against is None else [against["command"], result["command"]]
    return [
        Score(
            metric=name,
            value=measure["value"],
            low=measure["low"],
            high=measure["high"],
            base=bases[name]["value"] if bases else None,
            base_date=base.get("date"),
            base_commit=base.get("commit"),
            data=result["data"],
            command="\n".join(commands),
            date=result["date"],
            commit=result["commit"],
            count=result["count"],
            mode=result.get("mode"),
            constraint=constraint,
            base_constraint=None if base_constraint == constraint else base_constraint or "nothing",
        )
        for name, measure in result["metrics"].items()
    ]


def _constraint(result: Result) -> str | None:
    """What the requests held answers to, beyond what the adapter's card says; None where nothing was asked."""
    decoding = result.get("config", {}).get("decoding", {})
    told = [kind.get("constraint") for kind in decoding.values() if isinstance(kind, dict)]
    return next((constraint for constraint in told if constraint is not None), None)


def check_base(result: Result, against: Result | None) -> None:
    """Raises EvaluationError unless these are an adapter and its base, measured alike."""
    if against is None:
        raise EvaluationError(f"--task {result['task']} is held against the base; give --against BASE.json")
    names = [each.get("adapter") for each in (result, against)]
    if names[0] in (BASE, None) or names[1] != BASE:
        raise EvaluationError(f"got {names[0]!r} against {names[1]!r}; allowed: an adapter against base")
    check_same_examples(result, against)
    if unshared := result["metrics"].keys() ^ against["metrics"].keys():
        raise EvaluationError(
            f"metrics: only one of both has {', '.join(sorted(unshared))}; allowed: the base asked in the same way, "
            "in mode rag where the adapter was, and measured again where the figure is newer"
        )
    if result["base_digest"] != against["base_digest"]:
        raise EvaluationError(
            f"base_digest: {result['base_digest']!r} and {against['base_digest']!r}; allowed: the same in both"
        )


if __name__ == "__main__":
    sys.exit(main())
