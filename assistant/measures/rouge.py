"""ROUGE-1, ROUGE-2 and ROUGE-L (Lin, 2004): how many words, pairs and runs of words an answer shares with a text."""

from __future__ import annotations

from collections.abc import Sequence

from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenizers import DefaultTokenizer

from assistant.errors import EvaluationError

METRICS = {"rouge_1": "rouge1", "rouge_2": "rouge2", "rouge_l": "rougeL"}
# With a tokenizer given: of its default the library tells the log, which sets that up before the program does.
SCORER = RougeScorer(list(METRICS.values()), tokenizer=DefaultTokenizer(use_stemmer=True))


def rouge(answer: str, references: Sequence[str]) -> dict[str, float]:
    """F-measures in [0, 1] with stemmed words, each the best over the references, as SciTLDR reports them.

    Letters other than a to z and digits count for nothing: fit for English only.

    Raises:
        EvaluationError: there is no reference.
    """
    if not references:
        raise EvaluationError("a text without references cannot be scored")
    scores = SCORER.score_multi(references, answer)
    return {name: float(scores[key].fmeasure) for name, key in METRICS.items()}
