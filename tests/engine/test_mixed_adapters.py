"""Logits of a mixed batch against each adapter's own model, in float32, without the engine around them."""

from __future__ import annotations

from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from assistant.adapter_pool.base_shape import BaseShape
from assistant.adapter_pool.loader import Loader
from assistant.adapter_pool.weights import AdapterWeights
from assistant.base_model import load_base
from assistant.catalog import read_adapter
from assistant.engine.mixed_adapters import MixedAdapters, Pack
from tests import tiny
from tests.engine.test_mixed_batch import write

KINDS = {
    "lora": tiny.lora_config,
    "dora": lambda: tiny.lora_config(r=3, use_dora=True),
    "adalora": tiny.adalora_config,
    "ia3": tiny.ia3_config,
    "beft": tiny.beft_config,
    "bitfit": tiny.bitfit_config,
    "relu": lambda: tiny.bottleneck_config("relu"),
    "gelu": lambda: tiny.bottleneck_config("gelu", r=5),
    "silu": lambda: tiny.bottleneck_config("silu"),
}
TOLERANCE = {"rtol": 1e-4, "atol": 1e-4}


class Zoo:
    """One base, one adapter of every kind, and what each computes on its own."""

    def __init__(self, root: Path, base_kind: str) -> None:
        self.base = tiny.write_base(root / "base", base_kind)
        self.loaded = load_base(str(self.base), "float32", Path("unused"))
        self.folders = {
            name: write(root / name, self.base, config(), seed) for seed, (name, config) in enumerate(KINDS.items())
        }
        loader = Loader(self.loaded)
        self.weights: dict[str, AdapterWeights] = {
            name: loader.load(read_adapter(folder)) for name, folder in self.folders.items()
        }

    @property
    def model(self) -> PreTrainedModel:
        return self.loaded.model

    def alone(self, name: str | None, ids: Tensor) -> Tensor:
        with torch.no_grad():
            return tiny.tuned_model(self.base, self.folders.get(name or ""))(input_ids=ids).logits


@pytest.fixture(scope="module", params=["llama", "qwen2"])
def zoo(request, tmp_path_factory) -> Zoo:
    return Zoo(tmp_path_factory.mktemp(request.param), request.param)


def mixed_logits(zoo: Zoo, owners: list[str | None], ids: Tensor, packs: bool = False) -> Tensor:
    """Row i of `ids`, (rows, tokens), computed with adapter `owners[i]`, all in one call of the model."""
    mixed = MixedAdapters(zoo.model, packs)
    try:
        rows = [(owner, ids.shape[1]) for owner in owners]
        mixed.prepare({owner: zoo.weights[owner] for owner in owners if owner}, rows, torch.arange(ids.numel()))
        with torch.inference_mode():
            return zoo.model(input_ids=ids).logits
    finally:
        mixed.close()


@pytest.mark.parametrize("tokens", [1, 7], ids=["decoding", "prompts"])
@pytest.mark.parametrize("packs", [False, True])
def test_every_row_of_mixed_logits_equals_its_adapter_alone(zoo, tokens, packs):
    torch.manual_seed(3)
    owners = [None, *KINDS, None, *reversed(KINDS)]
    ids = torch.randint(0, 256, (len(owners), tokens))
    alone = {name: zoo.alone(name, ids) for name in [None, *KINDS]}
    answers = list(alone.values())
    for i, one in enumerate(answers):
        for other in answers[:i]:
            assert (one - other).abs().max() > 0.01, "base and adapters differ, so equality below means something"
    got = mixed_logits(zoo, owners, ids, packs)
    for i, owner in enumerate(owners):
        torch.testing.assert_close(got[i], alone[owner][i], **TOLERANCE, msg=lambda m, o=owner: f"{o}: {m}")


def test_a_processor_that_cannot_lay_the_weights_out_computes_with_the_plain_ones(zoo, monkeypatch):
    def refuse(weight, rows):
        raise RuntimeError("mkldnn_reorder_linear_weight: bf16 path needs the cpu support avx_ne_convert or avx512bw")

    ids = torch.randint(0, 256, (2, 7))
    plain = mixed_logits(zoo, ["lora", None], ids)
    monkeypatch.setattr(torch.ops.mkldnn, "_reorder_linear_weight", refuse)
    assert torch.equal(mixed_logits(zoo, ["lora", None], ids, packs=True), plain)


@pytest.mark.parametrize("tokens", [1, 7], ids=["decoding", "prompts"])
def test_rows_of_the_base_are_bit_equal_whatever_runs_beside_them(zoo, tokens):
    owners = [None, *KINDS]
    ids = torch.randint(0, 256, (len(owners), tokens))
    with torch.inference_mode():
        plain = zoo.model(input_ids=ids).logits
    assert torch.equal(mixed_logits(zoo, owners, ids)[0], plain[0])
    assert torch.equal(mixed_logits(zoo, [None] * len(owners), ids), plain)


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_whose_values_overflow_spoils_its_own_row_only(zoo, kind):
    owners = [None, *KINDS]
    ids = torch.randint(0, 256, (len(owners), 1))
    clean = mixed_logits(zoo, owners, ids)
    whole = zoo.weights[kind]
    try:
        zoo.weights[kind] = huge(whole)
        got = mixed_logits(zoo, owners, ids)
    finally:
        zoo.weights[kind] = whole
    for i, owner in enumerate(owners):
        assert torch.equal(got[i], clean[i]) == (owner != kind), owner
    assert not torch.isfinite(got[owners.index(kind)]).all()


def huge(part: Any) -> Any:
    """The same shapes, every value the largest that its type holds: finite, as the loader demands."""
    if isinstance(part, Tensor):
        return torch.full_like(part, torch.finfo(part.dtype).max)
    if isinstance(part, dict):
        return {key: huge(value) for key, value in part.items()}
    return replace(part, **{k: huge(v) for k, v in vars(part).items()}) if is_dataclass(part) else part


def test_adapters_whose_packing_failed_half_way_are_packed_anew(zoo, monkeypatch):
    """As it does where memory runs out: no layer may be left computing as the base."""
    ids = torch.randint(0, 256, (1, 7))
    layer, left = Pack.layer, iter(range(3))

    def runs_out(pack: Pack, name: str) -> object:
        if next(left, None) is None:
            raise torch.OutOfMemoryError("out of memory")
        return layer(pack, name)

    mixed = MixedAdapters(zoo.model, False)
    try:
        step = ({"lora": zoo.weights["lora"]}, [("lora", 7)], torch.arange(7))
        monkeypatch.setattr(Pack, "layer", runs_out)
        with pytest.raises(torch.OutOfMemoryError):
            mixed.prepare(*step)
        monkeypatch.setattr(Pack, "layer", layer)
        mixed.prepare(*step)
        with torch.inference_mode():
            torch.testing.assert_close(zoo.model(input_ids=ids).logits, zoo.alone("lora", ids), **TOLERANCE)
    finally:
        mixed.close()


def test_a_batch_of_lora_alone_carries_nothing_for_the_other_types(zoo):
    pack = Pack({"lora": zoo.weights["lora"]}, torch.device("cpu"))
    layer = pack.layer("model.layers.0.self_attn.q_proj")
    assert layer.low_rank is not None
    assert layer.gain is layer.scale is layer.shift is layer.bottleneck is None
    for group in pack.groups([("lora", 1), (None, 1), ("lora", 5)]):
        assert group.entries is None and group.widths is None and group.curves == ()


def test_neighbouring_bottlenecks_of_one_non_linearity_are_computed_in_one_go(zoo):
    relu, gelu = zoo.weights["relu"], zoo.weights["gelu"]
    pack = Pack({"a": relu, "b": relu, "c": gelu}, torch.device("cpu"))
    (group,) = pack.groups([("c", 1), ("a", 1), ("b", 1)])
    assert [part for part, _ in group.curves] == [slice(0, 6), slice(6, 11)]
    (group,) = pack.groups([("c", 1), ("b", 1)])
    assert [part for part, _ in group.curves] == [slice(0, 3), slice(3, 8)], "counted from the span that is used"


def test_conv1d_layers_take_every_kind_of_change(tmp_path):
    """GPT-2 keeps its weights the other way round, and all its layers have a bias."""
    base = tiny.write_base(tmp_path / "base", "gpt2")
    targets = {"target_modules": ["c_attn", "c_fc"], "fan_in_fan_out": True}
    configs = {
        "dora": tiny.lora_config(use_dora=True, **targets),
        "ia3": tiny.ia3_config(target_modules=["c_attn", "mlp.c_proj"], feedforward_modules=["mlp.c_proj"]),
    }
    loaded = load_base(str(base), "float32", Path("unused"))
    ids = torch.randint(0, 256, (1, 5))
    for seed, (name, config) in enumerate(configs.items()):
        config.fan_in_fan_out = True
        folder = tiny.write_adapter(tmp_path / name, base, config, seed)
        weights = Loader(loaded).load(read_adapter(folder))
        mixed = MixedAdapters(loaded.model)
        mixed.prepare({name: weights}, [(name, 5)], torch.arange(5))
        with torch.no_grad():
            got, alone = loaded.model(input_ids=ids).logits, tiny.tuned_model(base, folder)(input_ids=ids).logits
        mixed.close()
        torch.testing.assert_close(got, alone, **TOLERANCE)
        assert (got - loaded.model(input_ids=ids).logits).abs().max() > 0.01


def test_dora_leaves_the_bias_of_its_layer_unscaled(zoo):
    name = "model.layers.0.self_attn.q_proj"
    bias = BaseShape(zoo.loaded).bias(name)
    change = zoo.weights["dora"].layers[name]
    if bias is None:
        assert change.shift is None
    else:
        torch.testing.assert_close(change.scale * bias + change.shift, bias)
