"""Adapters that take a pass's turn on the one frozen base: the reference a policy starts from."""

from __future__ import annotations

from peft import PeftModel

POLICY, REFERENCE = "default", "ref"


def settle_reference(policy: PeftModel, is_fresh: bool) -> None:
    """Leave the policy the only adapter that is trained.

    TRL copies the policy as it starts under the name "ref". For fresh weights the copy changes nothing of the base's
    answers and is dropped: TRL's trainers then take the base with its adapters switched off.
    """
    if REFERENCE in policy.peft_config and is_fresh:
        policy.delete_adapter(REFERENCE)
    policy.set_adapter(POLICY)
    for name, parameter in policy.named_parameters():
        if "lora_" in name and f".{POLICY}." not in name:
            parameter.requires_grad_(False)


def only_policy(policy: PeftModel) -> None:
    """Take off every adapter but the one that was trained: PEFT writes all there are."""
    policy.set_adapter(POLICY)
    for name in list(policy.peft_config):
        if name != POLICY:
            policy.delete_adapter(name)
