"""The loss curves of a run as a picture."""

from __future__ import annotations

import csv
from pathlib import Path

from matplotlib.figure import Figure


def draw(table: Path, picture: Path) -> None:
    """Plot loss and validation loss, in nats per answer token, over the steps of a loss.csv; writes a PNG."""
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for column, label, style in (("loss", "training", "-"), ("validation_loss", "validation", "o-")):
        points = [(int(row["step"]), float(row[column])) for row in rows if row[column]]
        if points:
            axes.plot(*zip(*points, strict=True), style, label=label, markersize=3)
    axes.set_xlabel("step")
    axes.set_ylabel("nats per answer token")
    if axes.lines:
        axes.legend()
    figure.savefig(picture, dpi=120)
