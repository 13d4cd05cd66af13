"""The whole circle by one command, with voters whose taste is known.

`python -m eval.loop --taste shorter|word:WORD|ending:TEXT|characters:SET [--prompts PATH] --out FOLDER`: draws answers,
has them voted on, exports the votes, trains a reward model and an adapter, holds it to the gate, serves it, and measures
on unseen prompts whether it follows the taste more. Killed, the same command goes on where it was.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from assistant.errors import EvaluationError, SwapboardError
from assistant.settings import load_settings
from assistant.training.options import finite, positive
from assistant.training.provenance import commit, today
from eval.command import check_out, check_temperature, write
from eval.loop.circle import circle, has_followed
from eval.loop.report import render
from eval.loop.tastes import FORMS

FEWEST_VOTES = 6
"""All of them right, the exact 95 % interval just lies above one half."""

PROMPTS = Path(__file__).parent / "prompts.jsonl"


def main(arguments: Sequence[str] | None = None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options = options_of(given)
    command = "python -m eval.loop " + shlex.join(given)
    try:
        for name in ("answers", "draws"):
            if not 2 <= getattr(options, name) <= 6:
                raise EvaluationError(f"--{name} {getattr(options, name)}: allowed are 2 to 6")
        if options.validation < FEWEST_VOTES:
            raise EvaluationError(
                f"--validation {options.validation}: fewer than {FEWEST_VOTES} votes show no judge to be better than a coin"
            )
        check_temperature(options.temperature)
        check_out(options.out / "report.json")
        turn = circle(options, load_settings(), command)
        head = {"kind": "loop", "command": command, "date": today(), "commit": commit()}
        result: dict[str, Any] = {
            **head,
            "taste": turn.taste.name,
            "noise": turn.taste.noise,
            **asyncio.run(turn.run()),
        }
        result["config"] = vars(options) | {
            "out": str(options.out),
            "start": turn.start,
            "prompts": str(options.prompts),
        }
        result["seconds"] = turn.seconds()
        write(options.out / "report.json", result)
        (options.out / "report.md").write_text(render(result), encoding="utf-8")
    except SwapboardError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(render(result))
    return 0 if has_followed(result) else 1


def options_of(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m eval.loop", description="One turn of the circle.")
    add = parser.add_argument
    add("--taste", required=True, help=f"of the voters: {FORMS}")
    add("--noise", type=finite, help="spread of their votes, in units of the taste; the taste's own unless given")
    add("--voters", type=positive(int), default=3, help="they take turns")
    add("--prompts", type=Path, default=PROMPTS, help="JSON lines with a prompt each; the project's own unless given")
    add("--start", type=Path, help="folder of the adapter that is to become better; the base unless given")
    add("--out", required=True, type=Path, help="folder of the run: store, catalogue, what each stage leaves, report")
    add("--answers", type=int, default=3, help="answers that are ranked, to each prompt")
    add("--temperature", type=positive(float), default=1.0, help="of all answers that are drawn")
    add("--new-tokens", type=positive(int), default=48, help="most tokens of an answer")
    add("--method", choices=("dpo", "kto", "grpo"), default="dpo", help="how the adapter is tuned")
    add("--rank", type=positive(int), default=8, help="of the reward model, and of an adapter that begins anew")
    add(
        "--validation",
        type=int,
        default=30,
        help="pairs held out of the training, of other prompts; the gate counts on them",
    )
    add("--reward-epochs", type=positive(float), default=3.0)
    add("--reward-lr", type=positive(float))
    add("--policy-epochs", type=positive(float), default=3.0)
    add("--policy-lr", type=positive(float))
    add("--beta", type=finite, help="weight of staying close to the start")
    add("--tasks", nargs="+", default=["qa", "sentiment", "perplexity"], help="where the gate wants no loss")
    add("--margin", type=finite, help="see python -m eval.gate")
    add("--limit", type=positive(int), help="examples of each of these tasks")
    add("--draws", type=int, default=4, help="answers to each unseen prompt, before and after")
    add("--seed", type=int, default=0)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
