"""What came of a turn of the circle, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Figure = Mapping[str, Any]


def render(result: Mapping[str, Any]) -> str:
    """Markdown."""
    gate, gained = result["gate"], result["followed"]
    reward = result["reward"]["report"]
    parts = [
        f"# One turn of the circle: {result['taste']}",
        f"{result['date']}, commit `{result['commit']}`, start `{result['config']['start']}`.",
        f"```sh\n{result['command']}\n```",
        "| Stage | What came of it | Seconds |",
        "|---|---|---|",
    ]
    seconds = result["seconds"]
    method = result["config"]["method"]
    accuracy = reward.get("validation_accuracy")
    told = {
        "answers and votes": f"{result['comparisons']} blind comparisons of {result['config']['answers']} answers, "
        f"{result['pairs']} pairs",
        "answers before": "the start's answers to the unseen prompts",
        "reward model": "" if accuracy is None else f"right on {accuracy:.3f} of the votes held out",
        method: f"{result['policy']['report']['train_examples']} examples trained on",
        "gate": f"{gate['verdict']}{''.join('; ' + reason for reason in gate['reasons'])}",
        "answers after": _outcome(gained),
    }
    parts += [f"| {stage} | {words} | {seconds.get(stage, '–')} |" for stage, words in told.items()]
    parts += [
        "",
        "| Figure | Before | After | Gain (95 % interval) | p | Examples |",
        "|---|---|---|---|---|---|",
    ]
    figures = [("gate, aim: ", gate["aim"]), *(("gate: ", one) for one in gate["harness"])]
    if gained is not None:
        figures.append(("unseen prompts: ", gained))
    parts += [_row(prefix, one) for prefix, one in figures]
    parts += ["", "Gains are turned so that above 0 is better. Intervals and p: paired bootstrap over examples."]
    for example in result.get("examples", [])[:3]:
        before, after = (" ".join(example[when][0].split()) for when in ("before", "after"))
        parts += ["", f"> {example['prompt']}", ">", f"> before: {before}", ">", f"> after: {after}"]
    return "\n".join(parts) + "\n"


def _outcome(gained: Figure | None) -> str:
    if gained is None:
        return "not served, so not asked"
    return "the taste is followed more" if gained["low"] > 0 else "the taste is not surely followed more"


def _row(prefix: str, one: Figure) -> str:
    return (
        f"| {prefix}{one['figure']} | {one['against']:.3f} | {one['candidate']:.3f} "
        f"| {one['gain']:+.3f} ({one['low']:+.3f} to {one['high']:+.3f}) | {one['p']:.3f} | {one['count']} |"
    )
