"""Reads the head of a reward adapter: PEFT's sequence classification with one output, on any type served as it is."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from assistant.adapter_pool.weights import KEY_PREFIX
from assistant.catalog import REWARD_TASK
from assistant.errors import AdapterBroken

HEAD = f"{KEY_PREFIX}score.weight"
"""(1, hidden): what transformers' classifiers of decoder-only models call their head, as PEFT saves it."""

SAVED = "modules_to_save"
HEADS = ("classifier", "score")
"""What PEFT notes there by itself for every classifier, whatever its head is called."""


def take_head(
    config: dict[str, Any], tensors: dict[str, Tensor], hidden: int
) -> tuple[dict[str, Any], dict[str, Tensor], Tensor | None]:
    """Config and tensors without the head, as of an adapter that writes, and the head, (hidden,), float32, or None.

    Raises:
        AdapterBroken: it is a classifier of another kind.
    """
    if config.get("task_type") != REWARD_TASK:
        return config, tensors, None
    saved = config.get(SAVED) or []
    if not isinstance(saved, list) or any(name not in HEADS for name in saved):
        raise AdapterBroken(
            f"{SAVED} is {saved!r}; allowed: a list of {' and '.join(map(repr, HEADS))}, as of a reward adapter only "
            "the head is served"
        )
    head = tensors.get(HEAD)
    if head is None or tuple(head.shape) != (1, hidden):
        found = "none" if head is None else str(tuple(head.shape))
        raise AdapterBroken(f"a reward adapter needs the head {HEAD!r} of shape (1, {hidden}); found: {found}")
    rest = {name: tensor for name, tensor in tensors.items() if name != HEAD}
    # Kept in float32 whatever the base is in: it is small, and its product is the whole answer.
    return {**config, SAVED: None}, rest, head[0].float().contiguous()
