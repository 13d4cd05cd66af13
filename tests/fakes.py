"""Small stand-ins, so that fast tests load no model."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from assistant.adapter_pool.revisions import Revision, Revisions
from assistant.backends.base import BackendStats, Generation, Residency
from assistant.catalog import CARD_FILE, CONFIG_FILE, WEIGHTS_FILE, Adapter, Catalog, check_name
from assistant.errors import AdapterConflict, NotFound, NothingRelevant, PromptTooLong
from assistant.messages import (
    BASE,
    ChatRequest,
    CompletionRequest,
    Failed,
    Finished,
    Message,
    Part,
    Passage,
    PromptTemplate,
    Retrieval,
    Route,
    Scored,
    Timing,
    TokenScore,
    TopToken,
    Usage,
)
from assistant.prompt import apply_template
from assistant.retrieval.library import Library
from assistant.retrieval.retriever import Retriever
from assistant.service import ChatService


def write_adapter(folder: Path, rank: int = 2, task: str = "sentiment", fill: float = 0.5, **card: object) -> Path:
    """A small LoRA folder as PEFT would leave it, with a card."""
    folder.mkdir(parents=True)
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": rank, "target_modules": ["q_proj"], "bias": "none"}
    (folder / CONFIG_FILE).write_text(json.dumps(config))
    key = "base_model.model.model.layers.0.self_attn.q_proj"
    save_file(
        {
            f"{key}.lora_A.weight": np.full((rank, 8), fill, dtype=np.float32),
            f"{key}.lora_B.weight": np.full((8, rank), fill, dtype=np.float32),
        },
        folder / WEIGHTS_FILE,
    )
    (folder / CARD_FILE).write_text(json.dumps({"task": task, "examples": [f"an example of {task}"], **card}))
    return folder


class CharPrompter:
    """One token per character; a chat is `<role>text` for each message, then `<assistant>`."""

    def write(self, messages: Sequence[Message], template: PromptTemplate | None = None) -> str:
        turns = apply_template(messages, template)
        return "".join(f"<{turn.role}>{turn.content}" for turn in turns) + "<assistant>"

    def render(self, messages: Sequence[Message], template: PromptTemplate | None = None) -> list[int]:
        return self.encode(self.write(messages, template))

    def render_example(
        self, messages: Sequence[Message], template: PromptTemplate | None = None
    ) -> tuple[list[int], list[int]]:
        return self.render(messages[:-1], template), self.encode(messages[-1].content)

    def encode(self, text: str) -> list[int]:
        return [ord(c) for c in text]

    def disarm(self, text: str) -> str:
        return re.sub(r"<(\w+)>", r"(\1)", text)


def passage(number: int, text: str) -> Passage:
    return Passage(id=number, document_id="d" * 32, document="notes.txt", start=0, end=len(text), text=text)


class ListRetriever:
    """Finds, of its passages, those that share a word of five letters or more with the question."""

    def __init__(self, *texts: str) -> None:
        self.passages = [passage(number, text) for number, text in enumerate(texts, start=1)]
        self.asked: list[tuple[str, Retrieval]] = []

    def search(self, query: str, retrieval: Retrieval) -> tuple[Passage, ...]:
        self.asked.append((query, retrieval))
        words = set(re.findall(r"\w{5,}", query.lower()))
        found = [one for one in self.passages if words & set(re.findall(r"\w{5,}", one.text.lower()))]
        if not found:
            raise NothingRelevant("nothing in the documents fits the question")
        return tuple(found[: retrieval.top_k])

    def refresh(self) -> None:
        pass


class KeywordRouter:
    """Routes to the adapter whose name stands in the text; to base where none does."""

    def __init__(self, names: Callable[[], Sequence[str]]) -> None:
        self.names = names

    def route(self, text: str, has_documents: bool = False) -> list[Route]:
        hits = [name for name in self.names() if name in text]
        return [Route(adapter=name, confidence=0.9, reason=f"says {name!r}", text=text) for name in hits] or [
            Route(adapter=BASE, confidence=0.1, reason="nothing matched", text=text)
        ]


class EchoBackend:
    """Answers every request with `<adapter>: word word …`, one word per `pace` seconds.

    `generated` counts the words computed, so that a test can see that a cancelled request computes no more.
    """

    base_name = "fake-base"
    base_digest = "0" * 64
    context_length = 2000
    max_batch = 256
    is_alive = True

    def __init__(self, words: int = 5, pace: float = 0.0, error: Exception | None = None) -> None:
        self.words, self.pace, self.error = words, pace, error
        self.generated = 0
        self.running = 0
        self.seen: list[Generation] = []
        self.resident: dict[str, Residency] = {}

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def generate(self, generation: Generation) -> AsyncGenerator[str | Scored | Finished, None]:
        self.seen.append(generation)
        if self.error is not None:
            raise self.error
        if len(generation.prompt) >= self.context_length:
            raise PromptTooLong(
                f"the prompt has {len(generation.prompt)} tokens; the context holds {self.context_length}"
            )
        if generation.adapter is not None:
            await self.load(generation.adapter)
        name = generation.adapter.name if generation.adapter else BASE
        self.running += 1
        try:
            prompt_scores, scores = [], []
            if generation.echo:
                prompt_scores = [score(chr(id), None if i == 0 else -0.5) for i, id in enumerate(generation.prompt)]
                yield piece("".join(map(chr, generation.prompt)), prompt_scores, generation)
            count = min(self.words, generation.decoding.max_tokens)
            for index in range(count):
                await asyncio.sleep(self.pace)
                self.generated += 1
                word = f"{name}:" if index == 0 else f" word{index}"
                scores.append(score(word, -0.25 * (index + 1), generation.decoding.logprobs or 0))
                yield piece(word, scores[-1:], generation)
            usage = Usage(prompt_tokens=len(generation.prompt), completion_tokens=count)
            reason = "stop" if count == self.words else "length"
            timing = Timing(first_token=self.pace, total=self.pace * count)
            told = {}
            if generation.decoding.logprobs is not None:
                told = {"scores": tuple(scores), "prompt_scores": tuple(prompt_scores)}
            yield Finished(finish_reason=reason, usage=usage, timing=timing, **told)
        finally:
            self.running -= 1

    async def score(self, adapter: Adapter, prompts: Sequence[tuple[int, ...]]) -> list[float]:
        """The number of tokens: a longer answer is the better one."""
        return [float(len(prompt)) for prompt in prompts]

    async def load(self, adapter: Adapter) -> None:
        old = self.resident.get(adapter.name)
        pinned = old.pinned if old else False
        self.resident[adapter.name] = Residency(adapter.name, adapter.digest, "resident", adapter.nbytes, 0, pinned)

    async def unload(self, adapter: Adapter) -> None:
        if adapter.name not in self.resident:
            raise AdapterConflict(f"adapter {adapter.name!r} is not loaded")
        del self.resident[adapter.name]

    async def pin(self, adapter: Adapter, pinned: bool) -> None:
        self.resident[adapter.name] = Residency(adapter.name, adapter.digest, "resident", adapter.nbytes, 0, pinned)

    async def retire(self, name: str, keep: str | None = None) -> None:
        if name in self.resident and self.resident[name].digest != keep:
            del self.resident[name]

    def residents(self) -> list[Residency]:
        return list(self.resident.values())

    def stats(self) -> BackendStats:
        return BackendStats(
            running=self.running,
            decoded_tokens=self.generated,
            resident_adapters=len(self.resident),
            resident_bytes=sum(r.nbytes for r in self.resident.values()),
        )


def score(text: str, logprob: float | None, top: int = 0) -> TokenScore:
    """Beside the token that came stand as many others as are asked for, likelier ones first."""
    others = tuple(TopToken(token=f"{text}{n}", token_id=n, logprob=-0.125 * (n + 1)) for n in range(top))
    return TokenScore(token=text, token_id=ord(text[0]), logprob=logprob, top=others)


def piece(text: str, scores: list[TokenScore], generation: Generation) -> str | Scored:
    return text if generation.decoding.logprobs is None else Scored(text=text, scores=tuple(scores))


class MemoryStore:
    """Turns in a dict, in the order they began."""

    def __init__(self) -> None:
        self.turns: dict[str, dict[str, object]] = {}

    def begin_turn(self, request: ChatRequest | CompletionRequest, base_digest: str) -> str:
        turn_id = f"turn-{len(self.turns)}"
        self.turns[turn_id] = {"request": request, "parts": (), "error": None, "is_finished": False}
        return turn_id

    def finish_turn(self, turn_id: str, parts: Sequence[Part], error: Failed | None = None) -> None:
        if turn_id not in self.turns:
            raise NotFound(f"no turn {turn_id!r}")
        self.turns[turn_id].update(parts=tuple(parts), error=error, is_finished=True)


class FolderIntake:
    """Copies folders in, without looking at the weights."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog

    def admit(self, source: Path, name: str | None = None) -> Adapter:
        name = name or source.stem
        check_name(name)
        shutil.copytree(source, self.catalog.folder / name)
        return self.catalog.get(name)

    def delete(self, name: str) -> None:
        shutil.rmtree(self.catalog.get(name).folder)

    def revisions(self, name: str) -> list[Revision]:
        return Revisions(self.catalog.folder).kept(name)

    def revert(self, name: str, digest: str | None = None) -> Adapter:
        revisions = Revisions(self.catalog.folder)
        revisions.swap_in(name, revisions.find(name, digest).adapter.folder)
        return self.catalog.get(name)


def fake_service(
    adapters: Path,
    backend: EchoBackend | None = None,
    store: MemoryStore | None = None,
    library: Library | None = None,
    retriever: ListRetriever | Retriever | None = None,
) -> ChatService:
    """A whole service over fakes, with the real catalogue of the folder `adapters`.

    Without a `library` it has none, and without a `retriever` one that finds nothing.
    """
    catalog = Catalog(adapters)
    return ChatService(
        catalog=catalog,
        intake=FolderIntake(catalog),
        backend=backend or EchoBackend(),
        prompter=CharPrompter(),
        router=KeywordRouter(lambda: [a.name for a in catalog.adapters() if a.is_usable]),
        store=store or MemoryStore(),
        library=library,  # type: ignore[arg-type]
        retriever=retriever or ListRetriever(),
    )
