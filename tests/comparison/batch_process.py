"""A process that works through whatever batches the database holds, to be killed: python -m … DATABASE-FILE ADAPTERS."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from assistant.comparison.batch import Batches
from assistant.comparison.comparator import Comparator
from assistant.feedback.batches import BatchStore
from assistant.feedback.comparisons import ComparisonStore
from assistant.feedback.store import Store
from tests.fakes import EchoBackend, fake_service


async def main(database: Path, adapters: Path) -> None:
    store = Store(f"sqlite:///{database}")
    store.recover()
    comparisons = ComparisonStore(store.database)
    comparisons.recover()
    service = fake_service(adapters, EchoBackend(words=3, pace=0.02), store)
    batches = Batches(Comparator(service, comparisons), BatchStore(store.database))
    await batches.start()
    print("working", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
