"""One turn of the circle, stage by stage. What a stage leaves lies in the run's folder; what is there is not done again."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from argparse import Namespace
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from assistant.build import build_comparisons, build_service, build_store
from assistant.catalog import Gained, Gate, read_adapter
from assistant.comparison.comparator import Comparator
from assistant.errors import EvaluationError
from assistant.feedback.export import export_rows, write_file
from assistant.feedback.votes import VoteStore
from assistant.messages import BASE
from assistant.service import ChatService
from assistant.settings import Settings
from assistant.training.options import parse
from assistant.training.preference.data import Asked, prompts, read_rows
from assistant.training.preference.job import train
from eval.command import write
from eval.gate.gate import Question, judge
from eval.gate.reward import Drawing, draw
from eval.gate.spec import Measured, Rewarded, read_measured
from eval.loop.collect import collect, contestants
from eval.loop.follow import followed
from eval.loop.tastes import Taste, read_taste

log = logging.getLogger(__name__)

REWARD = "taste"
"""What the reward adapter is called in the run's catalogue."""

NAME = "preferred"
"""What a new adapter is called that was tuned from the base."""


@dataclass(frozen=True)
class Circle:
    """A run in the folder `options.out`, with a store and a catalogue of its own: simulated votes have no place among
    people's. `settings` are the run's."""

    options: Namespace
    settings: Settings
    taste: Taste
    command: str

    @property
    def folder(self) -> Path:
        path: Path = self.options.out
        return path

    @property
    def start(self) -> str:
        """Who is to become better."""
        return self.options.start.name if self.options.start else BASE

    @property
    def name(self) -> str:
        return NAME if self.start == BASE else self.start

    @property
    def candidate(self) -> Path:
        return self.folder / "candidates" / self.name

    @property
    def reward(self) -> Path:
        return self.settings.adapters_dir / REWARD

    def part(self, name: str) -> list[Asked]:
        """Prompts of one part: `train` is voted on, `judge` is the gate's, `test` is for the end."""
        return prompts(read_rows([f"{self.options.prompts}@{name}"]).rows)

    async def run(self) -> dict[str, Any]:
        """All stages that are not done yet; returns what came of the turn.

        Raises:
            EvaluationError: the folder is another run's, or an answer failed.
            DataError: the prompts are wrong; names file and line.
            SettingsError, AdapterError: see training and the gate.
        """
        o = self.options
        # Whatever can be wrong is looked at before minutes are spent.
        voted, _, unseen = (self.part(name) for name in ("train", "judge", "test"))
        tasks = tuple(map(read_measured, o.tasks))
        self._open()
        async with self._served() as (service, comparator, votes):
            with self._timed("answers and votes"):
                seats = partial(contestants, self.start, o.answers, o.temperature, o.new_tokens, o.seed)
                questions = [one.prompt[-1].content for one in voted]
                cases = await collect(comparator, votes, questions, seats, self.taste, o.voters, o.seed)
            pairs = self._exported(cases)
            before = await self._drawn(service, "before", self.start, unseen)
            with self._timed("reward model"):
                await self._trained(self.reward, ["reward", *self._learning("reward")], pairs)
            with self._timed(o.method):
                recipe = [o.method, *self._learning("policy")]
                if o.method == "grpo":
                    recipe += ["--reward", str(self.reward), "--new-tokens", str(o.new_tokens)]
                    recipe += ["--temperature", str(o.temperature)]
                if o.start:
                    recipe += ["--start-from", str(o.start)]
                await self._trained(self.candidate, recipe, pairs)
            with self._timed("gate"):
                gate = await self._gated(tasks)
            result = {
                "comparisons": len(cases),
                "pairs": len(pairs.read_text(encoding="utf-8").splitlines()),
                "reward": self._account(self.reward),
                "policy": self._account(self.candidate),
                "gate": gate.model_dump(mode="json"),
                "served": None,
                "followed": None,
            }
            if gate.verdict == "failed":
                return result
            if self._digest(self.settings.adapters_dir / self.name) != self._digest(self.candidate):
                # Into the server that has been answering all the while.
                await service.upload_adapter(self.candidate, self.name)
            result["served"] = {"adapter": self.name, "digest": service.catalog.get(self.name).digest}
            after = await self._drawn(service, "after", self.name, unseen)
        gained = followed(self.taste, f"{o.prompts}@test", before, after)
        return {**result, "followed": gained.model_dump(mode="json"), "examples": _examples(unseen, before, after)}

    @asynccontextmanager
    async def _served(self) -> AsyncIterator[tuple[ChatService, Comparator, VoteStore]]:
        """One server for the whole turn."""
        store = build_store(self.settings)
        try:
            service = build_service(self.settings, store)
            await service.start()
            try:
                if self.options.start and not (self.settings.adapters_dir / self.start).exists():
                    await service.upload_adapter(self.options.start, self.start)
                yield service, build_comparisons(service, store)[0], VoteStore(store.database)
            finally:
                await service.stop()
        finally:
            store.close()

    def _open(self) -> None:
        """Raises EvaluationError where the folder holds a run of other options."""
        told = {key: value for key, value in vars(self.options).items() if key != "out"}
        config = json.loads(json.dumps(told, default=str))
        path = self.folder / "config.json"
        if path.is_file() and (there := json.loads(path.read_text(encoding="utf-8"))) != config:
            differs = next(key for key in config if there.get(key) != config[key])
            raise EvaluationError(
                f"{self.folder} holds a run with --{differs.replace('_', '-')} {there.get(differs)}, not {config[differs]}; "
                "give another folder"
            )
        write(path, config)

    def _exported(self, cases: list[Any]) -> Path:
        """The votes as pairs."""
        path = self.folder / "preference.jsonl"
        log.info("%s", write_file(path, "preference", export_rows(cases, "preference")))
        return path

    async def _drawn(self, service: ChatService, when: str, name: str, unseen: list[Asked]) -> list[list[str]]:
        path, o = self.folder / f"{when}.json", self.options
        if not path.is_file():
            with self._timed(f"answers {when}"):
                answers = await draw(service, name, unseen, Drawing(o.draws, o.temperature, o.new_tokens, o.seed))
            write(path, {"answers": answers})
        told: dict[str, list[list[str]]] = json.loads(path.read_text(encoding="utf-8"))
        return told["answers"]

    def _learning(self, what: str) -> list[str]:
        o = vars(self.options)
        of_one = o["answers"] * (o["answers"] - 1) // 2
        held_out = {
            "kto": 2 * o["validation"],
            "grpo": -(-o["validation"] // of_one),
        }  # its rows are answers, or prompts
        given = {
            # One that goes on keeps its own.
            "--rank": None if what == "policy" and o["start"] else o["rank"],
            "--validation": held_out.get(o["method"], o["validation"]) if what == "policy" else o["validation"],
            "--seed": o["seed"],
            "--epochs": o[f"{what}_epochs"],
            "--lr": o[f"{what}_lr"],
            "--beta": o["beta"] if what == "policy" else None,
        }
        return [word for key, value in given.items() if value is not None for word in (key, str(value))]

    async def _trained(self, folder: Path, recipe: list[str], data: Path) -> None:
        if folder.exists():
            return
        note = f"votes of simulated voters with the taste {self.taste.name!r}"
        given = ["--recipe", *recipe, "--data", str(data), "--data-note", note, "--out", str(folder)]
        await asyncio.to_thread(train, parse(given), self.command)

    async def _gated(self, tasks: tuple[Measured, ...]) -> Gate:
        path, o = self.folder / "gate.json", self.options
        if not path.is_file():
            question = Question(
                candidate=self.candidate,
                against=self.start,
                aim=Rewarded(str(self.reward), f"{o.prompts}@judge"),
                tasks=tasks,
                margin=o.margin,
                limit=o.limit,
                seed=o.seed,
                drawing=Drawing(o.draws, o.temperature, o.new_tokens, o.seed),
            )
            gate = await judge(self.settings, question, self.command)
            write(path, gate.model_dump(mode="json"))
        return Gate.model_validate_json(path.read_text(encoding="utf-8"))

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        """Adds up what each stage took, over all starts of the command."""
        path, started = self.folder / "seconds.json", time.monotonic()
        log.info("stage: %s", stage)
        yield
        known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        write(path, {**known, stage: round(known.get(stage, 0.0) + time.monotonic() - started, 1)})

    def seconds(self) -> dict[str, float]:
        """What each stage took."""
        told: dict[str, float] = json.loads((self.folder / "seconds.json").read_text(encoding="utf-8"))
        return told

    @staticmethod
    def _digest(folder: Path) -> str | None:
        return read_adapter(folder).digest if folder.is_dir() else None

    @staticmethod
    def _account(folder: Path) -> dict[str, Any]:
        """What the card says of the training."""
        told: dict[str, Any] = json.loads((folder / "card.json").read_text(encoding="utf-8"))["training"]
        return {"hyperparameters": told["hyperparameters"], "report": told["report"], "data": told["data"]}


def has_followed(result: dict[str, Any]) -> bool:
    """Whether the taste is followed more, surely: see `eval.loop.follow.followed`."""
    return result["followed"] is not None and Gained.model_validate(result["followed"]).low > 0


def circle(options: Namespace, settings: Settings, command: str) -> Circle:
    """Raises EvaluationError where the taste is none."""
    store = f"sqlite:///{(options.out / 'swapboard.db').resolve()}"
    own = {"adapters_dir": options.out / "adapters", "database_url": store}
    return Circle(options, settings.model_copy(update=own), read_taste(options.taste, options.noise), command)


def _examples(unseen: list[Asked], before: list[list[str]], after: list[list[str]]) -> list[dict[str, Any]]:
    return [
        {"prompt": one.prompt[-1].content, "before": old, "after": new}
        for one, old, new in zip(unseen, before, after, strict=True)
    ]
