"""Train one adapter: `python -m assistant.training.run --recipe R --task T --data PATH|hub:ID --out adapters/NAME`.

The same command, given again after a kill, goes on from the last checkpoint.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from assistant.errors import SwapboardError

log = logging.getLogger(__name__)

RUNS = Path("runs")


def main(arguments: Sequence[str] | None = None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        options = parse(given)
        train(options, command="python -m assistant.training.run " + shlex.join(given))
    except SwapboardError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    from assistant.training.recipes import RECIPES
    from assistant.training.tasks.registry import TASKS

    parser = argparse.ArgumentParser(prog="python -m assistant.training.run", description="Train one adapter.")
    parser.add_argument("--recipe", required=True, choices=sorted(RECIPES), help="which weights are trained")
    parser.add_argument("--task", required=True, choices=sorted(TASKS), help="what is learnt")
    parser.add_argument(
        "--data",
        required=True,
        nargs="+",
        metavar="[KIND=]SOURCE",
        help="JSON lines files, hub:ID for a dataset on the hub, or made:prescriptions",
    )
    parser.add_argument("--data-note", default="source not stated", help="source and licence of the data, for the card")
    parser.add_argument("--out", required=True, type=Path, help="folder of the adapter, e.g. adapters/NAME")
    parser.add_argument("--epochs", type=_positive(float), default=1.0)
    parser.add_argument("--lr", type=_positive(float), help="peak learning rate; the recipe's unless given")
    parser.add_argument("--rank", type=_positive(int), help="LoRA rank or virtual tokens; the recipe's unless given")
    parser.add_argument("--limit", type=_positive(int), help="use this many records, drawn at random")
    parser.add_argument("--per-label", type=_positive(int), help="this many examples of each label, rare ones repeated")
    parser.add_argument("--validation", type=int, default=200, help="examples held out of the data; 0 for none")
    parser.add_argument("--max-tokens", type=_positive(int), default=384, help="longer examples are left out")
    parser.add_argument("--row-tokens", type=_positive(int), default=512, help="tokens of one forward pass")
    parser.add_argument("--batch-size", type=_positive(int), default=1, help="forward passes per step")
    parser.add_argument("--warmup", type=float, default=0.05, help="share of the steps with a rising rate")
    parser.add_argument("--save-steps", type=_positive(int), default=25, help="steps between checkpoints")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--replace", action="store_true", help="replace the adapter that is there")
    return parser.parse_args(arguments)


def _positive(kind: type[int] | type[float]) -> Callable[[str], float]:
    def convert(text: str) -> float:
        value = kind(text)
        if value <= 0:
            raise argparse.ArgumentTypeError(f"{text}: allowed are numbers above 0")
        return value

    return convert


def train(options: argparse.Namespace, command: str) -> Path:
    """Do what the command line says; returns the adapter's folder.

    Raises:
        DataError: the data is wrong; names file and line.
        AdapterConflict: the adapter exists and is not to be replaced.
    """
    # Torch and PEFT take seconds to import: a wrong option is answered before.
    from assistant.base_model import load_base
    from assistant.catalog import Card
    from assistant.prompt import Prompter
    from assistant.settings import load_settings
    from assistant.training.data import build_examples, level_labels, read_items, sample, split_validation
    from assistant.training.provenance import commit, today
    from assistant.training.publish import check_target, publish
    from assistant.training.recipes import RECIPES, plain_name
    from assistant.training.sft import Hyperparameters, fine_tune
    from assistant.training.tasks.registry import TASKS

    task, recipe, settings, started_at = TASKS[options.task], RECIPES[options.recipe], load_settings(), commit()
    check_target(options.out, options.replace)
    items = sample(read_items(options.data, task), options.limit, options.seed)
    base = load_base(settings.base, settings.dtype, settings.data_dir)
    examples, skipped = build_examples(items, task, Prompter(base.tokenizer), options.max_tokens, options.seed)
    log.info("%d examples; %d longer than %d tokens left out", len(examples), skipped, options.max_tokens)
    training, validation = split_validation(examples, options.validation, options.seed)
    if options.per_label is not None:
        training = level_labels(training, options.per_label, options.seed)
    hyperparameters = Hyperparameters(
        recipe=recipe.name,
        rank=options.rank or recipe.rank,
        epochs=options.epochs,
        learning_rate=options.lr or recipe.learning_rate,
        row_tokens=options.row_tokens,
        accumulate=options.batch_size,
        warmup=options.warmup,
        seed=options.seed,
    )
    chosen = {
        **asdict(hyperparameters),
        "task": task.name,
        "data": options.data,
        "limit": options.limit,
        "per_label": options.per_label,
        "base": base.digest,
        "validation": options.validation,
        "max_tokens": options.max_tokens,
    }
    folder = run_folder(options.out.name, chosen)
    model, report = fine_tune(
        base, task, recipe, hyperparameters, training, validation, folder, save_steps=options.save_steps
    )
    card = Card(
        task=task.name,
        description=task.description,
        examples=task.card_examples,
        template=task.template,
        decoding=task.decoding,
        base_name=plain_name(base),
        base_digest=base.digest,
    )
    account = {
        "command": command,
        "data": " ".join(options.data),
        "data_note": options.data_note,
        "skipped": skipped,
        "max_tokens": options.max_tokens,
        "date": today(),
        "commit": started_at,
        "hyperparameters": asdict(hyperparameters),
        "report": asdict(report),
    }
    publish(model, card, account, options.out, options.replace)
    log.info("written: %s", options.out)
    return options.out


def run_folder(name: str, chosen: Mapping[str, object]) -> Path:
    """Where checkpoints lie: runs of other settings never share a folder."""
    identity = hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:8]
    folder = RUNS / f"{name}-{identity}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


if __name__ == "__main__":
    sys.exit(main())
