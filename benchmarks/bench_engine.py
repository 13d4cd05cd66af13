"""Tokens per second and time to first token against PEFT on the same machine, in one go.

    python -m benchmarks.bench_engine --streams 8 --adapters 5 --new-tokens 64 --json PATH

The adapters are random LoRAs of rank 16 on all linear layers: speed does not depend on their values.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model

from assistant.base_model import Base, load_base
from assistant.settings import load_settings
from benchmarks.contenders import PeftMixed, PeftSequential, Run, Swapboard, Work
from benchmarks.workloads import WORKLOADS

PROMPT = "Write a short story about a lighthouse keeper who finds a message in a bottle."
RANK = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=8, help="requests at once (default: %(default)s)")
    parser.add_argument("--adapters", type=int, default=5, help="adapters among them (default: %(default)s)")
    parser.add_argument("--new-tokens", type=int, default=64, help="tokens of each answer (default: %(default)s)")
    parser.add_argument(
        "--workload", choices=WORKLOADS, default="uniform", help="who asks for what (default: %(default)s)"
    )
    parser.add_argument(
        "--rounds", type=int, default=1, help="repetitions; medians are reported (default: %(default)s)"
    )
    parser.add_argument("--json", type=Path, help="write the results here")
    options = parser.parse_args()
    if min(options.streams, options.adapters, options.new_tokens, options.rounds) < 1:
        parser.error("--streams, --adapters, --new-tokens and --rounds take whole numbers from 1 up")
    results = measure(options)
    report = {
        "config": {key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()},
        "dtype": load_settings().dtype,
        "threads": torch.get_num_threads(),
        "results": results,
    }
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    fastest = results[0]["tokens_per_second"]
    print(f"{'contender':<16} {'tokens/s':>9} {'first token p50':>16} {'swapboard is':>13}")
    for row in results:
        ratio = f"{fastest / row['tokens_per_second']:.2f} x"
        print(
            f"{row['contender']:<16} {row['tokens_per_second']:>9.1f} {row['time_to_first_token_p50']:>14.3f} s {ratio:>13}"
        )


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    settings = load_settings()
    with tempfile.TemporaryDirectory() as scratch:
        base = load_base(settings.base, settings.dtype, settings.data_dir)
        folders = [write_adapter(Path(scratch) / str(i), base, seed=i) for i in range(options.adapters)]
        ids = base.tokenizer(PROMPT)["input_ids"]
        order = WORKLOADS[options.workload](options.streams, options.adapters, 0)
        work = Work([(ids, folders[index]) for index in order], options.new_tokens)

        def fresh_model() -> Any:
            return load_base(settings.base, settings.dtype, settings.data_dir).model

        contenders: dict[str, Callable[[Work], Run]] = {
            "swapboard": Swapboard(load_base(settings.base, settings.dtype, settings.data_dir), options.streams),
            "peft-sequential": PeftSequential(fresh_model, folders),
            "peft-mixed": PeftMixed(fresh_model, folders),
        }
        runs: dict[str, list[Run]] = {name: [] for name in contenders}
        for _ in range(options.rounds):
            for name, contender in contenders.items():
                runs[name].append(contender(work))
    return [
        {
            "contender": name,
            "tokens_per_second": statistics.median(run.tokens / run.seconds for run in rounds),
            "time_to_first_token_p50": statistics.median(t for run in rounds for t in run.first_tokens),
            "rounds": [run.tokens / run.seconds for run in rounds],
        }
        for name, rounds in runs.items()
    ]


def write_adapter(folder: Path, base: Base, seed: int) -> Path:
    """A random LoRA folder. Spends nothing of `base` but its shapes: PEFT's layers are taken off again."""
    torch.manual_seed(seed)
    config = LoraConfig(
        r=RANK, lora_alpha=RANK, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM"
    )
    tuned = get_peft_model(base.model, config)
    tuned.save_pretrained(str(folder), save_embedding_layers=False)
    tuned.unload()
    return folder


if __name__ == "__main__":
    main()
