"""An answer against its references, as the harness scores it."""

from __future__ import annotations

from collections.abc import Sequence

from assistant.measures.em_f1 import exact_match, token_f1
from assistant.measures.rouge import rouge
from assistant.messages import Frozen


class Scores(Frozen):
    """Each in [0, 1], and the best over the references: SQuAD's exact match and token F1, and ROUGE-L."""

    exact_match: float
    f1: float
    rouge_l: float


def score(answer: str, references: Sequence[str]) -> Scores | None:
    """None where there is nothing to score against."""
    if not references:
        return None
    return Scores(
        exact_match=exact_match(answer, references),
        f1=token_f1(answer, references),
        rouge_l=rouge(answer, references)["rouge_l"],
    )
