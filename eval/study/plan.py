"""What the study compares: every trial as data, in the order they run.

A trial trains one adapter (or none, for the base) and measures it on questions or sentences held out of the
training files; no test file is touched.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Chapter = Literal["size", "epochs", "batch", "rate", "scheduler", "rank", "method", "tasks"]

METHODS = (
    "full",
    "last-layers",
    "lora",
    "rslora",
    "dora",
    "qlora",
    "adalora",
    "loha",
    "ia3",
    "bottleneck",
    "bitfit",
    "prompt-tuning",
    "p-tuning",
    "prefix-tuning",
    "multitask-prompt-tuning",
)
CHANGES_THE_BASE = ("full", "last-layers")
"""Methods that leave a whole base instead of an adapter."""

GENERAL = ("perplexity", "chat")
"""Tasks whose own sets show what a trial forgot: general texts, and general questions."""

MIXTURE = ("qa", "sentiment", "summarisation", "policy", "research", "moderation")
UNSEEN = "plain-english"
"""The kind of record that no trial of the last chapter is trained on."""

TASK_OF = {
    "qa": "qa",
    "sentiment": "sentiment",
    "summarisation": "summarisation",
    "policy": "legal",
    "research": "medical",
    "plain-english": "legal",
    "moderation": "moderation",
}
"""The task that each kind of record is measured as."""

PROMPT_EACH = "all, a prompt for each"
"""The trial of multi-task prompts, as its place on the axis."""

BASE_PROMPTS = {
    "qa": ("few-shot", "turns-short"),
    "sentiment": ("few-shot", "turns-8"),
    "summarisation": ("prompt", "after"),
    "policy": ("few-shot", "turns-quote"),
    "research": ("prompt", "one-word"),
    "plain-english": ("few-shot", "turns-meaning"),
    "moderation": ("prompt", "turned"),
}
"""The mode and prompt that suited the base best on records of the training files: docs/evaluation.md."""

QUESTIONS = {"--epochs": "1", "--batch-size": "2", "--lr": "5e-4", "--scheduler": "linear", "--rank": "16"}
"""The point from which one setting at a time is moved."""


@dataclass(frozen=True)
class Trial:
    """One point of a plot. `value` is its place on the axis; `data` are files of the study's own folder, with
    their kind where the task needs it; `options` go to the training command. Without data the base is measured.
    `raw` is a file of raw text that is trained on first, "" for none."""

    chapter: Chapter
    value: str
    task: str
    measured: tuple[str, ...]
    data: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    recipe: str = "lora"
    raw: str = ""

    @property
    def is_base(self) -> bool:
        return not self.data

    @property
    def changes_base(self) -> bool:
        return self.recipe in CHANGES_THE_BASE

    @property
    def key(self) -> str:
        """Equal for trials that train the same, so that a point shared by several plots is computed once."""
        if self.is_base:
            return "base"
        told = json.dumps([self.task, self.recipe, self.data, self.options, *([self.raw] if self.raw else [])])
        return f"{self.recipe}-{hashlib.sha256(told.encode()).hexdigest()[:10]}"

    @property
    def leaves_one_each(self) -> bool:
        """Whether the training leaves an adapter for each kind of record, and none for anything else."""
        return self.recipe == "multitask-prompt-tuning" and len(self.data) > 1

    @property
    def everything_measured(self) -> tuple[str, ...]:
        """Kinds of records, then the general tasks."""
        return self.measured if self.leaves_one_each else (*self.measured, *GENERAL)

    def adapter(self, kind: str) -> str:
        """The name of the adapter that is asked for records of a kind."""
        return f"{self.key}-{kind}" if self.leaves_one_each else self.key

    def out(self, place: Path) -> Path:
        """Where the training is told to write."""
        return place / ("bases" if self.changes_base else "adapters") / self.key

    def folders(self, place: Path) -> list[Path]:
        """What the training leaves; nothing for the base."""
        names = [] if self.is_base else dict.fromkeys(map(self.adapter, self.measured))
        return [self.out(place).with_name(name) for name in names]

    def done(self, place: Path) -> dict[str, Any] | None:
        """Its result, where everything has been measured; the base's with the prompts that are named now."""
        path = self.result(place)
        if not path.is_file():
            return None
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        measured = result["measured"]
        if not measured.keys() >= set(self.everything_measured):
            return None
        if self.is_base and not all(
            (kept := self.kept(place, name)) and told.items() <= kept.items() for name, told in measured.items()
        ):
            return None
        return result

    def kept(self, place: Path, name: str) -> dict[str, Any] | None:
        """What `answers` holds, where it can be used again: of the base only what was asked with today's prompt."""
        path = self.answers(place, name)
        if not path.is_file():
            return None
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if self.is_base and name in BASE_PROMPTS:
            asked = (result["mode"], *result["config"]["prompts"].values())
            return result if asked == BASE_PROMPTS[name] else None
        return result

    def answers(self, place: Path, name: str) -> Path:
        """What `eval.run` wrote of one kind of records or general task; equal trials share it."""
        return place / "measured" / self.key / f"{name}.json"

    def result(self, place: Path) -> Path:
        """Where its result lies once it has one."""
        return place / "results" / f"{self.chapter}-{self.value.replace(', ', '-').replace(' ', '-')}.json"


@dataclass(frozen=True)
class Scale:
    """How large the study is: questions and sentences one trial is trained on, further sentences that serve as raw
    text, records of each kind in the last chapter, records measured, and up to how many characters a context may have."""

    name: str
    questions: int
    sizes: tuple[int, ...]
    sentences: int
    raw: int
    each_kind: int
    held_out: int
    characters: int


SCALES = {
    "small": Scale(
        "small", 1000, (1000, 2000, 5000), sentences=600, raw=2400, each_kind=250, held_out=300, characters=2400
    ),
    "full": Scale(
        "full", 5000, (1000, 2000, 5000), sentences=3000, raw=3000, each_kind=2000, held_out=800, characters=8000
    ),
}


def trials(scale: Scale) -> list[Trial]:
    """All trials of a scale, the cheap chapters first."""

    def question(chapter: Chapter, value: str, size: int = scale.questions, **changed: str) -> Trial:
        settings = {**QUESTIONS, **{f"--{name.replace('_', '-')}": given for name, given in changed.items()}}
        options = ("--validation", "0", "--max-tokens", "640", *(word for pair in settings.items() for word in pair))
        return Trial(chapter, value, "qa", ("qa",), (f"qa_{size}.jsonl",), options)

    sentences = (f"sentiment_{scale.sentences}.jsonl",)
    mixture = tuple(f"{kind}={kind}_{scale.each_kind}.jsonl" for kind in MIXTURE)
    short = ("--validation", "0", "--max-tokens", "448", "--batch-size", "2")
    return [
        Trial("method", "base", "sentiment", ("sentiment",)),
        *(
            Trial("method", method, "sentiment", ("sentiment",), sentences, ("--validation", "0"), method)
            for method in METHODS
        ),
        Trial(
            "method",
            "raw text, then lora",
            "sentiment",
            ("sentiment",),
            sentences,
            ("--validation", "0"),
            raw="sentiment_raw.jsonl",
        ),
        Trial("size", "base", "qa", ("qa",)),
        *(question("size", str(size), size) for size in scale.sizes),
        *(question("rank", str(rank), rank=str(rank)) for rank in (4, 8, 16, 32)),
        *(question("rate", rate, lr=rate) for rate in ("1e-4", "2e-4", "5e-4", "1e-3")),
        *(question("epochs", str(epochs), epochs=str(epochs)) for epochs in (1, 2, 3)),
        *(question("batch", str(size), batch_size=str(size)) for size in (1, 2, 4, 8)),
        *(question("scheduler", name, scheduler=name) for name in ("linear", "cosine", "constant")),
        Trial("tasks", "base", "instruct", (*MIXTURE, UNSEEN)),
        *(
            Trial(
                "tasks", f"only {kind}", "instruct", (kind, UNSEEN), (f"{kind}={kind}_{scale.each_kind}.jsonl",), short
            )
            for kind in MIXTURE
        ),
        Trial("tasks", "all", "instruct", (*MIXTURE, UNSEEN), mixture, short),
        Trial("tasks", PROMPT_EACH, "instruct", MIXTURE, mixture, short, "multitask-prompt-tuning"),
    ]
