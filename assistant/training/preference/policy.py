"""Reinforcement learning against a reward adapter: GRPO (Shao et al. 2024, arXiv:2402.03300).

The objective is PPO's clipped one (Schulman et al. 2017, arXiv:1707.06347, equation 7) with advantages taken within
the answers to one prompt, and `beta` times the divergence from the start added. Policy, reference, reward and judge are
adapters of the one frozen base in this process.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel
from safetensors.torch import load_file, save_file
from trl import GRPOConfig, GRPOTrainer
from trl.trainer.utils import pad, use_adapter

from assistant.errors import DataError
from assistant.messages import Message
from assistant.prompt import Prompter
from assistant.training.checkpoints import AdapterCheckpoints
from assistant.training.methods import Adapted
from assistant.training.preference.answers import score_answers_only
from assistant.training.preference.data import Prompt
from assistant.training.preference.hacking import Answers, Verdict, compare
from assistant.training.preference.phase import Phase, Watched, common_arguments, run
from assistant.training.preference.reference import POLICY, REFERENCE, only_policy, settle_reference
from assistant.training.preference.rendering import PromptIds
from assistant.training.preference.reward import Scorer
from assistant.training.preference.settings import PreferenceSettings

log = logging.getLogger(__name__)

Score = Callable[[Sequence[Prompt], Sequence[str]], list[float]]
"""Conversations and the answer to each → rewards."""

START = "start.safetensors"

WATCHED = Watched(
    columns={
        "reward": "reward",
        "kl": "kl",
        "length": "completions/mean_length",
        "entropy": "entropy",
        "clipped": "clip_ratio/region_mean",
        "validation_reward": "eval_reward",
        "validation_length": "eval_length",
        "validation_win_rate": "eval_win_rate",
    },
    panels={
        "reward": ("reward", "validation_reward"),
        "divergence from the start, nats per token": ("kl",),
        "length in tokens": ("length", "validation_length"),
        "entropy, nats per token": ("entropy",),
        "share of prompts the judge prefers the policy on": ("validation_win_rate",),
    },
    best="eval_reward",
    is_higher_better=True,
)


class PolicyTrainer(AdapterCheckpoints, GRPOTrainer):
    """TRL's trainer on prompts rendered as in serving; measures on held-out prompts with reward and judge."""

    def __init__(
        self, adapted: Adapted, prompter: Prompter, held_out: Sequence[PromptIds], reward: Score, judge: Score | None,
        seed: int, **others: Any,
    ) -> None:  # fmt: skip
        self.adapted, self.prompter, self.held_out, self.seed = adapted, prompter, held_out, seed
        self.reward, self.judge = reward, judge
        self.verdict: Verdict | None = None
        rewards: list[Any] = [self._rewarded]
        super().__init__(model=adapted.model, reward_funcs=rewards, processing_class=prompter.tokenizer, **others)

    def _rewarded(self, prompts: Any, completions: list[str], conversation: list[Any], **others: Any) -> list[float]:
        talks = [tuple(Message(**turn) for turn in turns) for turns in conversation]
        return self.reward(talks, completions)

    def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
        return [self.prompter.encode(prompt) for prompt in prompts], None, {}

    def evaluate(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> dict[str, float]:
        """Answer the held-out prompts, always from the same random numbers, and compare with the start's answers."""
        now = self._answers(POLICY)
        self.verdict = compare(self._start(), now, self.seed)
        metrics = {
            "eval_reward": sum(now.rewards) / len(now.rewards),
            "eval_length": sum(now.lengths) / len(now.lengths),
            # What everybody else calls a loss: lower is better.
            "eval_loss": -sum(now.rewards) / len(now.rewards),
        }
        if self.verdict.win_rate is not None:
            metrics["eval_win_rate"] = self.verdict.win_rate.value
        if self.verdict.is_hacked:
            log.warning("step %d: %s", self.state.global_step, self.verdict.warning)
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _start(self) -> Answers:
        """How the start answers; drawn once for a run and its resumptions."""
        kept = Path(str(self.args.output_dir)) / START
        if not kept.is_file():
            adapters = self.adapted.model.peft_config
            answers = self._answers(REFERENCE if REFERENCE in adapters else None)
            columns = {"rewards": answers.rewards, "judged": answers.judged, "lengths": answers.lengths}
            save_file({name: torch.tensor(values, dtype=torch.float64) for name, values in columns.items()}, kept)
        return Answers(**{name: values.tolist() for name, values in load_file(kept).items()})

    @torch.no_grad()
    def _answers(self, adapter: str | None) -> Answers:
        policy, tokenizer = self.adapted.model, self.prompter.tokenizer
        # The next step of training turns it back, and by it TRL tells what is logged from what.
        policy.eval()
        texts: list[str] = []
        lengths: list[int] = []
        batch = self.args.per_device_train_batch_size
        # Training goes on from the random numbers it had.
        with torch.random.fork_rng(), use_adapter(policy, adapter):
            torch.manual_seed(self.seed)
            for start in range(0, len(self.held_out), batch):
                part = [torch.tensor(prompt.ids) for prompt in self.held_out[start : start + batch]]
                pad_id = tokenizer.pad_token_id
                drawn = policy.generate(
                    input_ids=pad(part, pad_id, "left").to(policy.device),
                    attention_mask=pad([torch.ones_like(ids) for ids in part], 0, "left").to(policy.device),
                    generation_config=self.generation_config,
                )[:, max(map(len, part)) :]
                is_end = torch.isin(drawn, torch.tensor(self.eos_token_ids, device=drawn.device))
                ends = torch.where(is_end.any(dim=1), is_end.int().argmax(dim=1), drawn.shape[1]).tolist()
                lengths += ends
                texts += [
                    str(tokenizer.decode(row[:end], skip_special_tokens=True))
                    for row, end in zip(drawn, ends, strict=True)
                ]
        talks = [prompt.conversation for prompt in self.held_out]
        return Answers(self.reward(talks, texts), self.judge(talks, texts) if self.judge else [], lengths)


def train_grpo(
    adapted: Adapted,
    prompter: Prompter,
    settings: PreferenceSettings,
    train: Sequence[PromptIds],
    validation: Sequence[PromptIds],
    folder: Path,
    save_steps: int,
    reward: Path | Score,
    judge: Path | Score | None,
) -> tuple[Phase, Verdict | None]:
    """Train; the verdict is of the policy that is kept, on `validation`.

    Args:
        reward: folder of the reward adapter, or any other way to score answers.
        judge: the same for what only watches.

    Raises:
        DataError: fewer prompts than one step takes.
        SettingsError: a folder holds no reward adapter that fits the base.
    """
    if len(train) < settings.batch:
        raise DataError(f"{len(train)} prompts to train on, and one step takes {settings.batch}; lower --batch-size")
    policy: PeftModel = adapted.model
    generations = settings.generations or 1
    arguments = GRPOConfig(
        **common_arguments(settings, WATCHED, settings.steps(len(train)), folder, bool(validation), save_steps),
        per_device_train_batch_size=generations,
        per_device_eval_batch_size=generations,
        gradient_accumulation_steps=settings.batch,
        steps_per_generation=settings.batch,
        num_generations=generations,
        num_iterations=settings.iterations or 1,
        max_completion_length=settings.new_tokens,
        temperature=settings.temperature or 1.0,
        epsilon=settings.epsilon or 0.2,
        beta=settings.beta or 0.0,
        loss_type="grpo",
        # TRL would draw the order again when a run goes on; the rows come in an order drawn already.
        shuffle_dataset=False,
        remove_unused_columns=False,
    )
    rewarding, judging = functions(prompter, policy, {"reward": reward, "judge": judge})
    trainer = PolicyTrainer(
        adapted,
        prompter,
        validation,
        rewarding,
        judging,
        settings.seed,
        args=arguments,
        train_dataset=table(train),
        eval_dataset=table(validation) if validation else None,
    )
    settle_reference(policy, is_fresh=settings.started_from is None)
    score_answers_only(adapted.model.get_base_model(), trainer.temperature)
    phase = run(trainer, policy, settings, WATCHED, folder)
    if validation and (settings.patience is not None or trainer.verdict is None):
        # The weights that are kept are those of the best step; or a run that had ended before measured nothing now.
        trainer.verdict = compare(trainer._start(), trainer._answers(POLICY), settings.seed)
    only_policy(policy)
    return phase, trainer.verdict


def functions(prompter: Prompter, policy: PeftModel, scorers: dict[str, Path | Score | None]) -> list[Any]:
    """Each as a function of conversations and answers; an adapter's texts are rendered as the server's `score` does."""
    pad_id = prompter.tokenizer.pad_token_id
    if pad_id is None:
        pad_id = prompter.tokenizer.eos_token_id

    def of(name: str, folder: Path) -> Score:
        scorer = Scorer(policy, folder, name, int(pad_id))

        def score(conversations: Sequence[Prompt], answers: Sequence[str]) -> list[float]:
            rows = []
            for conversation, answer in zip(conversations, answers, strict=True):
                prompt, ids = prompter.render_example([*conversation, Message(role="assistant", content=answer)])
                rows.append([*prompt, *ids])
            return scorer.score(rows)

        return score

    return [of(name, given) if isinstance(given, Path) else given for name, given in scorers.items()]


def table(prompts: Sequence[PromptIds]) -> Dataset:
    return Dataset.from_dict(
        {
            "prompt": [prompt.text for prompt in prompts],
            "conversation": [[message.model_dump() for message in prompt.conversation] for prompt in prompts],
        }
    )
