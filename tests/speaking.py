"""A tiny base that can speak: to whatever is asked, it says one of a few phrases, each about equally often.

A base of random numbers says bytes that hardly anything can be learnt from. This one is trained for some seconds, so a
taste for one of its words has a clear direction: votes can tell it, a reward model can learn it, tuning can follow it.
"""

from __future__ import annotations

import random
import string
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AutoModelForCausalLM, LlamaConfig

from assistant.messages import Message
from assistant.prompt import Prompter
from tests.tiny import config, tokenizer

PHRASES = ("yes", "not now", "maybe some day", "only if you must")
STEPS, BATCH, PEAK = 160, 16, 0.01


def write_speaking_base(folder: Path, seed: int = 0) -> Path:
    """In float32 on one thread, always the same weights. Takes seconds."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng():
            _train(folder, seed)
    finally:
        torch.set_num_threads(threads)
    return folder


def _train(folder: Path, seed: int) -> None:
    torch.manual_seed(seed)
    draw, prompter = random.Random(seed), Prompter(tokenizer())
    shape: LlamaConfig = config("llama")
    shape.initializer_range = 0.1
    model = AutoModelForCausalLM.from_config(shape)
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK, weight_decay=0.0)
    decay = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK, total_steps=STEPS)
    for _ in range(STEPS):
        ids, labels = _batch(prompter, draw)
        logits = model(input_ids=ids).logits[:, :-1]
        loss = F.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        decay.step()
    model.save_pretrained(folder)
    prompter.tokenizer.save_pretrained(folder)


def _batch(prompter: Prompter, draw: random.Random) -> tuple[Tensor, Tensor]:
    """Ids and labels, (BATCH, T): only answers are learnt. Rows are filled on the right, where nothing looks."""
    rows, wanted = [], []
    for _ in range(BATCH):
        words = "".join(draw.choices(string.ascii_lowercase + string.digits + "  ", k=draw.randint(1, 16)))
        talk = [Message(role="user", content=words), Message(role="assistant", content=draw.choice(PHRASES))]
        prompt, answer = prompter.render_example(talk)
        rows.append([*prompt, *answer])
        wanted.append([-100] * len(prompt) + answer)
    longest = max(map(len, rows))
    return (
        torch.tensor([row + [0] * (longest - len(row)) for row in rows]),
        torch.tensor([row + [-100] * (longest - len(row)) for row in wanted]),
    )
