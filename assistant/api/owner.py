"""Whose comparisons a client means. There are no accounts: an owner is whoever knows the id."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Header

SHARED = "api"
"""The owner of everything that is asked without a name. No visitor of the page has this id: theirs are long and random."""


def named_owner(
    x_swapboard_owner: Annotated[str | None, Header(min_length=1, max_length=255)] = None,
) -> str:
    return x_swapboard_owner or SHARED


Owner = Annotated[str, Depends(named_owner)]
"""The header `X-Swapboard-Owner`, or the one owner that all nameless clients share."""
