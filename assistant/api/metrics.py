"""What is counted, for Prometheus. One registry per app, no globals."""

from __future__ import annotations

import bisect
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from assistant.backends.base import Backend
from assistant.catalog import Catalog
from assistant.errors import AdapterBroken, UnknownAdapter
from assistant.messages import AUTO, BASE, ChatRequest, CompletionRequest, Done, Failed, Part, PartFinished, StreamEvent

UNKNOWN = "unknown"
"""Stands for every name that is in no catalogue, so that clients cannot make labels up."""

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
SECONDS_PER_TOKEN = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Listens to the service and asks the backend. Times are the engine's own, one observation per answered part."""

    def __init__(self, catalog: Catalog, backend: Backend) -> None:
        self.catalog = catalog
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "swapboard_requests",
            "Requests that ended, by what was asked for and how they ended (ok or an error code).",
            ["adapter", "outcome"],
            registry=self.registry,
        )
        self.tokens = Counter(
            "swapboard_tokens",
            "Tokens of finished answers, by who answered; cached ones are those of the prompt that were not read again.",
            ["adapter", "kind"],
            registry=self.registry,
        )
        self.queued = self._seconds("swapboard_queue_seconds", "Wait for a place in the batch.")
        self.first_token = self._seconds("swapboard_time_to_first_token_seconds", "From submission to first token.")
        self.answer = self._seconds("swapboard_answer_seconds", "From submission to the last token.")
        self.inter_token = Histogram(
            "swapboard_inter_token_seconds",
            "Mean time between the tokens of one answer, after its first.",
            registry=self.registry,
            buckets=SECONDS_PER_TOKEN,
        )
        self.registry.register(BackendCollector(backend))

    def _seconds(self, name: str, text: str) -> Histogram:
        return Histogram(name, text, registry=self.registry, buckets=SECONDS)

    def hear(self, request: ChatRequest | CompletionRequest, event: StreamEvent) -> None:
        if isinstance(event, PartFinished):
            self._count_part(event.part)
        elif isinstance(event, Done):
            self.requests.labels(self._label(request.adapter), "ok").inc()
        elif isinstance(event, Failed):
            self.requests.labels(self._label(request.adapter), event.code).inc()

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self.registry)

    def _count_part(self, part: Part) -> None:
        usage, timing = part.usage, part.timing
        for kind, count in (
            ("prompt", usage.prompt_tokens),
            ("cached", usage.cached_tokens),
            ("completion", usage.completion_tokens),
        ):
            self.tokens.labels(part.route.adapter, kind).inc(count)
        self.queued.observe(timing.queued)
        self.answer.observe(timing.total)
        if usage.completion_tokens:
            self.first_token.observe(timing.first_token)
        if usage.completion_tokens > 1:
            self.inter_token.observe((timing.total - timing.first_token) / (usage.completion_tokens - 1))

    def _label(self, name: str) -> str:
        if name in (BASE, AUTO):
            return name
        try:
            return self.catalog.get(name).name
        except AdapterBroken:
            return name
        except UnknownAdapter:
            return UNKNOWN


class BackendCollector(Collector):
    """The backend's own counts, read when they are asked for."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    def collect(self) -> Iterable[Metric]:
        stats = self.backend.stats()
        for gauge, text, value in (
            ("running", "Requests in the batch.", stats.running),
            ("waiting", "Requests in the queue.", stats.waiting),
            ("resident_adapters", "Adapters in memory.", stats.resident_adapters),
            ("resident_bytes", "Bytes of the adapters in memory.", stats.resident_bytes),
        ):
            yield GaugeMetricFamily(f"swapboard_{gauge}", text, value)
        for counter, text, value in (
            ("evictions", "Adapters evicted to make room.", stats.evictions),
            ("steps", "Forward passes.", stats.steps),
            ("prefilled_tokens", "Prompt tokens read, those of unfinished requests included.", stats.prefilled_tokens),
            ("decoded_tokens", "Tokens generated, those of unfinished requests included.", stats.decoded_tokens),
        ):
            yield CounterMetricFamily(f"swapboard_{counter}", text, value)
        yield batch_histogram(stats.batch_rows)


def batch_histogram(batch_rows: dict[int, int]) -> Metric:
    """`batch_rows` counts steps by how many rows they ran."""
    counts = [0] * (len(ROWS) + 1)
    for rows, steps in batch_rows.items():
        counts[bisect.bisect_left(ROWS, rows)] += steps
    total = 0
    buckets: list[tuple[str, float]] = []
    for bound, count in zip([*map(str, ROWS), "+Inf"], counts, strict=True):
        total += count
        buckets.append((bound, total))
    rows_run = sum(rows * steps for rows, steps in batch_rows.items())
    return HistogramMetricFamily("swapboard_batch_rows", "Rows of one forward pass.", buckets, rows_run)
