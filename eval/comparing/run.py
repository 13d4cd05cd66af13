"""Each question to all modes at once, and the figures of what they answered."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from assistant.base_model import resolve_device, resolve_dtype
from assistant.catalog import Adapter, Catalog
from assistant.comparison.request import TUNED, Mode
from assistant.errors import EvaluationError, NothingRelevant, UnknownAdapter
from assistant.messages import Retrieval
from assistant.service import ChatService
from assistant.settings import Settings
from assistant.training.data import Item
from eval.ask import Ended, ask_all
from eval.comparing.answers import Answer, Answers, digest, key_of
from eval.comparing.page import page
from eval.comparing.plot import drawing
from eval.comparing.sections import NAMES, SECTIONS, Section
from eval.corpus import contexts, load_corpus
from eval.digest import digest_of
from eval.measure import cost, measured_figures
from eval.metrics.paired import paired_bootstrap
from eval.report.plots import drawn
from eval.session import measured_service
from eval.tasks.scorers import Figures, averages

log = logging.getLogger(__name__)
NAME = "compare"
PER_COMPARISON = 5
"""Columns of the widest comparison: so many requests at the same time are one question's."""


@dataclass(frozen=True)
class Comparison:
    """One record, to be put to all modes of a section. `corpus` is the digest of what is searched, and by what."""

    section: Section
    item: Item
    retrieval: Retrieval
    corpus: str

    @property
    def name(self) -> str:
        return f"{self.item.record.get('id', self.item.where)} of {self.section.key}"


async def run(
    settings: Settings,
    data: str | None,
    names: Sequence[str],
    limit: int | None,
    seed: int,
    concurrency: int,
    out: Path,
    commit: str | None,
) -> dict[str, Any]:
    """What `eval.run` writes: figures, differences to the base's prompt, cost, examples.

    Beside `out` the tables are written as `.md`, the plot as `.png`, and every answer as it comes, as
    `.answers.jsonl`; these are not asked for again.

    Args:
        data: folder with the files of the sections; our own small sets for None.
        names: which tasks, of `NAMES`.
        limit: records of each task; a larger limit asks the same ones and more.
        commit: of the code that asks now. The result's `commits` are those of all its answers, kept ones included.

    Raises:
        EvaluationError: there are no records, the kept answers cannot be read, a request failed, or an adapter was
            replaced meanwhile.
        DataError: the data is wrong; names file and line.
        UnknownAdapter: the adapter of a task is not in the catalogue.
    """
    sections = [section for section in SECTIONS if section.name in names]
    catalog = Catalog(settings.adapters_dir)
    try:
        adapters = {name: catalog.get(name) for name in NAMES if name in names}
    except UnknownAdapter as error:
        raise UnknownAdapter(
            f"{error}; each task asks the adapter of its name, and --tasks says which tasks"
        ) from error
    everything = {section.name: section.load(data) for section in sections}
    asked = {name: random.Random(seed).sample(items, len(items))[:limit] for name, items in everything.items()}
    answers = Answers(out.with_suffix(".answers.jsonl"), commit)
    dtype = str(resolve_dtype(settings.dtype, resolve_device(settings.device))).removeprefix("torch.")
    search = {"embedder": settings.embedder, "reranker": settings.reranker}
    log.info("%d answers kept from before in %s", len(answers), answers.path)
    async with measured_service(settings) as service:
        retrievals, corpora = {}, {}
        for name, items in everything.items():
            # All contexts of the file, whatever was drawn: a search among few would be easier than it is.
            texts = contexts(items)
            collection = await asyncio.to_thread(service.library.create_collection, name)
            await load_corpus(service.library, texts, collection.id)
            retrievals[name], corpora[name] = Retrieval(collections=(collection.id,)), texts
            log.info("%s: %d contexts to search", name, len(texts))
        # Turn about, so that a run that is cut off has some of each.
        todo = [
            Comparison(section, item, retrievals[section.name], digest(corpora[section.name], search))
            for place in range(max(map(len, asked.values())))
            for section in sections
            for item in asked[section.name][place : place + 1]
        ]
        weights = digest(service.backend.base_digest, dtype)
        at_once = max(1, concurrency // PER_COMPARISON)
        examples = await ask_comparisons(service, todo, adapters, answers, weights, at_once)
        base = {"base": service.backend.base_name, "base_digest": service.backend.base_digest}
    result = {
        "kind": "comparison",
        "commits": sorted({example.get("commit") or "unknown" for example in examples}),
        **base,
        "adapters": {name: adapter.digest for name, adapter in adapters.items()},
        "data_digest": {name: digest_of(item.record for item in items) for name, items in everything.items()},
        "count": len(todo),
        "config": {
            "limit": limit,
            "seed": seed,
            "concurrency": concurrency,
            "dtype": dtype,
            **search,
            "top_k": Retrieval().top_k,
            "contexts": {name: len(texts) for name, texts in corpora.items()},
            "prompts": {s.key: {mode: s.prompts[mode].name for mode in s.modes} for s in sections},
        },
        **figures(sections, examples),
        "confusion": {},
        "examples": [dict(example) for example in examples],
    }
    out.with_suffix(".md").write_text(page(result), encoding="utf-8")
    out.with_suffix(".png").write_bytes(drawn(drawing(result), "png"))
    return result


async def ask_comparisons(
    service: ChatService,
    todo: Sequence[Comparison],
    adapters: Mapping[str, Adapter],
    answers: Answers,
    base: str,
    at_once: int,
) -> list[Answer]:
    """The answers of all modes to all of it, in order; those of one record run in one mixed batch.

    Args:
        base: digest of the base's weights and their type.
        at_once: records that are asked at the same time.

    Raises:
        EvaluationError: a request failed, or an adapter was replaced meanwhile; its answer is not kept.
    """
    revisions = {adapter.name: adapter.digest for adapter in adapters.values()}
    gate = asyncio.Semaphore(at_once)
    started, asked = time.monotonic(), 0

    async def compare(one: Comparison) -> list[Answer]:
        nonlocal asked
        adapter = adapters[one.section.name]
        requests = {m: one.section.request(m, one.item, adapter, one.retrieval) for m in one.section.modes}
        keys = {
            mode: key_of(
                request,
                one.section.key,
                one.item.record,
                base,
                adapter if mode in TUNED else None,
                one.corpus,
            )
            for mode, request in requests.items()
        }
        missing = [mode for mode in requests if answers.get(keys[mode]) is None]
        if missing:
            async with gate:
                ends = await ask_all(
                    service,
                    [requests[mode] for mode in missing],
                    len(missing),
                    [f"{one.name}, {mode}" for mode in missing],
                    (NothingRelevant.code,),
                    revisions,
                )
                answers.add({keys[m]: judged(one, m, end) for m, end in zip(missing, ends, strict=True)})
            asked += 1
            if asked % 10 == 0:
                spent = time.monotonic() - started
                log.info("%d comparisons asked in %.0f s, %.1f s each", asked, spent, spent / asked)
        found = [answers.get(keys[mode]) for mode in requests]
        return [answer for answer in found if answer is not None]

    log.info("%d comparisons", len(todo))
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(compare(one)) for one in todo]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from failed
    return [answer for task in tasks for answer in task.result()]


def judged(one: Comparison, mode: Mode, end: Ended) -> Answer:
    """One answer with its own value of each figure that is a mean; `retrieved` where documents were searched."""
    record, part = one.item.record, end.parts[0]
    answer = {
        "section": one.section.key,
        "mode": mode,
        "id": record.get("id", one.item.where),
        "question": record["question"],
        "answer": part.text,
        "prompt_tokens": part.usage.prompt_tokens,
        "tokens": part.usage.completion_tokens,
        "seconds": end.seconds,
        **one.section.measured.scorer.judge(record, part),
    }
    if mode in ("rag", "rag-tuned"):
        own = " ".join(record["context"].split())
        answer["retrieved"] = float(any(" ".join(passage.text.split()) in own for passage in part.passages))
    return answer


def figures(sections: Sequence[Section], examples: Sequence[Answer]) -> dict[str, Any]:
    """`metrics`, `cost` and `differences` (to the base's prompt, paired by record), under `SECTION.MODE.FIGURE`.

    Raises:
        EvaluationError: a mode has no answers.
    """
    metrics: dict[str, Any] = {}
    costs: dict[str, Any] = {}
    differences: dict[str, Any] = {}
    for section in sections:
        by_mode = {
            mode: [e for e in examples if (e["section"], e["mode"]) == (section.key, mode)] for mode in section.modes
        }
        before = section.measured.scorer.figures(by_mode["prompt"])
        for mode, own in by_mode.items():
            if not own:
                raise EvaluationError(f"{section.key}: no answers of mode {mode}")
            place = f"{section.key}.{mode}"
            scored: Figures = section.measured.scorer.figures(own)
            searched: Figures = [averages(own, "retrieved")] if "retrieved" in own[0] else []
            spent: Figures = [averages(own, "prompt_tokens"), *cost(own)]
            metrics |= {f"{place}.{k}": asdict(v) for k, v in measured_figures([*scored, *searched], len(own)).items()}
            costs |= {f"{place}.{k}": asdict(v) for k, v in measured_figures(spent, len(own)).items()}
            if mode != "prompt":
                for (names, first), (_, second) in zip(before, scored, strict=True):
                    found = paired_bootstrap(first, second, len(own))
                    differences |= {f"{place}.{k}": asdict(v) for k, v in zip(names, found, strict=True)}
    return {"metrics": metrics, "cost": costs, "differences": differences}
