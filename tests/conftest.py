"""Shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Nothing is fetched while tests run, and no .env of the developer's is read.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture
def shared() -> Path:
    """The folder of public datasets beside the checkout; tests that use it skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("the shared datasets are not beside this checkout")
    return SHARED
