"""The comparison in one picture: how good the answers of each mode are, and how long its prompts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eval.comparing.page import FIGURES, LABELS, commonest, measured_sections
from eval.comparing.sections import MODES, Book, Section
from eval.report.plots import COLOURS, STYLE, errors

LOOKS: Mapping[Book, tuple[str, str, float]] = {"closed": (COLOURS[0], "o", -0.14), "open": (COLOURS[1], "s", 0.14)}
"""Colour, marker, and how far from the middle of its row."""


def drawing(result: Mapping[str, Any]) -> Figure:
    """One column for each task: its headline with 95 % intervals above, mean prompt tokens below.

    The ground is white in every theme.
    """
    sections = measured_sections(result)
    names = list(dict.fromkeys(section.name for section in sections))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(1.6 + 2.9 * len(names), 4.6), layout="constrained", facecolor="white")
        axes = figure.subplots(2, len(names), squeeze=False, sharey=True)
        for column, name in enumerate(names):
            own = [section for section in sections if section.name == name]
            quality, length = axes[0][column], axes[1][column]
            for section in own:
                _dots(quality, section, result["metrics"], section.headline)
                _dots(length, section, result["cost"], "prompt_tokens")
            if own[0].headline == "accuracy":
                _commonest(quality, own[0], result)
            quality.set_title(f"{own[0].title}: {FIGURES[own[0].headline][own[0].headline]}")
            quality.set_xlim(0, 1)
            length.set_title(f"{own[0].title}: prompt tokens")
            length.set_xlim(left=0)
        axes[0][0].set_yticks(range(len(MODES["closed"])), [LABELS[mode] for mode in MODES["closed"]])
        axes[0][0].set_ylim(len(MODES["closed"]) - 0.5, -0.8)
        handles, labels = axes[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    return figure


def _dots(axis: Axes, section: Section, measures: Mapping[str, Any], name: str) -> None:
    colour, marker, offset = LOOKS[section.book]
    found = [measures[f"{section.key}.{mode}.{name}"] for mode in section.modes]
    rows = [MODES["closed"].index(mode) + offset for mode in section.modes]
    values = [m["value"] for m in found]
    what = "closed book: the question alone" if section.book == "closed" else "open book: its passage given"
    axis.errorbar(values, rows, xerr=errors(found), fmt=marker, color=colour, markersize=5, elinewidth=1.5, label=what)
    axis.grid(True, axis="x")  # each book draws on the same axes; without True the second would turn it off
    axis.tick_params(length=0)


def _commonest(axis: Axes, section: Section, result: Mapping[str, Any]) -> None:
    """A line where always the commonest label would be."""
    label, share = commonest(result, section)
    axis.axvline(share, color="#5b6772", linewidth=0.9, linestyle="--")
    axis.annotate(
        f"always “{label}”",
        (share, 1),
        (-3, -1),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        fontsize=7,
        color="#5b6772",
        ha="right",
        va="top",
    )
