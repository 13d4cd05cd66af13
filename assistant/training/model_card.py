"""The README.md of an adapter, or of a model trained whole, rendered from its card.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assistant.catalog import Score

WHOLE = ("full", "last-layers")
"""Recipes that leave a whole model."""

OWN = ("bitfit", "bottleneck")
"""Recipes whose adapters are of types of this project, which PEFT does not know."""

REWARD = "reward"
"""The recipe that leaves a reward adapter."""

REWARD_LIMITS = (
    "English only. It repeats the taste and the biases of those whose preferences it learnt from, and can be fooled: "
    "an answer that scores high is not for that a good one. Not for decisions about people."
)

LIMITS = (
    "English only, and only for the task above: it answers in the form it was trained for whatever is asked. "
    "It repeats the biases of its data and of the base, a very small model; read its answers as suggestions. "
    "Not for decisions about people."
)


def render(name: str, card: Mapping[str, Any]) -> str:
    """Markdown with the front matter that hubs read. `card` is the content of card.json with "training"."""
    training = card["training"]
    account = {**training["hyperparameters"], **training["report"]}
    settings = {key: value for key, value in account.items() if value is not None}
    template = card["template"] or {"system": None, "user": "{input}"}
    recipe = training["hyperparameters"]["recipe"]
    is_model = recipe in WHOLE
    library = "transformers" if is_model else "swapboard" if recipe in OWN else "peft"
    if recipe == REWARD:
        use = [
            f'Ask the API for scores with `model: "{name}"`; the answer that a conversation ends with is what is scored:',
            f'```sh\ncurl $SERVER/v1/score -d \'{{"model": "{name}", "messages": [{{"role": "user", "content": "…"}}, '
            '{"role": "assistant", "content": "…"}]}\'\n```',
            "Higher is better. Only differences between answers to one prompt have a meaning: the first of two is "
            "preferred with probability sigmoid(r₁ − r₂). The adapter writes no answers.",
        ]
    else:
        use = _use(name, card, template, is_model)
    parts = [
        f"---\nlicense: apache-2.0\nlibrary_name: {library}\nlanguage: en\n"
        f"base_model: {card['base_name']}\ntags: [{', '.join(dict.fromkeys((recipe, card['task'])))}]\n---",
        f"# {name}",
        card["description"],
        f"The whole of `{card['base_name']}`, trained on ({recipe}). Licence: Apache-2.0."
        if is_model
        else f"An adapter for the frozen base `{card['base_name']}`; it holds no base weights"
        f"{', and no library but Swapboard reads it' if recipe in OWN else ''}. Licence: Apache-2.0.",
        _conversion(card.get("conversion")),
        "## Use",
        *use,
        "## Limits",
        f"**{training['warning']}**" if training.get("warning") else "",
        f"{REWARD_LIMITS if recipe == REWARD else LIMITS} Trained on examples of up to {training['max_tokens']} tokens; longer ones are "
        f"{'scored' if recipe == REWARD else 'answered'} less well.",
        "## Scores",
        _scores(card["scores"]),
        _against_start(training.get("against_start")),
        _gate(card.get("gate")),
        "## Data",
        f"`{training['data']}`: {training['data_note']}. {training['report']['train_examples']} examples trained on, "
        f"{training['report']['validation_examples']} held out of the same file for validation, "
        f"{training['skipped']} left out as too long{_said_nothing(training.get('left_out'))}.",
        "## Training",
        f"```text\n{training['command']}\n```",
        "\n".join(
            ["| Setting | Value |", "|---|---|", *(f"| {_words(key)} | {value} |" for key, value in settings.items())]
        ),
        f"Trained on {training['date']} at commit `{training['commit']}`; base digest `{card['base_digest']}`.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _use(name: str, card: Mapping[str, Any], template: Mapping[str, Any], is_model: bool) -> list[str]:
    decoding = ", ".join(f"`{key}` {value}" for key, value in card["decoding"].items())
    examples = "\n".join(f"- {example}".replace("\n", " ") for example in card["examples"][:4])
    wrapped = "\n".join(
        (["system: " + template["system"]] if template["system"] else []) + ["user: " + template["user"]]
    )
    return [
        f"Serve it as the base: `SWAPBOARD_BASE=PATH/{name}`. It was trained on user messages wrapped as:"
        if is_model
        else f'Pick `{name}` in the page, or ask the API for `model: "{name}"`. Every user message is wrapped as in '
        "training:",
        f"```text\n{wrapped}\n```",
        f"Decoding unless the request says otherwise: {decoding}." if decoding else "",
        "Intended use: "
        + card["description"][:1].lower()
        + card["description"][1:]
        + (f" For instance:\n\n{examples}" if examples else ""),
    ]


def _said_nothing(count: int | None) -> str:
    return f", {count} because they say nothing (ties, answers that are the same or empty)" if count else ""


def _against_start(verdict: Mapping[str, Any] | None) -> str:
    """A policy against its start on held-out prompts, see `training.preference.hacking`."""
    if verdict is None:
        return ""
    names = {"reward_gain": "rise of the reward", "win_rate": "share preferred by the judge, length-controlled"}
    lines = [
        f"| {words} | {verdict[key]['value']:.3f} ({verdict[key]['low']:.3f}–{verdict[key]['high']:.3f}) |"
        for key, words in names.items()
        if verdict[key] is not None
    ]
    return "\n".join(["| Held-out prompts, against the start | (95 % interval) |", "|---|---|", *lines])


def _gate(gate: Mapping[str, Any] | None) -> str:
    """Whether it may be offered to users, see `eval.gate`."""
    if gate is None:
        return ""
    lines = ["| Figure | Against | This | Gain (95 % interval) | p | Data |", "|---|---|---|---|---|---|"]
    for name, one in [("aim: ", gate["aim"]), *(("", one) for one in gate["harness"])]:
        lines.append(
            f"| {name}{one['figure']} | {one['against']:.3f} | {one['candidate']:.3f} "
            f"| {one['gain']:+.3f} ({one['low']:+.3f} to {one['high']:+.3f}) | {one['p']:.3f} | `{one['data']}` ({one['count']}) |"
        )
    reasons = "".join(f"\n- {reason}" for reason in gate["reasons"])
    return "\n\n".join(
        [
            "## Gate",
            f"**{gate['verdict'].capitalize()}**, held against `{gate['against']}` on {gate['date']} at commit "
            f"`{gate['commit']}`; above 0 is better.{reasons}",
            "\n".join(lines),
            f"```text\n{gate['command']}\n```",
        ]
    )


def _conversion(conversion: Mapping[str, Any] | None) -> str:
    if conversion is None:
        return ""
    return (
        f"Trained as {conversion['source']} and converted to LoRA, which is what is served; relative error of the "
        f"worst layer {conversion['error']:.4f}, of all on average {conversion['mean_error']:.4f}."
    )


def _scores(scores: list[Mapping[str, Any]]) -> str:
    if not scores:
        return "Not measured yet."
    lines = ["| Metric | Adapter (95 % interval) | Base | Data | Date | Commit |", "|---|---|---|---|---|---|"]
    for score in scores:
        interval = "" if score["low"] is None else f" ({score['low']:.3f}–{score['high']:.3f})"
        checked = Score.model_validate(score)
        lines.append(
            f"| {score['metric']} | {score['value']:.3f}{interval} | {_base(checked)} "
            f"| `{score['data']}`{checked.told} | {score['date']} | `{score['commit']}` |"
        )
    commands = list(dict.fromkeys(score["command"] for score in scores))
    return "\n".join(lines) + "\n\n```text\n" + "\n".join(commands) + "\n```"


def _base(score: Score) -> str:
    """The base's figure, with its day, its commit and what it was held to where they are not those of the score beside
    it."""
    if score.base is None:
        return "–"
    day = score.base_date if score.base_date != score.date else None
    code = f"`{score.base_commit}`" if score.base_commit not in (None, score.commit) else None
    held = score.base_constraint and f"held to {score.base_constraint}"
    differing = ", ".join(filter(None, (day, code, held)))
    return f"{score.base:.3f}" + (f" ({differing})" if differing else "")


def _words(key: str) -> str:
    return key.replace("_", " ")
