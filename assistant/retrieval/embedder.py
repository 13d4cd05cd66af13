"""The sentence embedder: texts → vectors of length one. The only file that touches sentence-transformers."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from assistant.errors import SettingsError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

MODULES_FILE = "modules.json"
"""What makes a folder a sentence-transformers model."""

BATCH = 32


class Embedder:
    """Loads its model on the first call. Thread-safe.

    Args:
        source: an installed weight package that carries one model folder, a local folder, or a hub id.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self._model: SentenceTransformer | None = None
        self._lock = threading.Lock()

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of unit norm, float32, one row per text: (len(texts), dimensions).

        A text beyond the model's window is cut at its end (256 tokens for the default model).

        Raises:
            SettingsError: nothing is found under `source`, or it is no sentence embedder.
        """
        # One text at a time may use the model: the tokenizer's padding state is not safe to share.
        with self._lock:
            model = self._model = self._model or self._load()
            if not texts:
                return np.zeros((0, model.get_embedding_dimension() or 0), dtype=np.float32)
            vectors = model.encode(
                list(texts), batch_size=BATCH, normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False
            )
        return np.asarray(vectors, dtype=np.float32)

    def _load(self) -> SentenceTransformer:
        location = find_embedder(self.source)
        # Imported here because it takes seconds, and a start need not wait for them.
        from sentence_transformers import SentenceTransformer

        try:
            # A local folder is complete: nothing is asked of the hub. The processor serves: sentences are short.
            return SentenceTransformer(str(location), device="cpu", local_files_only=isinstance(location, Path))
        except (OSError, ValueError, KeyError) as error:
            raise SettingsError(f"embedder {self.source!r} cannot be loaded from {location}: {error}") from error


def find_embedder(source: str) -> Path | str:
    """The model folder that `source` names (a path, else an installed package), or the hub id as it stands.

    Raises:
        SettingsError: it is none of the three, or a folder or package without exactly one model.
    """
    path = Path(source)
    if path.is_dir():
        if not (path / MODULES_FILE).is_file():
            raise SettingsError(f"embedder folder {source!r} holds no {MODULES_FILE}; allowed: a sentence embedder")
        return path
    # Weight packages are published with dashes and imported with underscores; either names them.
    module = source.replace("-", "_")
    if module.isidentifier() and (spec := importlib.util.find_spec(module)) and spec.submodule_search_locations:
        package = Path(next(iter(spec.submodule_search_locations)))
        found = sorted(file.parent for file in package.rglob(MODULES_FILE))
        if len(found) != 1:
            raise SettingsError(f"package {source!r} carries {len(found)} sentence embedders; allowed: exactly one")
        return found[0]
    if source.count("/") != 1 or source.startswith((".", "/", "~")):
        raise SettingsError(
            f"no embedder {source!r}: neither a folder nor an installed package; a hub id is owner/name"
        )
    return source
