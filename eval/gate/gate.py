"""One candidate before the gate: measured, weighed, reported on its card, and let in or not."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from assistant.catalog import Catalog, Gained, Gate, check_name, read_adapter
from assistant.errors import AdapterBroken, EvaluationError
from assistant.messages import BASE
from assistant.service import ChatService
from assistant.settings import Settings
from assistant.training.provenance import commit, today
from assistant.training.publish import record_gate
from eval.gate.figures import on_task
from eval.gate.reward import Drawing, by_reward, doubt, read_prompts
from eval.gate.spec import Aim, Measured, Rewarded
from eval.session import measured_service
from eval.tasks.interface import Mode

log = logging.getLogger(__name__)

GREEDY = Drawing()

CANDIDATE, AGAINST, JUDGE = "candidate", "against", "judge"
"""What they are called while they are measured."""


@dataclass(frozen=True)
class Question:
    """What is to be decided: may the adapter in the folder `candidate` be offered to users, beside or in place of
    `against`? Without a `mode` it follows from the candidate's task, see `eval.gate.figures`."""

    candidate: Path
    against: str
    aim: Aim
    tasks: tuple[Measured, ...]
    margin: float | None = None
    mode: Mode | None = None
    limit: int | None = None
    seed: int = 0
    drawing: Drawing = GREEDY
    concurrency: int = 8


async def judge(settings: Settings, question: Question, command: str) -> Gate:
    """Measure and weigh, and put the report on the candidate's card.

    Raises:
        EvaluationError: the candidate is in the catalogue already, or the question cannot be answered.
        AdapterError: an adapter cannot be served.
        DataError: data is wrong; names file and line.
    """
    folders = _folders(settings, question)
    if isinstance(question.aim, Rewarded):
        read_prompts(question.aim.prompts)  # what is wrong with them is told before the base is loaded
    names = (BASE if question.against == BASE else AGAINST, CANDIDATE)
    # Before the measurement: it is this code that runs, whatever is committed meanwhile.
    started_on, started_at = today(), commit()
    async with _arena(settings, folders) as service:
        digest = None if question.against == BASE else service.catalog.get(AGAINST).digest
        aim = await _aim(service, question, names)
        harness: list[Gained] = []
        for measured in question.tasks:
            harness += await on_task(
                service, measured, names, question.mode, question.limit, question.seed, question.concurrency
            )
    against = reasons(aim, harness, question.margin)
    if JUDGE in folders and (doubted := doubt(folders[JUDGE])) is not None:
        against = (doubted, *against)
    gate = Gate(
        verdict="failed" if against else "passed",
        against=question.against,
        against_digest=digest,
        aim=aim,
        harness=tuple(harness),
        margin=question.margin,
        reasons=against,
        command=command,
        date=started_on,
        commit=started_at,
    )
    record_gate(question.candidate, gate)
    return gate


def reasons(aim: Gained, harness: Sequence[Gained], margin: float | None) -> tuple[str, ...]:
    """Why the candidate may not be offered; none where it may.

    Better on the aim: the whole 95 % interval of the gain lies above 0. Worse on a figure of the harness: the whole
    interval lies below 0; with a `margin` also where the interval reaches below -margin, so that it must be shown, and
    not only be possible, that no more than the margin is lost.
    """
    found = []
    if aim.low <= 0:
        found.append(f"not surely better on its aim, {_told(aim)}")
    for one in harness:
        if one.high < 0:
            found.append(f"surely worse on {_told(one)}")
        elif margin is not None and one.low < -margin:
            found.append(f"may be worse by more than the margin {margin:g} on {_told(one)}")
    return tuple(found)


def _told(one: Gained) -> str:
    return f"{one.figure}: {one.gain:+.4f} ({one.low:+.4f} to {one.high:+.4f})"


async def _aim(service: ChatService, question: Question, names: tuple[str, str]) -> Gained:
    aim = question.aim
    if isinstance(aim, Rewarded):
        return await by_reward(service, JUDGE, aim.prompts, names, question.drawing, question.concurrency)
    [gained] = await on_task(service, aim, names, question.mode, question.limit, question.seed, question.concurrency)
    return gained


def _folders(settings: Settings, question: Question) -> dict[str, Path]:
    """Whatever can be wrong is looked at before the base is loaded."""
    check_name(question.candidate.name)
    candidate = read_adapter(question.candidate)
    if candidate.error is not None:
        raise AdapterBroken(f"the candidate {question.candidate} cannot be used: {candidate.error}")
    if question.candidate.resolve().parent == settings.adapters_dir.resolve():
        raise EvaluationError(
            f"the candidate {question.candidate} is in the catalogue already; train it to a folder outside of "
            f"{settings.adapters_dir}, e.g. candidates/{question.candidate.name}"
        )
    if not question.tasks:
        raise EvaluationError("no tasks of the harness; one that is looked at nowhere is worse nowhere")
    catalog, folders = Catalog(settings.adapters_dir), {CANDIDATE: question.candidate}
    if question.against != BASE:
        folders[AGAINST] = catalog.get(question.against).folder
    if isinstance(question.aim, Rewarded):
        folder = Path(question.aim.adapter)
        folders[JUDGE] = folder if folder.is_dir() else catalog.get(question.aim.adapter).folder
    return folders


@asynccontextmanager
async def _arena(settings: Settings, folders: Mapping[str, Path]) -> AsyncIterator[ChatService]:
    """The service that users get, over a catalogue of these adapters alone: the candidate is in no other yet."""
    with tempfile.TemporaryDirectory() as scratch:
        own = settings.model_copy(update={"adapters_dir": Path(scratch) / "adapters"})
        async with measured_service(own) as service:
            for name, folder in folders.items():
                await service.upload_adapter(folder, name)
            yield service
