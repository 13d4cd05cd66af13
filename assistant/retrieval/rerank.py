"""A cross-encoder: reads the question and a passage together, and says how well they fit."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from assistant.errors import SettingsError

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

BATCH = 8


class Reranker:
    """Loads its model on the first call. Thread-safe.

    Args:
        source: a local folder or a hub id of a cross-encoder with one score.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self._model: CrossEncoder | None = None
        self._lock = threading.Lock()

    def scores(self, question: str, texts: Sequence[str]) -> list[float]:
        """How well each text answers the question, higher is better; only their order has a meaning.

        A pair beyond the model's window is cut at its end.

        Raises:
            SettingsError: nothing is found under `source`, or it is no cross-encoder.
        """
        # One call at a time may use the model: the tokenizer's padding state is not safe to share.
        with self._lock:
            model = self._model = self._model or self._load()
            scores = model.predict([(question, text) for text in texts], batch_size=BATCH, show_progress_bar=False)
        return [float(score) for score in scores]

    def _load(self) -> CrossEncoder:
        folder = Path(self.source)
        if not folder.is_dir() and (self.source.count("/") != 1 or self.source.startswith((".", "/", "~"))):
            raise SettingsError(f"no reranker {self.source!r}: not a folder; a hub id is owner/name")
        # Imported here because it takes seconds, and a start need not wait for them.
        from sentence_transformers import CrossEncoder

        try:
            # A local folder is complete: nothing is asked of the hub.
            model = CrossEncoder(
                str(folder if folder.is_dir() else self.source), device="cpu", local_files_only=folder.is_dir()
            )
        except (OSError, ValueError, KeyError) as error:
            raise SettingsError(f"reranker {self.source!r} cannot be loaded: {error}") from error
        made_for = getattr(model.config, "architectures", None) or [""]
        # A model without a head of its own would be given a random one.
        if model.num_labels != 1 or not made_for[0].endswith(("ForSequenceClassification", "ForCausalLM")):
            raise SettingsError(
                f"reranker {self.source!r} is {made_for[0] or 'a model of no known kind'} with {model.num_labels} "
                "scores; allowed: a cross-encoder with one score"
            )
        return model
