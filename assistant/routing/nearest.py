"""How near a message is to each group of examples. Vectors come from an embed function; no torch here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assistant.routing.views import View

Embed = Callable[[Sequence[str]], NDArray[np.float32]]

# Chosen on the development half of the routing set, see docs/routing.md.
FRAME_WEIGHT = 0.6
MATERIAL_GAP = 0.05
GROUNDING_GAP = 0.1
ASK_GAP = 0.05
NEIGHBOURS = 3


@dataclass(frozen=True)
class Examples:
    """The examples of one group with their vectors: `frames` and `wholes` (n, d), `shape` (n, 3) of booleans.

    The columns of `shape`: is an ask, came with material, is grounded in the material.
    """

    texts: tuple[str, ...]
    frames: NDArray[np.float32]
    wholes: NDArray[np.float32]
    shape: NDArray[np.bool_]


@dataclass(frozen=True)
class Nearness:
    """`score`: mean similarity of the nearest examples, at most 1. `example`: the nearest one, `similarity`: its own."""

    score: float
    example: str
    similarity: float


def embed_examples(texts: Sequence[str], views: Sequence[View], embed: Embed) -> Examples:
    vectors = embed([*(view.frame for view in views), *(view.whole for view in views)])
    shape = np.array([_shape(view) for view in views], dtype=np.bool_).reshape(len(views), 3)
    return Examples(tuple(texts), vectors[: len(views)], vectors[len(views) :], shape)


def embed_views(views: Sequence[View], embed: Embed) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """The (frame, whole) vectors of each view, (d,) each, in one call of the embedder."""
    vectors = embed([*(view.frame for view in views), *(view.whole for view in views)])
    return [(vectors[i], vectors[len(views) + i]) for i in range(len(views))]


def nearness(view: View, frame: NDArray[np.float32], whole: NDArray[np.float32], examples: Examples) -> Nearness:
    """Cosine similarity, less a little for every way in which the two requests are built differently.

    Two asks are compared mostly by their frames, so that pasted material does not drown what is asked of it;
    anything else is compared as a whole.
    """
    by_whole = examples.wholes @ whole
    by_frame = examples.frames @ frame
    is_ask, has_material, is_grounded = examples.shape.T
    both_ask = is_ask & view.is_ask
    similarity = np.where(both_ask, FRAME_WEIGHT * by_frame + (1 - FRAME_WEIGHT) * by_whole, by_whole)
    similarity = similarity - ASK_GAP * (is_ask != view.is_ask)
    similarity = similarity - MATERIAL_GAP * (both_ask & (has_material != view.has_material))
    similarity = similarity - GROUNDING_GAP * (both_ask & (is_grounded != view.is_grounded))
    order = np.argsort(-similarity, kind="stable")[:NEIGHBOURS]
    return Nearness(float(similarity[order].mean()), examples.texts[int(order[0])], float(similarity[order[0]]))


def _shape(view: View) -> tuple[bool, bool, bool]:
    return view.is_ask, view.has_material, view.is_grounded
