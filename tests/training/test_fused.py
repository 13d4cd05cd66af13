"""The fused layers give what PEFT and transformers give, forwards and backwards."""

import copy

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from assistant.training.fused import fuse_attention, fuse_lora


def adapted(**settings: object) -> PeftModel:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=97,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
    )
    base = LlamaForCausalLM(config).requires_grad_(False)
    model = get_peft_model(
        base, LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear", init_lora_weights=False, **settings)
    )
    assert isinstance(model, PeftModel)
    return model.train()


def run(model: PeftModel, mask: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    ids = torch.arange(22).view(2, 11)
    model.zero_grad()
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    shown = logits[:, 3:].float()
    shown.square().mean().backward()
    return shown.detach(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("dimensions", [2, 4])
def test_same_logits_and_gradients_as_peft(dimensions: int) -> None:
    plain = adapted()
    fused = copy.deepcopy(plain)
    assert fuse_lora(fused) == 14
    fuse_attention(fused)
    mask = torch.ones(2, 11, dtype=torch.long)
    mask[1, 9:] = 0
    if dimensions == 4:
        sees = (torch.ones(11, 11).tril().bool() & mask.bool()[:, None, :])[:, None]
        mask = torch.zeros(sees.shape).masked_fill(~sees, torch.finfo(torch.float32).min)
    expected, wanted = run(plain, mask)
    logits, gradients = run(fused, mask)
    torch.testing.assert_close(logits[0], expected[0], rtol=1e-4, atol=1e-5)
    assert gradients.keys() == wanted.keys()
    for name, gradient in wanted.items():
        torch.testing.assert_close(gradients[name], gradient, rtol=1e-3, atol=1e-6)


def test_layers_with_more_than_lora_keep_pefts_forward() -> None:
    assert fuse_lora(adapted(use_dora=True)) == 0
    assert fuse_lora(adapted(lora_dropout=0.1)) == 0


def test_switched_off_the_base_answers() -> None:
    model = adapted()
    ids = torch.arange(8).view(1, 8)
    with model.disable_adapter():
        before = model(input_ids=ids).logits
    fuse_lora(model)
    with model.disable_adapter():
        assert torch.equal(model(input_ids=ids).logits, before)
    assert not torch.equal(model(input_ids=ids).logits, before)
