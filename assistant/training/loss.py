"""The loss of answers: summed over answer tokens only, each weighted where its kind is.

TRL's own loss scores answer tokens only on a GPU with Triton; on a processor it scores every position of a
row against the whole vocabulary, where the answers are two words of a hundred. So this one is used on both.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from assistant.training.packing import IGNORED, visible

Batch = dict[str, Tensor]

# Put before the row as embeddings, virtual tokens move its columns; a prefix in the cache does not.
SHIFTING = ("PROMPT_TUNING", "P_TUNING", "MULTITASK_PROMPT_TUNING")


def answer_loss(model: Any, batch: Batch) -> Tensor:
    """Summed negative log-likelihood of the answer tokens, in nats, times their weights; a scalar.

    Args:
        model: the base, alone or with its adapter.
        batch: labels (N, T), IGNORED where nothing is to be predicted, weights (N, T) or none for one each,
            the model's own inputs, and for packed rows trunks and branches in place of an attention mask.
    """
    logits, columns = _answer_logits(model, batch)
    labels = batch["labels"][:, columns + 1].flatten()
    if (weights := batch.get("weights")) is None:
        return torch.nn.functional.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum")
    losses = torch.nn.functional.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="none")
    return (losses * weights[:, columns + 1].flatten()).sum()


def row_losses(model: Any, batch: Batch) -> Tensor:
    """Mean negative log-likelihood of the answer tokens of each row, in nats; (N,)."""
    logits, columns = _answer_logits(model, batch)
    labels = batch["labels"][:, columns + 1]
    losses = torch.nn.functional.cross_entropy(
        logits, labels.flatten(), ignore_index=IGNORED, reduction="none"
    ).view_as(labels)
    return losses.sum(dim=1) / (labels != IGNORED).sum(dim=1)


def _answer_logits(model: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    """(logits (N × C, vocabulary) in float32, the C columns after which a row continues with an answer token)."""
    labels = batch["labels"]
    inputs = {name: tensor for name, tensor in batch.items() if name not in ("labels", "weights", "trunks", "branches")}
    if "trunks" in batch:
        # Made where the model is: it is as large as the square of the row.
        sees, dtype = visible(batch["trunks"], batch["branches"]), next(model.parameters()).dtype
        inputs["attention_mask"] = torch.zeros_like(sees, dtype=dtype).masked_fill(~sees, torch.finfo(dtype).min)
    columns = (labels[:, 1:] != IGNORED).any(dim=0).nonzero().squeeze(-1)
    config = getattr(model, "active_peft_config", None)
    shift = config.num_virtual_tokens if config is not None and config.peft_type in SHIFTING else 0
    logits = model(**inputs, use_cache=False, logits_to_keep=columns + shift).logits
    return logits.float().flatten(0, 1), columns
