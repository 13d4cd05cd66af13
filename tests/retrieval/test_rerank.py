"""The cross-encoder hook, with a tiny model of random weights: what it takes, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, BertModel, BertTokenizerFast, PreTrainedModel

from assistant.errors import SettingsError
from assistant.retrieval.rerank import Reranker

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "ferry", "leaves", "noon", "copper", "when"]


def config(labels: int) -> BertConfig:
    return BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=32,
        num_labels=labels,
        initializer_range=1.0,
    )


def saved(folder: Path, model: PreTrainedModel) -> str:
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=32).save_pretrained(folder)
    model.save_pretrained(folder)
    return str(folder)


def test_every_text_is_scored_with_the_question(tmp_path: Path) -> None:
    torch.manual_seed(0)
    reranker = Reranker(saved(tmp_path / "model", BertForSequenceClassification(config(1))))
    texts = ["ferry leaves noon", "copper", "noon " * 100]
    scores = reranker.scores("when ferry leaves", texts)
    assert len(set(scores)) == 3
    assert reranker.scores("when ferry leaves", texts[1:2]) == pytest.approx(scores[1:2], abs=1e-5)
    assert reranker.scores("copper", texts[1:2]) != pytest.approx(scores[1:2], abs=1e-5)


@pytest.mark.parametrize("source", ["./missing/folder", "no-such-model", "a/b/c"])
def test_unknown_source_is_refused_by_name(source: str) -> None:
    with pytest.raises(SettingsError, match=f"no reranker '{source}'"):
        Reranker(source).scores("when", ["noon"])


def test_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be loaded"):
        Reranker(str(tmp_path)).scores("when", ["noon"])


def test_model_without_exactly_one_score_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="3 scores"):
        Reranker(saved(tmp_path / "three", BertForSequenceClassification(config(3)))).scores("when", ["noon"])


def test_encoder_without_a_head_is_refused_rather_than_given_a_random_one(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is BertModel"):
        Reranker(saved(tmp_path / "bare", BertModel(config(1)))).scores("when", ["noon"])
