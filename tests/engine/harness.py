"""Drives an engine step by step, without its worker thread, so that tests decide who joins when."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from assistant.adapter_pool.loader import Loader
from assistant.adapter_pool.pool import AdapterPool
from assistant.base_model import Base, Device, load_base
from assistant.catalog import Adapter, read_adapter
from assistant.engine.engine import Engine
from assistant.engine.runner import Runner
from assistant.engine.sequence import Sequence
from assistant.engine.spans import SpanConstraint
from assistant.engine.vocabulary import read_vocabulary
from assistant.messages import Decoding, Finished, Scored


@dataclass
class Answer:
    """What one request has received so far."""

    sequence: Sequence | None = None
    items: list[object] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(getattr(item, "text", item) for item in self.items if isinstance(item, str | Scored))

    @property
    def ids(self) -> list[int]:
        return self.sequence.tokens[len(self.sequence.prompt) :]

    @property
    def finished(self) -> Finished:
        assert isinstance(self.items[-1], Finished), self.items
        return self.items[-1]


class Bench:
    """An engine over a base folder, stepped by hand."""

    def __init__(
        self,
        base: Path | Base,
        max_batch: int = 8,
        prefill_chunk: int = 16,
        slots: int = 8,
        device: Device = "cpu",
        **limits: int,
    ) -> None:
        self.base = base if isinstance(base, Base) else load_base(str(base), "float32", Path("unused"), device)
        loader = Loader(self.base)
        self.pool = AdapterPool(loader.load, loader.size_of, limits.pop("pool_bytes", 1 << 28))
        self.runner = Runner(self.base, slots, limits.pop("length", 512))
        self.engine = Engine(self.base, self.runner, self.pool, max_batch, limits.pop("max_queue", 64), prefill_chunk)

    def submit(
        self,
        prompt: str | list[int],
        adapter: Path | Adapter | None = None,
        max_tokens: int = 12,
        echo: bool = False,
        span_of: str | None = None,
        continues: bool = False,
        **decoding: object,
    ) -> Answer:
        answer = Answer()
        ids = self.base.tokenizer(prompt, add_special_tokens=False)["input_ids"] if isinstance(prompt, str) else prompt
        constraint = None
        if span_of is not None:
            constraint = SpanConstraint([span_of], read_vocabulary(self.base.tokenizer), self.base.stop_ids, max_tokens)
        answer.sequence = Sequence(
            prompt=tuple(ids),
            adapter=read_adapter(adapter) if isinstance(adapter, Path) else adapter,
            decoding=Decoding(**{"temperature": 0, "max_tokens": max_tokens, **decoding}),
            max_tokens=max_tokens,
            emit=answer.items.append,
            echo=echo,
            constraint=constraint,
            continues=continues,
        )
        self.engine.submit(answer.sequence)
        return answer

    def step(self, count: int = 1) -> None:
        for _ in range(count):
            self.engine._take_in()
            self.engine.step()

    def run(self) -> None:
        """Step until nothing is left, waiting for adapters that load."""
        self.engine._take_in()
        while not self.engine.scheduler.is_idle:
            if not self.engine.step():
                for entry in self.pool.entries():
                    entry.loaded.exception(timeout=30)

    def close(self) -> None:
        self.engine.check_integrity()
        self.engine.stop()
        self.engine.check_integrity()
        self.pool.close()
        self.runner.close()
