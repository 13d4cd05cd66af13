"""One training from its options to the folder it leaves."""

from __future__ import annotations

import logging
from argparse import Namespace
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast

from assistant.base_model import Base, load_base, resolve_device, resolve_dtype
from assistant.catalog import WEIGHTS_FILE, Card
from assistant.errors import DataError, SettingsError
from assistant.prompt import Prompter
from assistant.settings import Settings, load_settings
from assistant.training.course import fine_tune
from assistant.training.data import (
    Example,
    build_examples,
    level_labels,
    read_items,
    sample,
    split_validation,
)
from assistant.training.methods import Adapted, plain_name, quantised
from assistant.training.mixture import resample
from assistant.training.provenance import commit, today
from assistant.training.publish import check_model_target, check_target, publish, publish_model, published_by
from assistant.training.raw_text import raw_examples
from assistant.training.recipes import RECIPES, Recipe, chosen_size
from assistant.training.run_folder import can_go_on, close_run, examples_digest, mark_of, open_run, write_json
from assistant.training.sft import Hyperparameters
from assistant.training.start import check_base, start_digest
from assistant.training.tasks.registry import TASKS
from assistant.training.tasks.task import Task

log = logging.getLogger(__name__)

NAMED_SKIPPED = 5
"""How many left-out examples are named; all are counted."""

Type = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Corpus:
    """What is trained on, and how many examples were too long for it."""

    train: list[Example]
    validation: list[Example]
    raw: list[Example]
    skipped: int


def train(options: Namespace, command: str) -> Path:
    """Do what the command line says; returns the folder of the adapter, or of the model.

    Raises:
        DataError: the data is wrong; names file and line.
        SettingsError: an option does not fit the recipe, the task or the base, or the same training is running.
        AdapterConflict: the adapter exists and is not to be replaced.
    """
    task, recipe, settings, started_at = TASKS[options.task], RECIPES[options.recipe], load_settings(), commit()
    rank = chosen_size(recipe, options.rank, options.layers)
    items = sample(read_items(options.data, task), options.limit, options.seed)
    kinds = sorted({item.kind.name for item in items})
    if options.sampling != "proportional" and len(kinds) == 1:
        raise SettingsError(f"--sampling {options.sampling}: all records are of one kind, {kinds[0]}")
    weights = _weights(options.weights, kinds)
    targets = _targets(options, recipe, kinds, settings)
    dtype = cast(
        Type, str(resolve_dtype(options.dtype or settings.dtype, resolve_device("auto"))).removeprefix("torch.")
    )
    # What is trained of the base itself lies in float32, whatever it is computed in.
    base = load_base(settings.base, "float32" if recipe.changes_base else dtype, settings.data_dir)
    if recipe.name == "qlora":
        base = quantised(base)
    if options.start_from:
        check_base("--start-from", options.start_from, base)
    corpus = _corpus(options, items, task, base, rank if recipe.is_soft_prompt else 0)
    if len(targets) > 1:
        _check_kinds(kinds, corpus, options.max_tokens)
    hyperparameters = Hyperparameters(
        recipe=recipe.name,
        rank=rank,
        epochs=options.epochs,
        learning_rate=options.lr or recipe.learning_rate,
        row_tokens=options.row_tokens,
        accumulate=options.batch_size or 1,
        warmup=options.warmup,
        seed=options.seed,
        scheduler=options.scheduler,
        dtype=dtype,
        patience=options.patience,
        sampling=options.sampling,
        sampling_temperature=options.sampling_temperature if options.sampling == "temperature" else None,
        weights=weights,
        curriculum=options.curriculum,
        raw_epochs=options.raw_epochs if corpus.raw else None,
        started_from=start_digest(options.start_from) if options.start_from else None,
    )
    with _open_run(options, hyperparameters, base, corpus, command, started_at) as (folder, started_at):
        run = mark_of(folder)
        for target in targets.values():
            check_target(target, options.replace, lambda mark: mark == run)
        adapted, report = fine_tune(
            base,
            task,
            recipe,
            hyperparameters,
            corpus.train,
            corpus.validation,
            folder,
            save_steps=options.save_steps,
            raw=corpus.raw,
            start=options.start_from,
        )
        write_json(folder / "report.json", asdict(report))
        card = Card(
            task=task.name,
            description=task.description,
            # Prompts of several kinds would contend for the same messages: they are asked for by name.
            examples=task.card_examples if len(targets) == 1 else (),
            template=task.template,
            decoding=task.decoding,
            base_name=plain_name(base),
            base_digest=base.digest,
        )
        account = {
            "command": command,
            "data": " ".join(options.data),
            "data_note": options.data_note,
            "skipped": corpus.skipped,
            "max_tokens": options.max_tokens,
            "date": today(),
            "commit": started_at,
            "run": run,
            "hyperparameters": asdict(hyperparameters),
            "report": asdict(report),
        }
        size = _publish(adapted, targets, base, dtype, card, account, options.replace, folder, settings)
        write_json(folder / "report.json", {**asdict(report), "file_bytes": size})
        close_run(folder)
    log.info("written: %s", ", ".join(map(str, targets.values())))
    return cast(Path, options.out)


def _weights(given: Sequence[tuple[str, float]], kinds: Sequence[str]) -> dict[str, float] | None:
    for kind, _ in given:
        if kind not in kinds:
            raise SettingsError(f"--weights {kind}: the data holds no such kind; it holds {', '.join(kinds)}")
        if len(kinds) == 1:
            raise SettingsError(f"--weights {kind}: all records are of one kind, {kind}")
    return dict(given) or None


def _targets(options: Namespace, recipe: Recipe, kinds: Sequence[str], settings: Settings) -> dict[str, Path]:
    """Folders by what their names end in: one, or one for each kind of a multi-task soft prompt."""
    out: Path = options.out
    # Which of the runs that were cut off this command goes on with is known once its examples are.
    if recipe.changes_base:
        check_model_target(out, settings.adapters_dir, options.replace, can_go_on)
        return {"": out}
    targets = {"": out}
    if recipe.name == "multitask-prompt-tuning" and len(kinds) > 1:
        targets = {f"-{kind}": out.with_name(f"{out.name}-{kind}") for kind in kinds}
    for target in targets.values():
        check_target(target, options.replace, can_go_on)
    return targets


def _corpus(options: Namespace, items: Sequence[Any], task: Task, base: Base, virtual: int) -> Corpus:
    """Examples from records and raw text; `virtual` tokens of the context are a soft prompt's."""
    prompter, context = Prompter(base.tokenizer), base.context_length - virtual
    examples, skipped = build_examples(items, task, prompter, options.max_tokens, options.seed, context)
    log.info("%d examples; %d longer than %d tokens left out", len(examples), len(skipped), options.max_tokens)
    for where in skipped[:NAMED_SKIPPED]:
        log.info("left out: %s", where)
    training, validation = split_validation(examples, options.validation, options.seed)
    if options.patience is not None and not validation:
        raise SettingsError("--patience looks at the validation loss, and nothing is held out; raise --validation")
    if options.per_label is not None:
        if not any(example.label for example in training):
            raise SettingsError(f"--per-label: {task.name} records have no labels")
        training = level_labels(training, options.per_label, options.seed)
    training = resample(training, options.sampling, options.sampling_temperature, options.seed)
    raw = raw_examples(options.raw_text, options.raw_fields, prompter, min(options.max_tokens, context))
    return Corpus(training, validation, raw, len(skipped))


def _check_kinds(kinds: Sequence[str], corpus: Corpus, max_tokens: int) -> None:
    """Raises DataError where a kind that is to have a prompt of its own has nothing to train it on."""
    trained = {example.kind for example in corpus.train}
    for kind in kinds:
        if kind not in trained:
            raise DataError(
                f"no {kind} example is left to train on: all are longer than {max_tokens} tokens, or held out; "
                "raise --max-tokens, lower --validation, or leave their file out"
            )


def _open_run(
    options: Namespace, settings: Hyperparameters, base: Base, corpus: Corpus, command: str, started_at: str | None
) -> AbstractContextManager[tuple[Path, str | None]]:
    chosen = {
        **asdict(settings),
        "task": options.task,
        "data": options.data,
        "examples": examples_digest(corpus.train, corpus.validation, corpus.raw),
        "limit": options.limit,
        "per_label": options.per_label,
        "base": base.digest,
        "validation": options.validation,
        "max_tokens": options.max_tokens,
        "raw_text": [str(path) for path in options.raw_text],
        "raw_fields": options.raw_fields,
    }
    counts = {"train_examples": len(corpus.train), "raw_pieces": len(corpus.raw), "skipped": corpus.skipped}
    told = {"base_name": plain_name(base), "save_steps": options.save_steps, **counts, "command": command}
    return open_run(options.out.name, chosen, told, started_at)


def _publish(
    adapted: Adapted,
    targets: Mapping[str, Path],
    base: Base,
    dtype: Type,
    card: Card,
    account: Mapping[str, Any],
    replaces: bool,
    scratch: Path,
    settings: Settings,
) -> int:
    """Write what was trained to where it belongs, but for what this run published before it was cut off; returns the
    bytes of the weights."""
    if adapted.changes_base:
        folder = targets[""]
        if published_by(folder) != account["run"]:
            publish_model(adapted.model, base.tokenizer, resolve_dtype(dtype), card, account, folder, replaces)
        return sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    for end, write in adapted.writers().items():
        if published_by(targets[end]) == account["run"]:
            continue
        publish(
            write,
            card,
            account,
            targets[end],
            replaces,
            fresh_base=lambda: load_base(settings.base, "float32", settings.data_dir).model,
            scratch=scratch,
        )
    return sum((folder / WEIGHTS_FILE).stat().st_size for folder in targets.values())
