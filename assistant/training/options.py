"""The command line of a training."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    from assistant.training.recipes import OBJECTIVES, RECIPES
    from assistant.training.tasks.registry import TASKS

    parser = argparse.ArgumentParser(prog="python -m assistant.training.run", description="Train one adapter.")
    add = parser.add_argument
    add(
        "--recipe",
        required=True,
        choices=[*sorted(RECIPES), *OBJECTIVES],
        help="which weights are trained, or how preferences are learnt from",
    )
    add("--task", choices=sorted(TASKS), help="what is learnt; preferences need none")
    add("--out", required=True, type=Path, help="folder of the adapter, e.g. adapters/NAME")
    add("--replace", action="store_true", help="replace the adapter that is there")
    add("--dtype", choices=("auto", "float32", "bfloat16"), help="type of the base; SWAPBOARD_DTYPE unless given")
    _add_data(parser.add_argument_group("data"))
    _add_mixture(parser.add_argument_group("several kinds of records"))
    _add_training(parser.add_argument_group("training"))
    _add_preference(parser.add_argument_group("preferences: reward, dpo, kto, grpo"))
    options = parser.parse_args(arguments)
    if options.recipe in RECIPES and options.task is None:
        parser.error(f"--recipe {options.recipe} needs a --task")
    _settle(parser, options, supervised=sorted(RECIPES))
    return options


def _settle(parser: argparse.ArgumentParser, options: argparse.Namespace, supervised: Sequence[str]) -> None:
    """Refuse options that the recipe does not have, and put in the defaults of those that it has."""
    grpo = ("grpo",)
    # Whose an option is, and what it is unless given.
    own: dict[str, tuple[Sequence[str], object]] = {
        **dict.fromkeys(("task", "per_label", "curriculum", "layers"), (supervised, None)),
        **dict.fromkeys(("raw_text", "raw_fields", "weights"), (supervised, [])),
        "raw_epochs": (supervised, 1.0),
        "sampling": (supervised, "proportional"),
        "sampling_temperature": (supervised, 2.0),
        "row_tokens": (supervised, 512),
        "beta": (("dpo", "kto", "grpo"), None),
        "centre": (("reward",), None),
        "reward": (grpo, None),
        "judge": (grpo, None),
        "generations": (grpo, 4),
        "new_tokens": (grpo, 96),
        "temperature": (grpo, 1.0),
        "iterations": (grpo, 2),
        "epsilon": (grpo, 0.2),
    }
    for option, needed, is_there in (
        ("raw_fields", "--raw-text", options.raw_text),
        ("raw_epochs", "--raw-text", options.raw_text),
        ("sampling_temperature", "--sampling temperature", options.sampling == "temperature"),
    ):
        if getattr(options, option) is not None and not is_there:
            parser.error(f"{_flag(option)} goes with {needed}, which is not given")
    if options.raw_fields is not None and not any(path.suffix == ".jsonl" for path in options.raw_text):
        parser.error("--raw-fields are of JSON lines, and no file of --raw-text ends in .jsonl")
    if options.patience is not None and options.save_steps is not None:
        parser.error("--save-steps: with --patience a checkpoint is written at every measurement")
    options.save_steps = options.save_steps or 25
    for option, (recipes, default) in own.items():
        if getattr(options, option) is None:
            setattr(options, option, default if options.recipe in recipes else None)
        elif options.recipe not in recipes:
            named = "the recipes that learn a task" if recipes is supervised else ", ".join(recipes)
            parser.error(f"recipe {options.recipe!r} has no {_flag(option)}; it is of {named}")


def _flag(option: str) -> str:
    return f"--{option.replace('_', '-')}"


def _add_data(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--data",
        required=True,
        nargs="+",
        metavar="[KIND=]SOURCE[#N]",
        help="JSON lines files, hub:ID for a dataset on the hub, or made:prescriptions; with #N, N of its records",
    )
    add("--data-note", default="source not stated", help="source and licence of the data, for the card")
    add("--limit", type=positive(int), help="use this many records, drawn at random")
    add("--per-label", type=positive(int), help="this many examples of each label, rare ones repeated")
    add(
        "--validation",
        type=_count,
        help="examples held out of the data; 0 for none; a tenth, at most 200, unless given",
    )
    add("--max-tokens", type=positive(int), default=384, help="longer examples are left out")
    add("--raw-text", nargs="+", type=Path, metavar="PATH", help="text to go on pre-training on first")
    add("--raw-fields", nargs="+", metavar="FIELD", help="fields of raw JSON lines that hold the text")
    add("--raw-epochs", type=positive(float), help="times the raw text is read; 1 unless given")


def _add_mixture(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--sampling",
        choices=("proportional", "temperature", "equal"),
        help="share of each kind: by its size (the default), by its size to the power 1/T, or the same for all",
    )
    add("--sampling-temperature", type=positive(float), metavar="T", help="2 unless given")
    add("--weights", nargs="+", type=_weight, metavar="KIND=W", help="how much the loss of a kind counts")
    add("--curriculum", choices=("easy-to-hard",), help="easy is what the base's own loss is low on")


def _add_training(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--start-from", type=Path, metavar="FOLDER", help="an adapter of the same recipe whose weights are the first")
    add("--epochs", type=positive(float), default=1.0)
    add("--lr", type=positive(float), help="peak learning rate; the recipe's unless given")
    add("--scheduler", choices=("linear", "cosine", "constant"), default="linear", help="rate after the warm-up")
    add("--warmup", type=_share, default=0.05, help="share of the steps with a rising rate")
    add("--rank", type=positive(int), help="rank, virtual tokens or bottleneck width; the recipe's unless given")
    add("--layers", type=positive(int), metavar="N", help="last-layers: how many; 4 unless given")
    add("--row-tokens", type=positive(int), help="tokens of one forward pass; 512 unless given")
    add(
        "--batch-size",
        type=positive(int),
        help="forward passes per step, 1 unless given; of preferences: pairs, answers or prompts per step",
    )
    add(
        "--patience",
        type=positive(int),
        metavar="N",
        help="end after N measurements without a better one; keep the best",
    )
    add("--save-steps", type=positive(int), help="steps between checkpoints; 25 unless given")
    add("--seed", type=int, default=0)


def _add_preference(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--beta", type=finite, help="weight of the divergence from the start: dpo, kto, grpo")
    add("--centre", type=finite, help="weight that holds rewards around zero: reward; 0 for none")
    add("--reward", type=Path, metavar="FOLDER", help="grpo: the reward adapter that is learnt from")
    add("--judge", type=Path, metavar="FOLDER", help="grpo: another reward adapter, which only watches")
    add("--generations", type=positive(int), help="grpo: answers drawn to each prompt; 4 unless given")
    add("--new-tokens", type=positive(int), help="grpo: most tokens of an answer; 96 unless given")
    add("--temperature", type=positive(float), help="grpo: of the answers drawn; 1 unless given")
    add("--iterations", type=positive(int), help="grpo: steps on the same answers; 2 unless given")
    add("--epsilon", type=positive(float), help="grpo: how far ratios may go before they are clipped; 0.2 unless given")


def finite(text: str) -> float:
    """A number, and neither nan nor inf: those pass for numbers until something is computed with them."""
    value = float(text)
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text}: allowed are finite numbers")
    return value


def positive(kind: type[int] | type[float]) -> Callable[[str], float]:
    def convert(text: str) -> float:
        value = finite(text) if kind is float else kind(text)
        if value <= 0:
            raise argparse.ArgumentTypeError(f"{text}: allowed are numbers above 0")
        return value

    return convert


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text}: allowed are whole numbers from 0")
    return int(text)


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text}: allowed are numbers from 0, below 1")
    return value


def _weight(text: str) -> tuple[str, float]:
    kind, equals, number = text.partition("=")
    if not equals or not kind:
        raise argparse.ArgumentTypeError(f"{text!r}: allowed is KIND=W, e.g. qa=2")
    return kind, positive(float)(number)
