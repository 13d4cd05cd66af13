"""Plots of a report. Every function gives a figure; nothing is drawn on a screen."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eval.report.gather import BiasSet, Curves, Run, TaskRuns

COLOURS = ("#2f6f9f", "#d9822b", "#4f9d69", "#a8577e", "#7a6fb0", "#8a8d91", "#c2a12d", "#3f9aa3")
INK, FAINT = "#27313a", "#d5dbe1"
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": "#5b6772",
    "ytick.color": INK,
    "grid.color": FAINT,
    "grid.linewidth": 0.7,
    "svg.hashsalt": "swapboard",
}
PANELS = 3
"""Panels in one row."""


def bars(task: TaskRuns) -> Figure:
    """One panel for each metric, one bar with its interval for each run."""
    shown = [[run.result["metrics"].get(metric) for run in task.runs] for metric in task.metrics]
    return _bar_panels(task.metrics, [run.label for run in task.runs], shown)


def states(run: Run) -> Figure:
    """Perplexity and accuracy of each state of a forgetting run."""
    entries = run.result["states"]
    names = [
        entry["state"] if entry["state"] == "base before" else f"{entry['name']}: {entry['state']}" for entry in entries
    ]
    metrics = tuple(entries[0]["metrics"])
    return _bar_panels(metrics, names, [[entry["metrics"].get(metric) for entry in entries] for metric in metrics])


def curves(shown: Curves) -> Figure:
    """One panel for each kind of noise, one curve with its interval for each run."""
    with mpl.rc_context(STYLE):
        figure, axes = _grid(len(shown.kinds), PANELS, height=2.3, share=True)
        for axis, kind in zip(axes, shown.kinds, strict=True):
            for number, run in enumerate(shown.runs):
                points = [(at["rate"], at["metrics"][shown.metric]) for at in run.result["curves"].get(kind, [])]
                rates = [rate for rate, _ in points]
                colour = COLOURS[number % len(COLOURS)]
                axis.plot(
                    rates, [m["value"] for _, m in points], color=colour, marker="o", markersize=3.5, label=run.label
                )
                axis.fill_between(
                    rates, [m["low"] for _, m in points], [m["high"] for _, m in points], color=colour, alpha=0.15, lw=0
                )
            axis.set_title(kind)
            axis.grid(axis="y")
            axis.set_xlabel("rate")
        axes[0].set_ylabel(shown.metric)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)), frameon=False)
        return figure


def groups(shown: BiasSet) -> Figure:
    """The first metric of a bias set for each group, a dot with its interval for each run."""
    metric, rows = shown.metrics[0], ("all", *shown.groups)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.6, 0.9 + (0.24 + 0.13 * len(shown.runs)) * len(rows)), layout="constrained")
        axis = figure.subplots()
        for number, run in enumerate(shown.runs):
            offset = (number - (len(shown.runs) - 1) / 2) * 0.7 / len(shown.runs)
            parts = {"all": run.result, **run.result["groups"]}
            found = [(row + offset, parts[name]["metrics"][metric]) for row, name in enumerate(rows) if name in parts]
            axis.errorbar(
                [m["value"] for _, m in found],
                [row for row, _ in found],
                xerr=errors([m for _, m in found]),
                fmt="o",
                markersize=4.5,
                elinewidth=1.4,
                color=COLOURS[number % len(COLOURS)],
                label=run.label,
            )
        if shown.set == "crows-pairs":
            axis.axvline(0.5, color=INK, linewidth=0.9, linestyle="--")
        axis.set_yticks(range(len(rows)), rows)
        axis.set_ylim(len(rows) - 0.4, -0.6)
        axis.set_xlim(-0.02, 1.02)
        axis.set_xlabel(metric)
        axis.grid(axis="x")
        axis.tick_params(length=0)
        figure.legend(loc="outside lower center", ncols=min(4, len(shown.runs)), frameon=False)
        return figure


def drawn(figure: Figure, form: Literal["svg", "png"]) -> bytes:
    """The figure as a file, the same bytes each time."""
    with mpl.rc_context(STYLE):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=form, dpi=150, metadata={"Date": None} if form == "svg" else {"Software": None})
        return buffer.getvalue()


def _bar_panels(
    metrics: Sequence[str],
    names: Sequence[str],
    shown: Sequence[Sequence[Mapping[str, float] | None]],
    panels: int = PANELS,
) -> Figure:
    with mpl.rc_context(STYLE):
        figure, axes = _grid(len(metrics), panels, height=0.75 + 0.3 * len(names), share=False)
        for place, (axis, metric, values) in enumerate(zip(axes, metrics, shown, strict=True)):
            _bars(axis, names if place % panels == 0 else [""] * len(names), values)
            axis.set_title(metric)
        return figure


def _bars(axis: Axes, names: Sequence[str], values: Sequence[Mapping[str, float] | None]) -> None:
    for row, measure in enumerate(values):
        if measure is None:
            continue
        axis.barh(row, measure["value"], height=0.62, color=COLOURS[row % len(COLOURS)], alpha=0.9)
        axis.errorbar(measure["value"], row, xerr=errors([measure]), color=INK, elinewidth=1.1, capsize=2.5)
    present = [measure for measure in values if measure is not None]
    top = max(measure["high"] for measure in present)
    # Shares keep the scale from 0 to 1, so that panels can be compared; the room on the right is for the numbers.
    limit = 1.0 if top <= 1 else top * 1.02
    for row, measure in enumerate(values):
        if measure is not None:
            axis.text(limit * 1.03, row, f"{measure['value']:.3f}", va="center", fontsize=8)
    axis.set_xlim(min(0.0, *(measure["low"] for measure in present)), limit)
    axis.set_yticks(range(len(names)), names)
    axis.invert_yaxis()
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x")
    axis.set_axisbelow(True)


def errors(measures: Sequence[Mapping[str, float]]) -> list[list[float]]:
    """Distances to both ends of each interval; a percentile interval need not hold the value."""
    below = [max(0.0, measure["value"] - measure["low"]) for measure in measures]
    return [below, [max(0.0, measure["high"] - measure["value"]) for measure in measures]]


def _grid(count: int, panels: int, height: float, share: bool) -> tuple[Figure, list[Axes]]:
    """So many panels in rows; heights in inches."""
    columns = min(panels, count)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(3.2 * columns + 1.0, height * rows + 0.4), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False, sharey=share).flat)
    for axis in axes[count:]:
        axis.remove()
    return figure, axes[:count]
