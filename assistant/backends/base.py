"""The interface between a turn and whatever computes it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from assistant.catalog import Adapter
from assistant.messages import Decoding, Finished, Scored


@dataclass(frozen=True)
class Generation:
    """One continuation to compute. `prompt` holds token ids; `adapter` None means the base itself.

    With `caps_length`, an answer limit that does not fit the context is lowered to what fits;
    without it such a request is refused. With `echo` the prompt's own text, and its scores where any are asked for,
    come before the answer. `span_sources` are the texts that `decoding.constraint` speaks of. With `continues` the
    answer goes on in the middle of the prompt's text, a space that it begins with included.
    """

    prompt: tuple[int, ...]
    adapter: Adapter | None
    decoding: Decoding
    caps_length: bool = True
    echo: bool = False
    span_sources: tuple[str, ...] = ()
    continues: bool = False


@dataclass(frozen=True)
class Residency:
    """One adapter revision in memory. `leases` counts the running requests that hold it."""

    name: str
    digest: str
    state: str
    nbytes: int
    leases: int
    pinned: bool
    error: str | None = None


@dataclass(frozen=True)
class BackendStats:
    """A snapshot. Counters only grow; `batch_rows` counts steps by how many rows they ran."""

    running: int = 0
    waiting: int = 0
    steps: int = 0
    prefilled_tokens: int = 0
    decoded_tokens: int = 0
    evictions: int = 0
    resident_bytes: int = 0
    resident_adapters: int = 0
    batch_rows: dict[int, int] = field(default_factory=dict)


class Backend(Protocol):
    """All methods may be called from any thread; the async ones from any event loop."""

    @property
    def base_name(self) -> str: ...

    @property
    def base_digest(self) -> str: ...

    @property
    def context_length(self) -> int:
        """Most tokens of prompt and answer together."""
        ...

    @property
    def max_batch(self) -> int:
        """Most requests that are computed at the same time; others wait, and may be refused."""
        ...

    @property
    def is_alive(self) -> bool:
        """Whether it computes: False once it has failed in a way that only another start mends."""
        ...

    async def start(self) -> None: ...

    async def stop(self) -> None:
        """End all requests with EngineStopped and free everything."""
        ...

    def generate(self, generation: Generation) -> AsyncGenerator[str | Scored | Finished, None]:
        """Stream text pieces, then one `Finished`. Pieces are `Scored` where scores are asked for.

        Closing the iterator cancels the request: it takes part in no further step.

        Raises, on the first item or later:
            PromptTooLong: the prompt does not fit; gives the counts.
            InvalidRequest: a token id is unknown, or no span fits the limit.
            QueueFull: too many requests wait already.
            AdapterError: the adapter cannot be served.
            EngineError: the backend stopped or a step failed.
        """
        ...

    async def score(self, adapter: Adapter, prompts: Sequence[tuple[int, ...]]) -> list[float]:
        """What a reward adapter makes of each text, given as token ids; higher is better.

        The texts are read as rows of the mixed batch, beside whatever else runs. Cancelling the call cancels them.

        Raises:
            InvalidRequest: the adapter has no head of one score, a text is empty, or a token id is unknown.
            PromptTooLong, QueueFull, AdapterError, EngineError: see `generate`.
        """
        ...

    async def load(self, adapter: Adapter) -> None:
        """Make an adapter resident; returns once it is. Raises AdapterError where it cannot be."""
        ...

    async def unload(self, adapter: Adapter) -> None:
        """Drop a resident adapter. Raises AdapterConflict while requests hold it."""
        ...

    async def pin(self, adapter: Adapter, pinned: bool) -> None:
        """A pinned adapter is made resident and never evicted."""
        ...

    async def retire(self, name: str, keep: str | None = None) -> None:
        """Let go of all revisions under `name` but the digest `keep`; running requests finish on theirs."""
        ...

    def residents(self) -> list[Residency]: ...

    def stats(self) -> BackendStats: ...
