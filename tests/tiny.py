"""Tiny random bases and adapters, real in every respect but size."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from peft import (
    LoraConfig,
    PeftConfig,
    PeftModel,
    PrefixTuningConfig,
    PromptEncoderConfig,
    PromptTuningConfig,
    get_peft_model,
)
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
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


def tokenizer() -> PreTrainedTokenizerFast:
    """One token per byte, and an end-of-turn token."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    tokens.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokens.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokens, eos_token=END, pad_token=END, chat_template=CHAT_TEMPLATE)


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
    raise ValueError(kind)


def write_adapter(folder: Path, base: Path, peft_config: PeftConfig, seed: int, size: float = 0.3) -> Path:
    """An adapter as PEFT saves it, with every weight random, so that it changes the answers."""
    torch.manual_seed(seed)
    tuned = get_peft_model(AutoModelForCausalLM.from_pretrained(base), peft_config)
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if parameter.requires_grad or "lora_" in name or "prompt_encoder" in name:
                parameter.copy_(torch.randn_like(parameter) * size)
    tuned.save_pretrained(folder, save_embedding_layers=False)
    return folder


def peft_answer(base: Path, adapter: Path | None, prompt: list[int], new_tokens: int) -> list[int]:
    """What PEFT itself generates, greedily, in float32: the oracle."""
    model: PreTrainedModel | PeftModel = AutoModelForCausalLM.from_pretrained(base)
    if adapter is not None:
        model = PeftModel.from_pretrained(model, adapter)
    with torch.no_grad(), warnings.catch_warnings():
        # PEFT says so on every soft prompt, whatever it is given: generate always makes position ids.
        warnings.filterwarnings("ignore", "Position ids are not supported", UserWarning)
        ids = torch.tensor([prompt])
        output = model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=new_tokens, do_sample=False
        )
    return output[0, len(prompt) :].tolist()
