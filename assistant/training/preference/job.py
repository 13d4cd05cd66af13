"""One run that learns from preferences, from its options to the folder it leaves."""

from __future__ import annotations

import json
import logging
from argparse import Namespace
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from peft import PeftModel
from transformers.trainer_utils import set_seed

from assistant.base_model import Base, load_base, resolve_device, resolve_dtype
from assistant.catalog import CONFIG_FILE, Card, read_card
from assistant.errors import SettingsError
from assistant.prompt import Prompter
from assistant.settings import load_settings
from assistant.training.data import sample, split_validation
from assistant.training.job import NAMED_SKIPPED
from assistant.training.methods import Adapted, adapt, plain_name
from assistant.training.preference.data import Rows, opinions, pairs, prompts, read_rows
from assistant.training.preference.pairwise import train_dpo
from assistant.training.preference.phase import Phase
from assistant.training.preference.policy import train_grpo
from assistant.training.preference.rendering import Rendering, render_all
from assistant.training.preference.reward import RewardModel, reward_digest, train_reward, write_reward
from assistant.training.preference.settings import PreferenceSettings
from assistant.training.preference.unpaired import train_kto
from assistant.training.provenance import commit, today
from assistant.training.publish import check_target, publish, published_by
from assistant.training.recipes import OBJECTIVES, RECIPES, Objective
from assistant.training.run_folder import can_go_on, close_run, examples_digest, mark_of, open_run, write_json
from assistant.training.sft import peak_memory
from assistant.training.start import check_base, start_digest, start_from
from assistant.training.tasks.sentiment import SENTIMENT

log = logging.getLogger(__name__)

REWARD, GRPO = "reward", "grpo"

DESCRIPTIONS = {
    "reward": "Scores answers by how people would prefer them; it writes none itself.",
    "dpo": "Answers closer to what people preferred, learnt from pairs of answers.",
    "kto": "Answers closer to what people liked, learnt from single ratings.",
    "grpo": "Answers closer to what a reward model prefers, learnt by reinforcement.",
}


@dataclass(frozen=True)
class Corpus:
    """Rendered rows to train and to validate on, and how many rows were left out: too long, or saying nothing."""

    train: list[Any]
    validation: list[Any]
    too_long: int
    left_out: int


def train(options: Namespace, command: str) -> Path:
    """Do what the command line says; returns the folder of the adapter.

    Raises:
        DataError: the data is wrong; names file and line.
        SettingsError: an option does not fit the recipe or the base, or the same training is running.
        AdapterConflict: the adapter exists and is not to be replaced.
    """
    objective, settings, started_at = OBJECTIVES[options.recipe], load_settings(), commit()
    check(options, objective)
    check_target(options.out, options.replace, can_go_on)
    start = read_card(options.start_from) if options.start_from else Card()
    chosen = choose(
        options,
        objective,
        str(resolve_dtype(options.dtype or settings.dtype, resolve_device("auto"))).removeprefix("torch."),
    )
    rows = read_rows(options.data)
    base = load_base(settings.base, cast(Any, chosen.dtype), settings.data_dir)
    for option in ("start_from", "reward", "judge"):
        if adapter := getattr(options, option):
            check_base(f"--{option.replace('_', '-')}", adapter, base)
    room = base.context_length - (chosen.new_tokens or 0)
    rendering = Rendering(Prompter(base.tokenizer), start.template)
    corpus = _corpus(options, objective, rows, rendering, min(options.max_tokens, room))
    with _open_run(options, chosen, base, corpus, command, started_at) as (folder, started_at):
        run = mark_of(folder)
        # Which of the runs that were cut off this command goes on with is known only now.
        check_target(options.out, options.replace, lambda mark: mark == run)
        set_seed(chosen.seed)
        adapted = _adapt(base, chosen, options.start_from)
        trained, everything = adapted.counts
        log.info("%d of %d parameters are trained (%.3f %%)", trained, everything, 100 * trained / everything)
        phase, warning, verdict = _learn(options, adapted, base, chosen, corpus, folder)
        if warning:
            log.warning("%s", warning)
        report = {
            "trained_parameters": trained,
            "all_parameters": everything,
            "trained_share": round(trained / everything, 6),
            **{key: value for key, value in asdict(phase).items() if key != "measured"},
            **phase.measured,
            "train_examples": len(corpus.train),
            "validation_examples": len(corpus.validation),
            "peak_memory_bytes": peak_memory(),
            "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        }
        write_json(folder / "report.json", {**report, "warning": warning, "against_start": verdict})
        account = {
            "command": command,
            "data": " ".join(options.data),
            "data_note": options.data_note,
            "skipped": corpus.too_long,
            "left_out": corpus.left_out,
            "max_tokens": options.max_tokens,
            "date": today(),
            "commit": started_at,
            "run": run,
            "hyperparameters": asdict(chosen),
            "report": report,
            "warning": warning,
            "against_start": verdict,
        }
        if published_by(options.out) != run:
            publish(
                _writer(adapted), _card(objective, start, base), account, options.out, options.replace, scratch=folder
            )
        close_run(folder)
    log.info("written: %s", options.out)
    return cast(Path, options.out)


def check(options: Namespace, objective: Objective) -> None:
    """Raises SettingsError where options do not go together, before the base is loaded."""
    if options.beta is not None and options.beta < (0 if objective.name == GRPO else 1e-6):
        raise SettingsError(f"--beta {options.beta}: allowed are numbers above 0, for grpo 0 as well")
    if options.centre is not None and options.centre < 0:
        raise SettingsError(f"--centre {options.centre}: allowed are numbers from 0")
    if objective.name == GRPO and options.reward is None:
        raise SettingsError("recipe 'grpo' needs --reward, the reward adapter that it learns from")
    if options.judge is not None and options.validation == 0:
        raise SettingsError("--judge compares answers to prompts held out, and --validation 0 holds out none")
    if options.judge is not None and reward_digest(options.judge) == reward_digest(options.reward):
        raise SettingsError("--judge is the reward adapter itself: it would see nothing that the reward does not")
    if objective.name == GRPO and options.generations < 2:
        raise SettingsError("--generations 1: answers are compared with the others to their prompt; allowed: from 2")
    if objective.name == REWARD and options.start_from:
        raise SettingsError("--start-from is not offered for recipe 'reward': its head is trained from the beginning")


def choose(options: Namespace, objective: Objective, dtype: str) -> PreferenceSettings:
    """What the options say, and the recipe's own where they say nothing."""
    return PreferenceSettings(
        recipe=objective.name,
        rank=options.rank or (_rank_of(options.start_from) if options.start_from else RECIPES["lora"].rank),
        epochs=options.epochs,
        learning_rate=options.lr or objective.learning_rate,
        batch=options.batch_size or objective.batch,
        warmup=options.warmup,
        seed=options.seed,
        scheduler=options.scheduler,
        dtype=dtype,
        patience=options.patience,
        started_from=start_digest(options.start_from) if options.start_from else None,
        beta=objective.beta if options.beta is None else options.beta,
        centre=objective.centre if options.centre is None else options.centre,
        reward=reward_digest(options.reward) if options.reward else None,
        judge=reward_digest(options.judge) if options.judge else None,
        generations=options.generations,
        new_tokens=options.new_tokens,
        temperature=options.temperature,
        iterations=options.iterations,
        epsilon=options.epsilon,
    )


def _rank_of(folder: Path) -> int:
    try:
        rank = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8")).get("r")
    except (OSError, ValueError) as error:
        raise SettingsError(f"--start-from {folder}: no adapter can be read there: {error}") from error
    if not isinstance(rank, int):
        raise SettingsError(f"--start-from {folder}: it is no LoRA, and preferences are learnt by one")
    return rank


def _corpus(options: Namespace, objective: Objective, rows: Rows, rendering: Rendering, max_tokens: int) -> Corpus:
    readers: dict[str, tuple[Callable[..., list[Any]], Callable[..., Any]]] = {
        "reward": (pairs, rendering.pair),
        "dpo": (pairs, rendering.pair),
        "kto": (opinions, rendering.opinion),
        "grpo": (prompts, rendering.prompt),
    }
    read, render = readers[objective.name]
    chosen = sample(read(rows.rows), options.limit, options.seed)
    training, validation = split_validation(chosen, options.validation, options.seed)
    if options.patience is not None and not validation:
        raise SettingsError("--patience looks at the validation data, and nothing is held out; raise --validation")
    rendered, skipped = render_all(training, render, max_tokens)
    held_out, also_skipped = render_all(validation, render, max_tokens) if validation else ([], [])
    skipped += also_skipped
    for where in rows.left_out[:NAMED_SKIPPED]:
        log.info("left out: %s", where)
    for where in skipped[:NAMED_SKIPPED]:
        log.info("left out as too long: %s", where)
    log.info(
        "%d rows to train on, %d of other prompts to validate on; %d longer than %d tokens, %d that say nothing",
        len(rendered), len(held_out), len(skipped), max_tokens, len(rows.left_out),
    )  # fmt: skip
    return Corpus(rendered, held_out, len(skipped), len(rows.left_out))


def _open_run(
    options: Namespace, settings: PreferenceSettings, base: Base, corpus: Corpus, command: str, started_at: str | None
) -> AbstractContextManager[tuple[Path, str | None]]:
    chosen = {
        **asdict(settings),
        "data": options.data,
        "examples": examples_digest(corpus.train, corpus.validation),
        "limit": options.limit,
        "base": base.digest,
        "validation": options.validation,
        "max_tokens": options.max_tokens,
    }
    counts = {"train_examples": len(corpus.train), "validation_examples": len(corpus.validation)}
    told = {"base_name": plain_name(base), "command": command, **counts}
    return open_run(options.out.name, chosen, told, started_at)


def _adapt(base: Base, settings: PreferenceSettings, start: Path | None) -> Adapted:
    """The base with the LoRA that is trained, and for a reward model the head."""
    # A LoRA begins from random numbers, whatever the task.
    adapted = adapt(base, RECIPES["lora"], settings.rank, SENTIMENT)
    if start is not None:
        start_from(adapted, start)
    if settings.recipe != REWARD:
        return adapted
    return Adapted(RewardModel(cast(PeftModel, adapted.model), settings.seed), adapted.base_name)


def _learn(
    options: Namespace, adapted: Adapted, base: Base, settings: PreferenceSettings, corpus: Corpus, folder: Path
) -> tuple[Phase, str | None, dict[str, object] | None]:
    """The run's figures, a warning for its card, and how the policy compares with its start."""
    data = (corpus.train, corpus.validation, folder, options.save_steps)
    if settings.recipe == GRPO:
        phase, verdict = train_grpo(adapted, Prompter(base.tokenizer), settings, *data, options.reward, options.judge)
        if verdict is None:
            return phase, "No prompts were held out, so nothing says whether the reward still means what it did.", None
        return phase, verdict.warning, verdict.as_dict()
    learners: dict[str, Callable[..., Phase]] = {"reward": train_reward, "dpo": train_dpo, "kto": train_kto}
    return learners[settings.recipe](adapted, base.tokenizer, settings, *data), None, None


def _writer(adapted: Adapted) -> Callable[[Path], None]:
    if isinstance(adapted.model, RewardModel):
        model = adapted.model
        return lambda folder: write_reward(model, folder)
    return adapted.writers()[""]


def _card(objective: Objective, start: Card, base: Base) -> Card:
    """An adapter that goes on from another is asked as that one is."""
    return Card(
        task=REWARD if objective.name == REWARD else start.task if start.task != "unknown" else "chat",
        description=" ".join(filter(None, (start.description, DESCRIPTIONS[objective.name]))),
        examples=start.examples,
        template=start.template,
        decoding=start.decoding,
        base_name=plain_name(base),
        base_digest=base.digest,
    )
