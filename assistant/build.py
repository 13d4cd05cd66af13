"""Settings → a whole service over the embedded engine. The app, the harness and the benchmarks start here."""

from __future__ import annotations

import torch

from assistant.adapter_pool.intake import Intake
from assistant.adapter_pool.loader import Loader
from assistant.backends.local import LocalBackend
from assistant.base_model import Base, load_base
from assistant.catalog import Catalog
from assistant.comparison.batch import Batches
from assistant.comparison.comparator import Comparator
from assistant.feedback.batches import BatchStore
from assistant.feedback.comparisons import ComparisonStore
from assistant.feedback.store import Store
from assistant.prompt import Prompter
from assistant.retrieval.embedder import Embedder
from assistant.retrieval.guard import Guard, GuardedSearch
from assistant.retrieval.library import Library
from assistant.retrieval.rerank import Reranker
from assistant.retrieval.retriever import Retriever
from assistant.retrieval.shared import SharedSearch
from assistant.routing.router import Router
from assistant.service import ChatService
from assistant.settings import Settings


def build_store(settings: Settings) -> Store:
    """The store, at its newest revision; turns and comparisons that a crash cut off are marked as such."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    store = Store(settings.database)
    store.migrate()
    store.recover()
    ComparisonStore(store.database).recover()
    return store


def build_service(settings: Settings, store: Store) -> ChatService:
    """Load the base and put the parts together; `start` it before use.

    Raises:
        BaseModelError: the base cannot be found, loaded or served.
    """
    threads = settings.threads or torch.get_num_threads()
    torch.set_num_threads(1)  # see `Engine.start`: only the engine's own thread computes in parallel
    base = load_base(settings.base, settings.dtype, settings.data_dir, settings.device)
    backend = LocalBackend(
        base,
        max_context=settings.max_context,
        max_batch=settings.max_batch,
        max_queue=settings.max_queue,
        prefill_chunk=settings.prefill_chunk,
        cache_slots=settings.cache_slots,
        pool_bytes=settings.pool_bytes,
        pack_weights=settings.pack_weights,
        threads=threads,
    )
    catalog = Catalog(settings.adapters_dir, (base.name, base.digest))
    intake = build_intake(settings, base, catalog)
    intake.recover()
    embedder = Embedder(settings.embedder)
    router = Router(
        embedder.embed,
        adapters=lambda: [adapter for adapter in catalog.adapters() if adapter.is_usable and not adapter.is_reward],
        threshold=settings.router_threshold,
    )
    prompter = Prompter(base.tokenizer)
    library = Library(
        store.database,
        embedder.embed,
        lambda text: len(prompter.encode(text)),
        embedder=settings.embedder,
        max_bytes=settings.max_document_bytes,
    )
    rerank = Reranker(settings.reranker).scores if settings.reranker else None
    guard = Guard(embedder.embed, settings.embedder, settings.data_dir)
    search = GuardedSearch(Retriever(library, embedder.embed, rerank), guard)
    retriever = SharedSearch(search, library)
    return ChatService(catalog, intake, backend, prompter, router, store, library, retriever)


def build_intake(settings: Settings, base: Base, catalog: Catalog) -> Intake:
    """The door of the adapters folder, for adapters of that base."""
    return Intake(
        catalog,
        Loader(base),
        fresh_base=lambda: load_base(settings.base, "float32", settings.data_dir).model,
        max_bytes=settings.max_upload_bytes,
    )


def build_comparisons(service: ChatService, store: Store) -> tuple[Comparator, Batches]:
    """What compares over the service, and what works through batches; `start` those after the service."""
    comparator = Comparator(service, ComparisonStore(store.database))
    return comparator, Batches(comparator, BatchStore(store.database))
