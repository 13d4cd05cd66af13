"""On which threads something is called."""

from __future__ import annotations

import functools
import threading

import pytest


def threads_of(monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> list[str]:
    """The names of the threads that call `owner.name` from now on, without their numbers."""
    call, found = getattr(owner, name), []

    @functools.wraps(call)
    def noted(*args: object, **kwargs: object) -> object:
        found.append(threading.current_thread().name.rpartition("_")[0])
        return call(*args, **kwargs)

    monkeypatch.setattr(owner, name, noted)
    return found
