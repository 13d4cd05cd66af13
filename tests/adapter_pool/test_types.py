"""Every type of adapter that is served: what is read from its files, and what is refused and how."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch import Tensor

from assistant.adapter_pool.convert import CONVERTIBLE
from assistant.adapter_pool.loader import READERS, Loader
from assistant.base_model import load_base
from assistant.catalog import CONFIG_FILE, SERVED_TYPES, WEIGHTS_FILE, read_adapter
from assistant.errors import AdapterBroken
from tests import tiny
from tests.engine.harness import Bench

PREFIX = "base_model.model.model.layers.0."
O_PROJ, K_PROJ, Q_PROJ = (f"{PREFIX}self_attn.{name}" for name in ("o_proj", "k_proj", "q_proj"))

OF_PEFT = {
    "dora": lambda: tiny.lora_config(r=3, use_dora=True),
    "adalora": tiny.adalora_config,
    "ia3": tiny.ia3_config,
    "beft": tiny.beft_config,
    "multitask": lambda: tiny.soft_config("multitask", 4),
}
OWN = {"bitfit": tiny.bitfit_config, "bottleneck": lambda: tiny.bottleneck_config("relu")}


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return tiny.write_base(tmp_path_factory.mktemp("types") / "base", "qwen2")


@pytest.fixture(scope="module")
def loader(base) -> Loader:
    return Loader(load_base(str(base), "float32", Path("unused")))


def write(kind: str, folder: Path, base: Path) -> Path:
    if kind in OWN:
        return tiny.write_own_adapter(folder, base, OWN[kind](), 5)
    config = OF_PEFT[kind]()
    return tiny.write_adapter(folder, base, config, 5, size=2.0 if config.is_prompt_learning else 0.3)


def change(folder: Path, config: dict[str, object], tensors: dict[str, Tensor | None]) -> Path:
    """Sets fields of the config and tensors of the file; None takes a tensor out."""
    path = folder / CONFIG_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **config}))
    held = {**load_file(folder / WEIGHTS_FILE), **tensors}
    save_file({key: tensor for key, tensor in held.items() if tensor is not None}, folder / WEIGHTS_FILE)
    return folder


def test_every_served_type_has_a_reader():
    assert set(READERS) == set(SERVED_TYPES)


def test_the_manual_lists_every_type_that_is_served_or_converted():
    manual = (Path(__file__).parents[2] / "docs" / "adapters.md").read_text(encoding="utf-8")
    served, _, rest = manual.partition("**Converted to LoRA**")
    converted = rest.partition("**Refused**")[0].replace("-", "").upper()
    assert [kind for kind in SERVED_TYPES if f"`{kind}`" not in served] == []
    assert [kind for kind in CONVERTIBLE if kind not in converted] == []


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        ("dora", ("DORA", 3)),
        ("adalora", ("ADALORA", 2)),
        ("ia3", ("IA3", None)),
        ("beft", ("BEFT", None)),
        ("bitfit", ("BITFIT", None)),
        ("bottleneck", ("BOTTLENECK", 3)),
        ("multitask", ("MULTITASK_PROMPT_TUNING", 4)),
    ],
)
def test_the_catalogue_shows_type_and_rank(base, tmp_path, kind, shown):
    adapter = read_adapter(write(kind, tmp_path / kind, base))
    assert adapter.is_usable and (adapter.type, adapter.rank) == shown
    assert adapter.is_soft_prompt == (kind == "multitask")


NAN = float("nan")
REFUSED = [
    ("dora", {}, {f"{Q_PROJ}.lora_magnitude_vector": torch.ones(31)}, r"\(31,\) does not fit; needed: \(32,\)"),
    ("dora", {}, {f"{Q_PROJ}.lora_magnitude_vector": None}, "needed: lora_A.weight, lora_B.weight, lora_magnitude"),
    ("dora", {"use_dora": False}, {}, "lora_magnitude_vector' is no LoRA weight"),
    ("dora", {"bias": "lora_only"}, {}, "bias='lora_only' is not served; allowed: 'none'"),
    ("adalora", {"init_r": 1}, {}, "is more than init_r=1"),
    ("adalora", {"init_r": None}, {}, "init_r=None.*allowed: a rank from 1 up"),
    ("adalora", {"lora_alpha": 0}, {}, "lora_alpha=0; allowed"),
    ("adalora", {}, {f"{Q_PROJ}.lora_E": torch.ones(3, 1)}, r"lora_E \(3, 1\) does not fit; needed: \(2, 1\)"),
    ("adalora", {}, {f"{Q_PROJ}.lora_B": torch.ones(32, 3)}, "do not fit"),
    ("adalora", {}, {f"{Q_PROJ}.lora_E": None}, "needed: lora_A, lora_B, lora_E"),
    ("ia3", {}, {f"{K_PROJ}.ia3_l": torch.ones(17, 1)}, r"\(17, 1\) does not fit; needed: \(1, 32\) or \(16, 1\)"),
    ("ia3", {}, {f"{K_PROJ}.ia3_l": torch.full((16, 1), NAN)}, "NaN or infinite"),
    ("ia3", {"modules_to_save": ["lm_head"]}, {}, "modules_to_save"),
    ("ia3", {}, {f"{PREFIX}nowhere.ia3_l": torch.ones(16, 1)}, "match nothing in base"),
    ("beft", {}, {f"{Q_PROJ}.beft_bias": torch.ones(32)}, r"needed: \(1, 32\)"),
    ("beft", {}, {f"{Q_PROJ}.beft_bias": torch.full((1, 32), float("inf"))}, "NaN or infinite"),
    ("bitfit", {}, {f"{O_PROJ}.bias_delta": torch.ones(33)}, r"bias_delta \(33,\) does not fit; needed: \(32,\)"),
    ("bitfit", {}, {f"{O_PROJ}.bias_delta": torch.full((32,), NAN)}, "NaN or infinite"),
    ("bitfit", {}, {f"{O_PROJ}.bias": torch.ones(32)}, "no BITFIT weight of a linear layer; allowed: .*bias_delta"),
    ("bitfit", {}, {f"{PREFIX}input_layernorm.bias_delta": torch.ones(32)}, "match nothing in base"),
    ("bottleneck", {"non_linearity": "tanh"}, {}, "non_linearity='tanh'; allowed: 'relu', 'gelu', 'silu'"),
    ("bottleneck", {"non_linearity": ["relu"]}, {}, "non_linearity=.*; allowed: 'relu', 'gelu', 'silu'"),
    ("bottleneck", {"r": 0}, {}, "r=0; allowed: a width from 1 up"),
    ("bottleneck", {"r": 4}, {}, r"bottleneck_down.weight \(3, 32\) does not fit; needed: \(4, 32\)"),
    ("bottleneck", {}, {f"{O_PROJ}.bottleneck_up.bias": None}, "needed: .*bottleneck_up.bias"),
    ("bottleneck", {}, {f"{O_PROJ}.bottleneck_up.weight": torch.ones(3, 32)}, r"needed: \(32, 3\)"),
    ("bottleneck", {}, {f"{O_PROJ}.bottleneck_up.bias": torch.full((32,), NAN)}, "NaN or infinite"),
    ("multitask", {}, {}, "trained for 3 tasks and its config says task_id=None; allowed: 0, 1, 2"),
    ("multitask", {"task_id": 3}, {}, "task_id=3; allowed: 0, 1, 2"),
    ("multitask", {"task_id": "first"}, {}, "task_id='first'; allowed: 0, 1, 2"),
    ("multitask", {"task_id": 0, "num_ranks": 5}, {}, r"config and base need \(3, 4, 5\)"),
    ("multitask", {"task_id": 0}, {"prefix_task_rows": None}, "holds 'prompt_embeddings', 'prefix_task_cols'"),
]


@pytest.mark.parametrize(("kind", "config", "tensors", "reason"), REFUSED)
def test_what_does_not_fit_is_refused_with_what_was_given_and_what_is_allowed(
    base, loader, tmp_path, kind, config, tensors, reason
):
    folder = change(write(kind, tmp_path / "bad", base), config, tensors)
    with pytest.raises(AdapterBroken, match=reason):
        loader.load(read_adapter(folder))


def test_dora_over_a_zero_row_is_refused(base, loader, tmp_path):
    """‖W + BA‖ = 0 has no direction to scale."""
    folder = write("dora", tmp_path / "zero", base)
    name = "model.layers.0.self_attn.q_proj"
    weight = load_base(str(base), "float32", tmp_path).model.get_submodule(name).weight
    held = load_file(folder / WEIGHTS_FILE)
    # A's first row is W's, and B takes it away once; rank 3 and alpha 3 make the scaling 1.
    a, b = held[f"{Q_PROJ}.lora_A.weight"], held[f"{Q_PROJ}.lora_B.weight"]
    a[0], b[0] = weight[0].detach(), torch.tensor([-1.0, 0.0, 0.0])
    change(folder, {"lora_alpha": 3}, {f"{Q_PROJ}.lora_A.weight": a, f"{Q_PROJ}.lora_B.weight": b})
    with pytest.raises(AdapterBroken, match="cannot be scaled to a magnitude"):
        loader.load(read_adapter(folder))


@pytest.mark.parametrize("task", [0, 1, 2])
def test_each_task_of_a_multitask_prompt_answers_as_peft_does(base, tmp_path, task):
    source = write("multitask", tmp_path / "source", base)
    prompt = tiny.tokenizer()("What is it?")["input_ids"]
    expected = [tiny.peft_answer(base, source, prompt, 10, task_id=other) for other in range(3)]
    assert len({tuple(answer) for answer in expected}) == 3, "the tasks differ, so equality below means something"
    folder = write("multitask", tmp_path / "served", base)
    bench = Bench(base)
    answer = bench.submit(prompt, change(folder, {"task_id": task}, {}), 10)
    bench.run()
    assert answer.ids == expected[task]
    bench.close()


def test_a_multitask_prompt_of_one_task_needs_no_choice(base, loader, tmp_path):
    config = tiny.soft_config("multitask", 4)
    config.num_tasks = 1
    folder = tiny.write_adapter(tmp_path / "single", base, config, 5)
    weights = loader.load(read_adapter(folder))
    tuned = PeftModel.from_pretrained(load_base(str(base), "float32", tmp_path).model, folder)
    with torch.no_grad():
        torch.testing.assert_close(weights.embeddings, tuned.get_prompt(1, torch.tensor([0]))[0])


def test_a_layer_pruned_to_rank_zero_changes_nothing(base, loader, tmp_path):
    weights = loader.load(read_adapter(write("adalora", tmp_path / "pruned", base)))
    ranks = {name: len(layer.low_rank.a) for name, layer in weights.layers.items()}
    assert ranks["model.layers.0.self_attn.q_proj"] == 2 and ranks["model.layers.1.mlp.down_proj"] == 0
    assert weights.rank == 4


HEAD = "base_model.model.lm_head"
COPY = f"{HEAD}.base_layer.weight"


@pytest.fixture
def head(base, tmp_path) -> Path:
    """A LoRA on the output layer as PEFT saves it unasked: with a copy of the base's own weight."""
    config = tiny.lora_config(target_modules=["q_proj", "lm_head"])
    folder = tiny.write_adapter(tmp_path / "head", base, config, 5, embeddings="auto")
    assert COPY in load_file(folder / WEIGHTS_FILE)
    return folder


def test_a_copy_of_the_base_in_the_file_is_left_out(base, loader, head):
    prompt = tiny.tokenizer()("What is it?")["input_ids"]
    bench = Bench(base)
    answer = bench.submit(prompt, head, 10)
    bench.run()
    assert answer.ids == tiny.peft_answer(base, head, prompt, 10) != tiny.peft_answer(base, None, prompt, 10)
    bench.close()
    adapter = read_adapter(head)
    taken = sum(tensor.nbytes for key, tensor in load_file(head / WEIGHTS_FILE).items() if key != COPY)
    assert loader.size_of(adapter) == taken


@pytest.mark.parametrize("held", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("served", ["float32", "bfloat16"])
def test_a_copy_of_the_base_is_known_in_any_type(base, head, held, served):
    change(head, {}, {COPY: load_file(head / WEIGHTS_FILE)[COPY].to(held)})
    assert Loader(load_base(str(base), served, head)).load(read_adapter(head)).rank == 4


@pytest.mark.parametrize("held", [torch.float32, torch.bfloat16])
def test_a_copy_that_differs_from_the_base_is_refused(loader, head, held):
    copy = load_file(head / WEIGHTS_FILE)[COPY].to(held)
    copy[3, 3] += 0.1
    with pytest.raises(AdapterBroken, match=r"lm_head.base_layer.weight' differs from base .*an unchanged copy"):
        loader.load(read_adapter(change(head, {}, {COPY: copy})))
    with pytest.raises(AdapterBroken, match="differs from base"):
        loader.load(read_adapter(change(head, {}, {COPY: copy[:-1].clone()})))


def test_a_copy_of_a_layer_that_the_base_lacks_is_refused(loader, head):
    with pytest.raises(AdapterBroken, match="is no LoRA weight"):
        loader.load(read_adapter(change(head, {}, {f"{PREFIX}nowhere.base_layer.weight": torch.ones(2, 2)})))
