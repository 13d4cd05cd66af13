"""Files that `eval.run` wrote, read again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from assistant.errors import EvaluationError

Result = dict[str, Any]
FIELDS = {"task", "data", "count", "metrics", "cost", "examples", "command"}


def read_result(path: Path) -> Result:
    """Raises EvaluationError where the file cannot be read or is no result of `eval.run`."""
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EvaluationError(f"{path}: cannot be read: {error}") from error
    if not isinstance(result, dict) or not result.keys() >= FIELDS:
        missing = ", ".join(sorted(FIELDS - result.keys())) if isinstance(result, dict) else "everything"
        raise EvaluationError(
            f"{path}: not a result of eval.run, or of an older one (it lacks {missing}); measure again"
        )
    return result


def check_same_examples(first: Result, second: Result) -> None:
    """Raises EvaluationError where two runs measured another task, other data or other examples; says which.

    What an older result does not tell, the digest of its data or what was expected, is not looked at.
    """
    for key in ("task", "data", "count"):
        if first[key] != second[key]:
            raise EvaluationError(f"{key}: {first[key]!r} and {second[key]!r}; allowed: the same in both")
    digests = [result.get("data_digest") for result in (first, second)]
    if None not in digests and digests[0] != digests[1]:
        raise EvaluationError(
            f"data_digest: {first['data']} held other records in each run, {digests[0]} and {digests[1]}; "
            "allowed: the same in both"
        )
    for one, other in zip(first["examples"], second["examples"], strict=True):
        for key in ("id", "input", "text"):
            if one.get(key) != other.get(key):
                raise EvaluationError(
                    f"examples: {one.get(key)!r} and {other.get(key)!r} have the same place; allowed: the same examples"
                )
        if "expected" in one and "expected" in other and one["expected"] != other["expected"]:
            raise EvaluationError(
                f"examples: of {one.get('id')!r} {one['expected']!r} and {other['expected']!r} were expected; "
                "allowed: the same in both"
            )
