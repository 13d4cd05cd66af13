"""Tiny random bases and adapters, real in every respect but size."""

from __future__ import annotations

import contextlib
import functools
import json
import string
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from peft import (
    AdaLoraConfig,
    BeftConfig,
    IA3Config,
    LoraConfig,
    MultitaskPromptTuningConfig,
    PeftConfig,
    PeftModel,
    PrefixTuningConfig,
    PromptEncoderConfig,
    PromptTuningConfig,
    get_peft_model,
)
from peft.utils.warning import PeftWarning
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from transformers import (
    CONFIG_MAPPING,
    AutoModelForCausalLM,
    Gemma2Config,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

END = "<|end|>"
CHAT_TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}"
    + END
    + "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)
SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.3,
}

EXPERTS = {
    "mixtral": {"num_local_experts": 4},
    "qwen2_moe": {
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 16,
        "shared_expert_intermediate_size": 16,
        "use_sliding_window": True,
        "layer_types": ["sliding_attention", "full_attention"],
    },
    "qwen3_moe": {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "head_dim": 8},
    "gpt_oss": {"num_local_experts": 4, "head_dim": 8, "layer_types": ["sliding_attention", "full_attention"]},
}
"""Mixture-of-experts bases, by what each is made of."""


def tokenizer() -> PreTrainedTokenizerFast:
    """One token per byte, and an end-of-turn token."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    tokens.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokens.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokens, eos_token=END, pad_token=END, chat_template=CHAT_TEMPLATE)


def word_tokenizer() -> PreTrainedTokenizerFast:
    """As SentencePiece reads: tokens begin with their space, and a text's own first one is dropped."""
    words = [f"▁{first}{second}" for first in string.ascii_lowercase[:16] for second in string.ascii_lowercase[:15]]
    letters = ["<s>", *(f"<0x{byte:02X}>" for byte in "日é".encode()), *string.ascii_lowercase[:10]]
    tokens = Tokenizer(models.BPE(vocab={word: i for i, word in enumerate([*letters, *words])}, merges=[]))
    tokens.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokens, bos_token="<s>", eos_token=END, pad_token=END, chat_template=CHAT_TEMPLATE
    )


def config(kind: str) -> PreTrainedConfig:
    ids = {"vocab_size": 257, "eos_token_id": 256, "pad_token_id": 256, "bos_token_id": None}
    if kind == "llama":
        return LlamaConfig(**SIZES, **ids)
    if kind == "qwen2":
        return Qwen2Config(**SIZES, **ids, tie_word_embeddings=True)
    if kind == "mistral":
        return MistralConfig(**SIZES, **ids, sliding_window=8, head_dim=8)
    if kind == "gemma2":
        return Gemma2Config(**SIZES, **ids, head_dim=8, sliding_window=8, query_pre_attn_scalar=8)
    if kind == "gpt2":
        return GPT2Config(
            vocab_size=257, n_embd=32, n_layer=2, n_head=4, n_positions=512, eos_token_id=256, initializer_range=0.3
        )
    if kind in EXPERTS:
        return CONFIG_MAPPING[kind](**SIZES, **ids, sliding_window=8, **EXPERTS[kind])
    if kind == "longrope":
        factors = {"short_factor": [1.0] * 4, "long_factor": [4.0] * 4}
        return Phi3Config(
            **SIZES, **ids, original_max_position_embeddings=64, rope_parameters={"rope_type": "longrope", **factors}
        )
    raise ValueError(kind)


def write_base(folder: Path, kind: str = "llama", seed: int = 0) -> Path:
    torch.manual_seed(seed)
    AutoModelForCausalLM.from_config(config(kind)).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def lora_config(**changes: object) -> LoraConfig:
    return LoraConfig(**{"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **changes})


def soft_config(kind: str, virtual: int = 5) -> PeftConfig:
    common = {"task_type": "CAUSAL_LM", "num_virtual_tokens": virtual}
    if kind == "prompt":
        return PromptTuningConfig(**common)
    if kind == "ptuning":
        return PromptEncoderConfig(**common, encoder_hidden_size=16)
    if kind == "prefix":
        return PrefixTuningConfig(**common)
    if kind == "multitask":
        return MultitaskPromptTuningConfig(**common, num_tasks=3, num_ranks=2)
    raise ValueError(kind)


def adalora_config(**changes: object) -> AdaLoraConfig:
    """Of four ranks, one layer keeps two and another none, as pruning leaves them."""
    pruned = {
        "model.layers.0.self_attn.q_proj.lora_E": [True, False, False, True],
        "model.layers.1.mlp.down_proj.lora_E": [False] * 4,
    }
    defaults = {"init_r": 4, "target_r": 2, "lora_alpha": 8, "total_step": 10, "task_type": "CAUSAL_LM"}
    targets = ["q_proj", "v_proj", "down_proj"]
    return AdaLoraConfig(**{**defaults, "target_modules": targets, "rank_pattern": pruned, **changes})


def ia3_config(**changes: object) -> IA3Config:
    defaults = {"target_modules": ["k_proj", "v_proj", "down_proj"], "feedforward_modules": ["down_proj"]}
    return IA3Config(**{**defaults, "task_type": "CAUSAL_LM", **changes})


def beft_config() -> BeftConfig:
    return BeftConfig(target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM")


@contextlib.contextmanager
def quiet_peft() -> Iterator[None]:
    """Without PEFT's warnings about what it does itself: AdaLoRA's own names in rank_pattern and layers pruned to rank 0;
    BEFT on layers that have no bias to merge into; and an output layer that is tied to the input's, and saved along."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The following rank_pattern keys", RuntimeWarning)
        warnings.filterwarnings("ignore", ".*have invalid shape", PeftWarning)
        warnings.filterwarnings("ignore", "Model has `tie_word_embeddings=True`", UserWarning)
        warnings.filterwarnings("ignore", "Setting `save_embedding_layers` to `True`", UserWarning)
        warnings.filterwarnings("ignore", "Detected that the base layer has no bias", UserWarning)
        yield


def write_adapter(
    folder: Path, base: Path, peft_config: PeftConfig, seed: int, size: float = 0.3, embeddings: str | bool = False
) -> Path:
    """An adapter as PEFT saves it, with every weight random, so that it changes the answers.

    Args:
        embeddings: PEFT's `save_embedding_layers`; its own default is "auto".
    """
    torch.manual_seed(seed)
    with quiet_peft():
        tuned = get_peft_model(AutoModelForCausalLM.from_pretrained(base), peft_config)
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if parameter.requires_grad or "lora_" in name or "prompt_encoder" in name:
                # What multiplies stays near its start, where it changes nothing.
                start = parameter if "magnitude" in name or "ia3_l" in name else 0.0
                parameter.copy_(start + torch.randn_like(parameter) * size)
    with quiet_peft():
        tuned.save_pretrained(folder, save_embedding_layers=embeddings)
    return folder


def bitfit_config(targets: Sequence[str] = ("q_proj", "o_proj", "down_proj")) -> dict[str, object]:
    return {"peft_type": "BITFIT", "target_modules": list(targets)}


def bottleneck_config(non_linearity: str, r: int = 3) -> dict[str, object]:
    targets = ["o_proj", "down_proj"]
    return {"peft_type": "BOTTLENECK", "r": r, "non_linearity": non_linearity, "target_modules": targets}


def write_own_adapter(folder: Path, base: Path, config: dict[str, object], seed: int, size: float = 0.3) -> Path:
    """An adapter of one of our own types, written by hand so that nothing of ours is needed to read it."""
    torch.manual_seed(seed)
    tensors = {}
    for name, layer in AutoModelForCausalLM.from_pretrained(base).named_modules():
        if name.rpartition(".")[2] not in config["target_modules"]:
            continue
        out, key = layer.weight.shape[0], f"base_model.model.{name}"
        if config["peft_type"] == "BITFIT":
            tensors[f"{key}.bias_delta"] = torch.randn(out) * size
            continue
        tensors[f"{key}.bottleneck_down.weight"] = torch.randn(config["r"], out) * size
        tensors[f"{key}.bottleneck_down.bias"] = torch.randn(config["r"]) * size
        tensors[f"{key}.bottleneck_up.weight"] = torch.randn(out, config["r"]) * size
        tensors[f"{key}.bottleneck_up.bias"] = torch.randn(out) * size
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


def tuned_model(base: Path, adapter: Path | None) -> PreTrainedModel | PeftModel:
    """The base with one adapter, in float32, without anything of ours: the oracle."""
    model = AutoModelForCausalLM.from_pretrained(base)
    if adapter is None:
        return model
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    if config["peft_type"] not in ("BITFIT", "BOTTLENECK"):
        with quiet_peft():
            return PeftModel.from_pretrained(model, adapter)
    tensors = load_file(adapter / "adapter_model.safetensors")
    for name, layer in model.named_modules():
        own = {key.split(f"{name}.")[1]: value for key, value in tensors.items() if f".{name}.b" in key}
        if own:
            layer.register_forward_hook(functools.partial(_change_output, own, config.get("non_linearity")))
    return model


def _change_output(own: dict[str, Tensor], curve: str | None, _layer: object, _inputs: object, h: Tensor) -> Tensor:
    if curve is None:
        return h + own["bias_delta"]
    hidden = h @ own["bottleneck_down.weight"].T + own["bottleneck_down.bias"]
    curved = {"relu": F.relu, "gelu": F.gelu, "silu": F.silu}[curve](hidden)
    return h + curved @ own["bottleneck_up.weight"].T + own["bottleneck_up.bias"]


def peft_answer(
    base: Path, adapter: Path | None, prompt: list[int], new_tokens: int, task_id: int | None = None
) -> list[int]:
    """What PEFT itself generates, greedily, in float32; for types of our own, the base with hooks."""
    model = tuned_model(base, adapter)
    with torch.no_grad(), warnings.catch_warnings():
        # PEFT says so on every soft prompt, whatever it is given: generate always makes position ids.
        warnings.filterwarnings("ignore", "Position ids are not supported", UserWarning)
        ids = torch.tensor([prompt])
        task = {} if task_id is None else {"task_ids": torch.tensor([task_id])}
        output = model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=new_tokens, do_sample=False, **task
        )
    return output[0, len(prompt) :].tolist()
