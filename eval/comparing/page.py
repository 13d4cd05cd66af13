"""The figures of a comparison as tables in Markdown, for the terminal and for the manual."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from assistant.comparison.request import Mode
from eval.comparing.sections import MODES, SECTIONS, Section

LABELS: Mapping[Mode, str] = {
    "prompt": "prompt only",
    "few-shot": "few-shot",
    "rag": "RAG",
    "tuned": "fine-tuned",
    "rag-tuned": "RAG + fine-tuned",
}
FIGURES = {"f1": {"em": "EM", "f1": "F1"}, "accuracy": {"accuracy": "accuracy", "f1": "macro F1"}}
"""A section's headline → what is told of it, and how that is called."""
NONE = "–"


def page(result: Mapping[str, Any]) -> str:
    """The overview, modes against sections, and under it a table for each section with what an answer took."""
    return "\n\n".join([overview(result), *(details(result, section) for section in measured_sections(result))]) + "\n"


def measured_sections(result: Mapping[str, Any]) -> list[Section]:
    return [section for section in SECTIONS if section.key in result["config"]["prompts"]]


def count(result: Mapping[str, Any], section: Section) -> int:
    """How many records of the section were asked."""
    return sum(_is_of(example, section) for example in result["examples"])


def overview(result: Mapping[str, Any]) -> str:
    """The headline of every mode and section with its 95 % interval."""
    sections = measured_sections(result)
    heads = [f"{s.title}, {s.book} book: {FIGURES[s.headline][s.headline]} ({count(result, s)})" for s in sections]
    rows = []
    for mode in MODES["closed"]:
        cells = [result["metrics"].get(f"{s.key}.{mode}.{s.headline}") for s in sections]
        rows.append([LABELS[mode], *(interval(cell) if cell else NONE for cell in cells)])
    shares = [commonest(result, s) if s.headline == "accuracy" else None for s in sections]
    if any(shares):
        rows.append(["always the commonest label", *(f"{share[1]:.3f}" if share else NONE for share in shares)])
    return table(["", *heads], rows)


def commonest(result: Mapping[str, Any], section: Section) -> tuple[str, float]:
    """The label that is right most often, and the accuracy of always naming it."""
    labels = Counter(e["expected"] for e in result["examples"] if _is_of(e, section))
    [(label, often)] = labels.most_common(1)
    return label, often / labels.total()


def details(result: Mapping[str, Any], section: Section) -> str:
    """All that is told of one section: its figures, how far they are from the base's prompt, and the cost."""
    head = [
        f"{section.title}, {section.book} book",
        *FIGURES[section.headline].values(),
        f"{FIGURES[section.headline][section.headline]} less prompt only",
        "own context found",
        "prompt tokens",
        "answer tokens",
        "seconds",
    ]
    rows = []
    for mode in section.modes:
        place = f"{section.key}.{mode}"
        less, found = (
            result["differences"].get(f"{place}.{section.headline}"),
            result["metrics"].get(f"{place}.retrieved"),
        )
        rows.append(
            [
                LABELS[mode],
                *(interval(result["metrics"][f"{place}.{name}"]) for name in FIGURES[section.headline]),
                interval(less, "+.3f") if less else NONE,
                f"{found['value']:.2f}" if found else NONE,
                f"{result['cost'][f'{place}.prompt_tokens']['value']:.0f}",
                f"{result['cost'][f'{place}.tokens']['value']:.1f}",
                f"{result['cost'][f'{place}.seconds']['value']:.1f}",
            ]
        )
    return table(head, rows)


def interval(measure: Mapping[str, float], form: str = ".3f") -> str:
    return f"{measure['value']:{form}} [{measure['low']:{form}}, {measure['high']:{form}}]"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _is_of(example: Mapping[str, Any], section: Section) -> bool:
    """Whether it is one of the section's, each record counted once."""
    return bool(example["section"] == section.key and example["mode"] == "prompt")
