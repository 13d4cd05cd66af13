"""Which request asks for which adapter: the shapes that multi-adapter serving is measured on."""

from __future__ import annotations

import random
from collections.abc import Callable

ZIPF_EXPONENT = 1.2


def identical(streams: int, adapters: int, seed: int = 0) -> list[int]:
    """All requests ask for the same adapter."""
    return [0] * streams


def uniform(streams: int, adapters: int, seed: int = 0) -> list[int]:
    """Every adapter is asked for equally often, in turn."""
    return [index % adapters for index in range(streams)]


def distinct(streams: int, adapters: int, seed: int = 0) -> list[int]:
    """Every request asks for an adapter of its own; needs as many adapters as streams."""
    if adapters < streams:
        raise ValueError(f"{streams} distinct streams need {streams} adapters, not {adapters}")
    return list(range(streams))


def skewed(streams: int, adapters: int, seed: int = 0) -> list[int]:
    """Each adapter is asked for half as often as the one before it."""
    return random.Random(seed).choices(range(adapters), [2.0**-rank for rank in range(adapters)], k=streams)


def zipf(streams: int, adapters: int, seed: int = 0) -> list[int]:
    """Popularity falls with a power of the rank."""
    weights = [(rank + 1) ** -ZIPF_EXPONENT for rank in range(adapters)]
    return random.Random(seed).choices(range(adapters), weights, k=streams)


WORKLOADS: dict[str, Callable[[int, int, int], list[int]]] = {
    "identical": identical,
    "uniform": uniform,
    "distinct": distinct,
    "skewed": skewed,
    "zipf": zipf,
}
