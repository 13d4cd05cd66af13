"""Averages adapters of one task into one: a uniform soup (Wortsman et al. 2022, arXiv:2203.05482).

`python -m assistant.training.soup --adapters runs/one/qa runs/two/qa --out adapters/qa`

What is averaged is each layer's change of the base, B A times its scale, and of the mean the best approximation of the
wanted rank is kept (PEFT's `add_weighted_adapter`, by singular values). Trainings that began alike and went apart
usually meet in a better place than either found, and serving the mean costs no more than serving one.

With `--task` the adapters may be of several tasks, and `--weight` says how much of each change is taken: task arithmetic
(Ilharco et al. 2023, arXiv:2212.04089). What comes out does a little of everything, and is a start for training.
"""

from __future__ import annotations

import argparse
import json
import logging
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from peft import PeftModel

from assistant.base_model import load_base
from assistant.catalog import CARD_FILE, CONFIG_FILE, REWARD_TASK, Card, content_digest, read_adapter
from assistant.errors import SettingsError, SwapboardError
from assistant.settings import load_settings
from assistant.training.options import positive
from assistant.training.provenance import commit, today
from assistant.training.publish import check_target, publish
from assistant.training.tasks.registry import TASKS

log = logging.getLogger(__name__)

LORA = "LORA"


def main(arguments: Sequence[str] | None = None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options = parse(given)
    try:
        average(options, command="python -m assistant.training.soup " + shlex.join(given))
    except SwapboardError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m assistant.training.soup", description="Average adapters.")
    add = parser.add_argument
    add("--adapters", nargs="+", type=Path, required=True, metavar="FOLDER", help="LoRA adapters of one task and base")
    add("--out", type=Path, required=True, help="folder of the mean, e.g. adapters/NAME")
    add("--rank", type=positive(int), help="rank of the mean; that of the first unless given")
    add("--task", choices=sorted(TASKS), help="what comes out is of this task, whatever the adapters are for")
    add("--weight", type=positive(float), metavar="W", help="how much of each change is taken; 1/N of N adapters")
    add("--replace", action="store_true", help="replace the adapter that is there")
    return parser.parse_args(arguments)


def average(options: argparse.Namespace, command: str) -> Path:
    """Publish the mean; its card tells of every adapter in it.

    Raises:
        SettingsError: fewer than two adapters, or some that do not go together; says which.
        AdapterConflict: the adapter exists and is not to be replaced.
    """
    check_target(options.out, options.replace)
    if len(options.adapters) < 2:
        raise SettingsError("--adapters: a mean is of two adapters or more")
    settings = load_settings()
    base = load_base(settings.base, "float32", settings.data_dir)
    cards = [_read(folder, base.digest) for folder in options.adapters]
    if options.task is None:
        _check_alike(options.adapters, cards)
    weight = options.weight or 1 / len(cards)
    names = [f"a{number}" for number in range(len(cards))]
    first = read_adapter(options.adapters[0])
    if (rank := options.rank or first.rank) is None:
        raise SettingsError(f"{first.folder}: {first.error}")
    model: Any = PeftModel.from_pretrained(base.model, str(options.adapters[0]), adapter_name=names[0])
    for name, folder in zip(names[1:], options.adapters[1:], strict=True):
        model.load_adapter(str(folder), adapter_name=name)
    # PEFT copies the first config: the factors of the sum are of one rank, and hold its scale already.
    copied = model.peft_config[names[0]]
    copied.use_rslora, copied.rank_pattern, copied.alpha_pattern = False, {}, {}
    model.add_weighted_adapter(
        names, [weight] * len(names), "mean", combination_type="svd", svd_rank=rank, svd_full_matrices=False
    )

    def write(folder: Path) -> None:
        # PEFT puts an adapter that is not called "default" into a folder of its name.
        model.save_pretrained(str(folder), selected_adapters=["mean"], save_embedding_layers=False)
        for path in (folder / "mean").iterdir():
            path.replace(folder / path.name)
        (folder / "mean").rmdir()
        (folder / "README.md").unlink(missing_ok=True)

    digests = [content_digest(folder) for folder in options.adapters]
    account = _account([card["training"] for card in cards], digests, command, rank)
    card = Card.model_validate({**cards[0], "scores": [], "gate": None, "conversion": None, **_of_task(options.task)})
    log.info("%d adapters, %.3g of each, at rank %d: %s", len(cards), weight, rank, options.out)
    return publish(write, card, account, options.out, options.replace)


def _read(folder: Path, base_digest: str) -> dict[str, Any]:
    """The card of a LoRA that was trained here. Raises SettingsError where there is none for this base."""
    try:
        card = json.loads((folder / CARD_FILE).read_text(encoding="utf-8"))
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        kind, digest, _ = config["peft_type"], card["base_digest"], card["training"]["command"]
    except (OSError, ValueError, KeyError) as error:
        raise SettingsError(f"{folder}: no adapter that was trained here can be read there: {error}") from error
    if kind != LORA or config.get("use_dora"):
        raise SettingsError(f"{folder}: its type is {'DORA' if kind == LORA else kind}; allowed: {LORA}")
    if config.get("task_type") == REWARD_TASK:
        raise SettingsError(
            f"{folder}: it is a reward adapter, and a mean would be without the head that gives the score"
        )
    if digest != base_digest:
        raise SettingsError(f"{folder}: it was made for base {card['base_name']} ({digest[:12]}), not for this one")
    return cast(dict[str, Any], card)


def _check_alike(folders: Sequence[Path], cards: Sequence[Mapping[str, Any]]) -> None:
    """Raises SettingsError where an adapter is asked in another way than the first."""
    for folder, card in zip(folders[1:], cards[1:], strict=True):
        for key in ("task", "template", "decoding"):
            if card[key] != cards[0][key]:
                raise SettingsError(f"{folder}: {key} is {card[key]!r}; of {folders[0]} it is {cards[0][key]!r}")


def _of_task(name: str | None) -> dict[str, Any]:
    """What a card says of a task, for one that the adapters are not all of."""
    if name is None:
        return {}
    task = TASKS[name]
    return {
        "task": task.name,
        "description": task.description,
        "examples": task.card_examples,
        "template": task.template,
        "decoding": task.decoding,
    }


def _account(trainings: Sequence[Mapping[str, Any]], digests: Sequence[str], command: str, rank: int) -> dict[str, Any]:
    """How the mean came about: what all trainings have in common, their data and recipes together, and the commands of
    all."""
    by_data = {training["data"]: training for training in trainings}
    reports = [training["report"] for training in trainings]
    settings = [training["hyperparameters"] for training in trainings]
    recipes = dict.fromkeys(recipe for chosen in settings for recipe in chosen["recipe"].split(", "))
    counts = {
        key: sum(training["report"][key] for training in by_data.values())
        for key in ("train_examples", "validation_examples")
    }
    return {
        "command": "\n".join([*dict.fromkeys(training["command"] for training in trainings), command]),
        "data": " ".join(by_data),
        "data_note": "; ".join(dict.fromkeys(training["data_note"] for training in by_data.values())),
        "skipped": sum(training["skipped"] for training in by_data.values()),
        "max_tokens": max(training["max_tokens"] for training in trainings),
        "date": today(),
        "commit": commit(),
        "hyperparameters": {**_common(settings), "recipe": ", ".join(recipes), "rank": rank},
        "report": {
            **{key: value for key, value in _common(reports).items() if not key.endswith("_loss")},
            **counts,
            "seconds": round(sum(report["seconds"] for report in reports), 1),
            "averaged": len(trainings),
        },
        "ingredients": list(digests),
    }


def _common(accounts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The entries that are the same in all."""
    first, *others = accounts
    return {key: value for key, value in first.items() if all(other.get(key) == value for other in others)}


if __name__ == "__main__":
    sys.exit(main())
