"""May a new adapter be offered to users? Measure it beside what it would replace, and let it in if so.

`python -m eval.gate --candidate FOLDER --against NAME|base --aim reward=ADAPTER:PROMPTS|TASK:METRIC[=DATA]
--tasks TASK[:METRIC][=DATA] … --out PATH.json`; exit status 1 where it may not.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from assistant.base_model import load_base
from assistant.build import build_intake
from assistant.catalog import Catalog, Gate, check_name
from assistant.errors import EvaluationError, SwapboardError
from assistant.messages import BASE
from assistant.settings import load_settings
from assistant.training.options import finite
from eval.command import CONCURRENCY, check_concurrency, check_out, check_temperature, write
from eval.gate.gate import Question, judge
from eval.gate.reward import Drawing
from eval.gate.spec import read_aim, read_measured


def main(arguments: Sequence[str] | None = None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        gate = run(parse(given), command="python -m eval.gate " + shlex.join(given))
    except SwapboardError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    show(gate)
    return 0 if gate.verdict == "passed" else 1


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m eval.gate", description="May a new adapter be offered to users?")
    add = parser.add_argument
    add("--candidate", required=True, type=Path, help="folder of the new adapter, outside the catalogue")
    add("--against", required=True, help="what it would replace: a name in the catalogue, or base")
    add("--aim", required=True, help="reward=ADAPTER:PROMPTS or TASK:METRIC[=DATA]: where it must be better")
    add("--tasks", required=True, nargs="+", metavar="TASK[:METRIC][=DATA]", help="where it must be no worse")
    add(
        "--margin",
        type=finite,
        help="most that may be lost on a task, to be shown; only sure losses count unless given",
    )
    add("--name", help="its name in the catalogue; that of --against, or of the folder where that is the base")
    add("--mode", choices=("prompt", "tuned"), help="how tasks are asked; follows from the candidate's card")
    add("--limit", type=int, help="this many examples of each task, drawn at random with --seed")
    add("--seed", type=int, default=0)
    add("--new-tokens", type=int, default=96, help="most tokens of an answer that a reward adapter judges")
    add("--draws", type=int, default=1, help="answers to each prompt that a reward adapter judges")
    add("--temperature", type=finite, default=0.0, help="of those answers; 0 is greedy, which one draw is enough for")
    add("--concurrency", type=int, default=CONCURRENCY, help="requests asked at the same time")
    add("--out", required=True, type=Path, help="JSON file to write")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace, command: str) -> Gate:
    """Measure, write the report, and take the candidate into the catalogue if it has passed.

    Raises:
        EvaluationError: an option is out of bounds, or the report cannot be written.
        EvaluationError, AdapterError, DataError: see `eval.gate.gate.judge`.
        AdapterRejected: it has passed and cannot be taken in all the same.
    """
    for name in ("limit", "new_tokens", "draws"):
        if (value := getattr(options, name)) is not None and value < 1:
            raise EvaluationError(f"--{name.replace('_', '-')} {value}: allowed are numbers from 1")
    if options.margin is not None and options.margin < 0:
        raise EvaluationError(f"--margin {options.margin:g}: allowed are numbers from 0")
    check_temperature(options.temperature)
    settings = load_settings()
    check_concurrency(options.concurrency, settings)
    check_out(options.out)
    name = options.name or (options.candidate.name if options.against == BASE else options.against)
    check_name(name)
    question = Question(
        candidate=options.candidate,
        against=options.against,
        aim=read_aim(options.aim),
        tasks=tuple(map(read_measured, options.tasks)),
        margin=options.margin,
        mode=options.mode,
        limit=options.limit,
        seed=options.seed,
        drawing=Drawing(options.draws, options.temperature, options.new_tokens, options.seed),
        concurrency=options.concurrency,
    )
    gate = asyncio.run(judge(settings, question, command))
    write(options.out, {"kind": "gate", "candidate": str(options.candidate), **gate.model_dump(mode="json")})
    if gate.verdict == "passed":
        # A running server reads the folder anew with the next request; those in flight finish on what they began with.
        base = load_base(settings.base, settings.dtype, settings.data_dir)
        build_intake(settings, base, Catalog(settings.adapters_dir)).admit(options.candidate, name)
    return gate


def show(gate: Gate) -> None:
    print(f"{'figure':28}{gate.against[:10]:>10}{'this':>10}{'gain':>10}   95 % interval{'p':>13}")
    for one in (gate.aim, *gate.harness):
        interval = f"{one.low:+.4f} to {one.high:+.4f}"
        print(f"{one.figure:28}{one.against:10.4f}{one.candidate:10.4f}{one.gain:+10.4f}   {interval}{one.p:9.4f}")
    print("\n".join([gate.verdict, *gate.reasons]))


if __name__ == "__main__":
    sys.exit(main())
