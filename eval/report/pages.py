"""A report → report.html in one piece, and report.md with its pictures beside it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure

from eval.report import plots
from eval.report.gather import Report

TEMPLATES = Path(__file__).parent / "templates"


def write_pages(report: Report, folder: Path) -> list[Path]:
    """Write both pages and the pictures; returns what was written. The same report gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = _figures(report)
    written = []
    for name, figure in figures.items():
        path = folder / f"{name}.png"
        path.write_bytes(plots.drawn(figure, "png"))
        written.append(path)
    embedded = {name: _embedded(plots.drawn(figure, "svg")) for name, figure in figures.items()}
    for page, pictures in (("report.html", embedded), ("report.md", {name: f"{name}.png" for name in figures})):
        path = folder / page
        path.write_text(render(report, page, pictures), encoding="utf-8")
        written.insert(0, path)
    return written


def render(report: Report, page: str, pictures: Mapping[str, str]) -> str:
    """A page's text. `pictures` says for each name where its picture is."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=page.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "number": number,
        "signed": signed,
        "chance": chance,
        "cell": cell,
        "shade": shade,
        "size": size,
    }
    return environment.get_template(f"{page}.j2").render(report=report, pictures=pictures)


def number(value: float) -> str:
    """Three decimals; large figures fewer."""
    return f"{value:.3f}" if abs(value) < 1000 else f"{value:.0f}"


def signed(value: float) -> str:
    return f"{value:+.3f}" if abs(value) < 1000 else f"{value:+.0f}"


def chance(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def size(difference: float) -> str:
    """A difference that may be tiny: 0 is exactly none."""
    return "0" if difference == 0 else f"{difference:.1e}"


def cell(text: object, most: int = 300) -> str:
    """Text for a cell of a Markdown table: one line, no bars that would end it, at most so many characters."""
    line = " ".join(str(text).split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
    return line if len(line) <= most else line[: most - 1] + "…"


def shade(count: int, table: Mapping[str, int]) -> str:
    """How dark a cell of a confusion matrix is: its share of the row, from 0 to 1."""
    return f"{count / sum(table.values()):.2f}"


def _figures(report: Report) -> dict[str, Figure]:
    """Every picture by the name under which the pages ask for it."""
    figures = {f"task-{n}": plots.bars(task) for n, task in enumerate(report.tasks, 1)}
    figures |= {f"robustness-{n}": plots.curves(shown) for n, shown in enumerate(report.curves, 1)}
    figures |= {f"bias-{n}": plots.groups(shown) for n, shown in enumerate(report.bias, 1)}
    return figures | {f"forgetting-{n}": plots.states(run) for n, run in enumerate(report.forgetting, 1)}


def _embedded(svg: bytes) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode()
