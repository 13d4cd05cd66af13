"""Log-probabilities of answers, computed at the places of answer tokens only.

TRL's fused head does so on a GPU with Triton; on a processor it scores every position of a row, prompt and padding
too, against the whole vocabulary. Its trainers ask for it by `model(..., labels=…, fused_lm_head=True)`.
"""

from __future__ import annotations

import functools
import types
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel
from trl.trainer.utils import FusedCausalLMOutput

from assistant.training.packing import IGNORED


def score_answers_only(model: PreTrainedModel, temperature: float = 1.0) -> None:
    """Replace TRL's fused head on `model`. Without `fused_lm_head` the model computes as it always did.

    With it: labels (N, T), IGNORED where nothing is scored, give log_probs, entropy, mean_logits and is_top1, each
    (N, T - 1) and zero where nothing is scored; logits are divided by `temperature`.
    """
    plain = type(model).forward

    @functools.wraps(plain)
    def forward(
        self: PreTrainedModel, *args: Any, fused_lm_head: bool = False, labels: Tensor | None = None, **kwargs: Any
    ) -> Any:
        if not fused_lm_head or labels is None:
            return plain(self, *args, labels=labels, **kwargs)
        following = labels[:, 1:]
        mask = following != IGNORED
        columns = mask.any(dim=0).nonzero().squeeze(-1)
        kwargs.update(use_cache=False, logits_to_keep=columns)
        logits = plain(self, *args, **kwargs).logits.float() / temperature
        token = following[:, columns].clamp(min=0)[..., None]
        total = logits.logsumexp(-1)

        def spread(values: Tensor) -> Tensor:
            everywhere = values.new_zeros(mask.shape).index_copy(1, columns, values)
            return everywhere.masked_fill(~mask, 0)

        with torch.no_grad():
            # H = log Σ exp z − Σ p z
            entropy = total - (logits.softmax(-1) * logits).sum(-1)
            mean, best = logits.mean(-1), logits.argmax(-1) == token[..., 0]
        return FusedCausalLMOutput(
            log_probs=spread(logits.gather(-1, token)[..., 0] - total),
            entropy=spread(entropy),
            mean_logits=spread(mean),
            is_top1=spread(best),
            label_mask=mask,
        )

    model.forward = types.MethodType(forward, model)
