"""The loss curves of a run as a picture."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

LABELS = {"loss": "training", "validation_loss": "validation"}


def draw(table: Path, picture: Path) -> None:
    """Plot loss and validation loss, in nats per answer token, over the steps of a loss.csv; writes a PNG."""
    draw_panels(table, picture, {"nats per answer token": ("loss", "validation_loss")})


def draw_panels(table: Path, picture: Path, panels: Mapping[str, Sequence[str]]) -> None:
    """Plot columns of a loss.csv over the steps, one panel above the other; writes a PNG.

    Args:
        panels: by what stands at the axis, the columns of the panel. What was measured on validation data, rarer
            than the rest, is drawn with dots.
    """
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    figure = Figure(figsize=(7, 1 + 3 * len(panels)), layout="constrained")
    for axes, (unit, columns) in zip(figure.subplots(len(panels), squeeze=False)[:, 0], panels.items(), strict=True):
        for column in columns:
            points = [(int(row["step"]), float(row[column])) for row in rows if row[column]]
            if points:
                style = "o-" if column.startswith("validation") else "-"
                axes.plot(*zip(*points, strict=True), style, label=LABELS.get(column, column), markersize=3)
        axes.set_xlabel("step")
        axes.set_ylabel(unit)
        if axes.lines:
            axes.legend()
    figure.savefig(picture, dpi=120)
