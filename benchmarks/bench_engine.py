"""Tokens per second and time to first token against PEFT on the same machine, in one go.

    python -m benchmarks.bench_engine --streams 8 --adapters 5 --new-tokens 64 --json PATH

The adapters are random LoRAs of rank 16 on all linear layers: speed does not depend on their values. Each contender
runs in a process of its own, one after another, so that none is slowed by what another left behind.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model

from assistant.base_model import load_base
from assistant.settings import load_settings
from benchmarks.contenders import CONTENDERS, Run, Work
from benchmarks.workloads import WORKLOADS

PROMPT = "Write a short story about a lighthouse keeper who finds a message in a bottle."
RANK = 16


def main() -> None:
    options = parse()
    settings = load_settings()
    with tempfile.TemporaryDirectory() as scratch:
        folders = [Path(scratch) / str(index) for index in range(options.adapters)]
        runs: dict[str, list[Run]] = {name: [] for name in CONTENDERS}
        processes = multiprocessing.get_context("spawn")
        with processes.Pool(1) as pool:
            work = pool.apply(prepare, (folders, options))
        for _ in range(options.rounds):
            for name in CONTENDERS:
                with processes.Pool(1) as pool:
                    runs[name].append(pool.apply(compete, (name, work)))
    results = [
        {
            "contender": name,
            "tokens_per_second": statistics.median(run.tokens / run.seconds for run in rounds),
            "time_to_first_token_p50": statistics.median(t for run in rounds for t in run.first_tokens),
            "rounds": [run.tokens / run.seconds for run in rounds],
        }
        for name, rounds in runs.items()
    ]
    report = {
        "config": {key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()},
        "base": settings.base,
        "dtype": settings.dtype,
        "processors": os.cpu_count(),
        "results": results,
    }
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    show(results)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=8, help="requests at once (default: %(default)s)")
    parser.add_argument("--adapters", type=int, default=5, help="adapters among them (default: %(default)s)")
    parser.add_argument("--new-tokens", type=int, default=64, help="tokens of each answer (default: %(default)s)")
    parser.add_argument("--workload", choices=WORKLOADS, default="uniform", help="who asks for what (%(default)s)")
    parser.add_argument("--rounds", type=int, default=1, help="repetitions; medians are reported (%(default)s)")
    parser.add_argument("--json", type=Path, help="write the results here")
    options = parser.parse_args()
    if min(options.streams, options.adapters, options.new_tokens, options.rounds) < 1:
        parser.error("--streams, --adapters, --new-tokens and --rounds take whole numbers from 1 up")
    return options


def prepare(folders: list[Path], options: argparse.Namespace) -> Work:
    """Write the adapters and lay out the requests."""
    settings = load_settings()
    base = load_base(settings.base, settings.dtype, settings.data_dir)
    warnings.simplefilter("ignore", FutureWarning)
    for seed, folder in enumerate(folders):
        torch.manual_seed(seed)
        config = LoraConfig(r=RANK, lora_alpha=RANK, target_modules="all-linear", init_lora_weights=False)
        tuned = get_peft_model(base.model, config)
        tuned.save_pretrained(str(folder), save_embedding_layers=False)
        tuned.unload()
    ids = base.tokenizer(PROMPT)["input_ids"]
    order = WORKLOADS[options.workload](options.streams, options.adapters, 0)
    return Work([(ids, folders[index]) for index in order], options.new_tokens)


def compete(name: str, work: Work) -> Run:
    warnings.simplefilter("ignore", FutureWarning)
    settings = load_settings()
    return CONTENDERS[name](settings, work)(work)


def show(results: list[dict[str, Any]]) -> None:
    fastest = results[0]["tokens_per_second"]
    print(f"{'contender':<16} {'tokens/s':>9} {'first token p50':>16} {'swapboard is':>13}")
    for row in results:
        ratio = f"{fastest / row['tokens_per_second']:.2f} x"
        print(
            f"{row['contender']:<16} {row['tokens_per_second']:>9.1f} "
            f"{row['time_to_first_token_p50']:>14.3f} s {ratio:>13}"
        )


if __name__ == "__main__":
    main()
