"""A leaderboard → its tables, what it rests on, and its plots. Pure: values in, HTML and SVG out.

Names come from files, too: everything is escaped that becomes part of HTML, and no plot reads them as formulas.
The plots are drawn in the colours of the page's own variables, so that they are readable in light and dark alike.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from datetime import date
from math import nan
from typing import Any

import matplotlib as mpl
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from assistant.feedback.battles import By
from assistant.feedback.leaderboard import Interval, Leaderboard, Standing
from assistant.messages import BASE
from assistant.ui.compare_view import way_text
from assistant.ui.markup import one_line
from assistant.ui.preference_view import named

COLOURS = {
    "#123456": "currentColor",
    "#234567": "var(--color-accent)",
    "#345678": "var(--sb-muted)",
    "#456789": "var(--sb-line)",
}
"""What stands for a colour of the page while a plot is drawn."""
INK, ACCENT, MUTED, FAINT = COLOURS

STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": MUTED,
    "ytick.color": INK,
    "grid.color": FAINT,
    "grid.linewidth": 0.7,
    "svg.fonttype": "none",
    "svg.hashsalt": "swapboard",
}
WORDS = {"preference": "Which is better", "thumb": "Good or bad"}


# Tables -------------------------------------------------------------------------------------------


def standings_table(board: Leaderboard, by: By) -> str:
    """Best first: points with their interval, the same without length and place, and what they come from."""
    columns = ("", "Who", "Points [95 % interval]", "Without length and place", "Won", "Tied", "Lost")
    rows = "".join(_standing(standing, rank, by, columns) for rank, standing in enumerate(board.standings, 1))
    note = ""
    if len({standing.group for standing in board.standings}) > 1:
        note = (
            '<p class="sb-hint">Not all have met, directly or through others: points compare within one group only.</p>'
        )
        groups = sorted({standing.group for standing in board.standings})
        note += "".join(
            f'<p class="sb-hint">Group {number}: '
            f"{one_line(', '.join(plain_name(one.name, by) for one in board.standings if one.group == group))}</p>"
            for number, group in enumerate(groups, 1)
        )
    return _table("sb-standings", columns, rows) + note


def _standing(standing: Standing, rank: int, by: By, columns: Sequence[str]) -> str:
    cells = (
        f"<b>{rank}</b>",
        html_name(standing.name, by),
        _interval(standing.rating),
        _interval(standing.adjusted),
        str(standing.wins),
        str(standing.ties),
        str(standing.losses),
    )
    return (
        "<tr>" + "".join(f'<td data-label="{c}">{cell}</td>' for c, cell in zip(columns, cells, strict=True)) + "</tr>"
    )


def matrix_table(board: Leaderboard, by: By) -> str:
    """How often the row beat the column, a tie counting half: a share, with the number of battles under it."""
    names = [standing.name for standing in board.standings]
    columns = ("", *(html_name(name, by) for name in names))
    rows = "".join(
        f"<tr><th>{html_name(name, by)}</th>"
        + "".join(_win(board.wins[i][j], board.met[i][j], i == j) for j in range(len(names)))
        + "</tr>"
        for i, name in enumerate(names)
    )
    return _table("sb-matrix", columns, rows)


def _win(wins: float, met: int, is_own: bool) -> str:
    if is_own or not met:
        return f'<td class="sb-no-battle">{"" if is_own else "–"}</td>'
    share = wins / met
    hue = "good" if share >= 0.5 else "bad"
    colour = f"color-mix(in srgb, var(--sb-{hue}) {round(abs(share - 0.5) * 110)}%, transparent)"
    return f'<td style="background:{colour}"><b>{share:.0%}</b><small>{wins:g} of {met}</small></td>'


def basis(board: Leaderboard) -> str:
    """What the standings rest on, what was left out and why, and what place and length are worth."""
    lines = [
        f"{_count(board.rankings, 'ranking')}: {_count(board.battles, 'battle')} between two answers each are counted."
    ]
    left = sum(board.left_out.values())
    if left:
        reasons = "; ".join(f"{count} × {reason}" for reason, count in board.left_out.items())
        lines.append(f"{_count(left, 'battle')} left out: {reasons}.")
    else:
        lines.append("No battle is left out.")
    if board.left_seat and board.twice_as_long:
        lines.append(
            f"Worth in points: to stand further left {_interval(board.left_seat, '+')}, "
            f"to be twice as long {_interval(board.twice_as_long, '+')}."
        )
    return "".join(f"<p>{one_line(line)}</p>" for line in lines)


def agreement_table(board: Leaderboard) -> str:
    """Krippendorff's alpha for each thing judged by two voters or more."""
    columns = ("Judged", "Krippendorff’s alpha", "By two or more", "Voters")
    rows = "".join(
        "<tr>"
        + "".join(
            f'<td data-label="{column}">{cell}</td>'
            for column, cell in zip(
                columns,
                (
                    WORDS.get(name, name.capitalize()),
                    "–" if alpha.value is None else f"<b>{alpha.value:.2f}</b>".replace("-", "−"),
                    str(alpha.units),
                    str(alpha.voters),
                ),
                strict=True,
            )
        )
        + "</tr>"
        for name, alpha in board.agreement.items()
        if alpha.units
    )
    if not rows:
        return '<p class="sb-empty">Nothing has been judged by two voters yet.</p>'
    return _table("sb-agreement", columns, rows)


def html_name(name: str, by: By) -> str:
    mode, adapter = _split(name, by)
    return named(mode, adapter)


def plain_name(name: str, by: By) -> str:
    mode, adapter = _split(name, by)
    return " ".join(filter(None, (way_text(mode), adapter if adapter != BASE or not mode else "")))


def _split(name: str, by: By) -> tuple[str, str]:
    if by == "mode":
        return name, ""
    if by == "adapter":
        return "", name
    mode, _, adapter = name.partition(":")
    return mode, adapter


def _interval(value: Interval, sign: str = "") -> str:
    known = value.low is not None and value.high is not None
    bounds = f"[{value.low:{sign}.0f}, {value.high:{sign}.0f}]" if known else "(too few votes)"
    return f"{value.value:{sign}.0f} {bounds}".replace("-", "−")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _table(kind: str, columns: Sequence[str], rows: str) -> str:
    head = "".join(f"<th>{column}</th>" for column in columns)
    return (
        f'<div class="sb-scroll"><table class="sb-table sb-plain {kind}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


# Plots --------------------------------------------------------------------------------------------


def standings_plot(board: Leaderboard, by: By) -> str:
    """Points with their 95 % intervals, as they are and without what length and place do."""
    names = [plain_name(standing.name, by) for standing in board.standings]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7, 1.1 + 0.42 * len(names)), layout="constrained")
        axes = figure.subplots()
        series = (
            ("as voted", ACCENT, -0.12, [one.rating for one in board.standings]),
            ("without length and place", MUTED, 0.12, [one.adjusted for one in board.standings]),
        )
        for label, colour, shift, intervals in series:
            axes.errorbar(
                [one.value for one in intervals],
                [place + shift for place in range(len(names))],
                # The value of the votes themselves may lie outside the percentiles of the samples.
                # Without an interval no bar is drawn.
                xerr=[
                    [nan if one.low is None else max(one.value - one.low, 0) for one in intervals],
                    [nan if one.high is None else max(one.high - one.value, 0) for one in intervals],
                ],
                fmt="o",
                markersize=5,
                elinewidth=1.6,
                capsize=2.5,
                color=colour,
                label=label,
            )
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        axes.set_xlabel("points (400 more are ten to one)")
        figure.legend(loc="outside upper right", ncols=2, frameon=False)
        return _svg(figure, "Points with their intervals")


def days_plot(days: Mapping[date, int]) -> str:
    """Votes per day."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7, 1.9), layout="constrained")
        axes = figure.subplots()
        axes.bar(list(days), list(days.values()), width=0.8, color=ACCENT)  # type: ignore[arg-type]
        locator = AutoDateLocator(minticks=1, maxticks=8)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, show_offset=False))
        if len(days) == 1:
            axes.set_xticks(list(days), [f"{day:%Y-%m-%d}" for day in days])  # type: ignore[arg-type]
            axes.margins(x=2)
        axes.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
        axes.grid(axis="y")
        axes.set_ylabel("votes")
        return _svg(figure, "Votes per day")


def _svg(figure: Figure, title: str) -> str:
    """The figure as part of a page, without the rules that it would set for the whole of it."""
    target = io.StringIO()
    figure.savefig(
        target, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
    )
    made = target.getvalue()
    made = re.sub(r"<style.*?</style>", "", made[made.index("<svg") :], flags=re.DOTALL)
    for stand_in, colour in COLOURS.items():
        made = made.replace(stand_in, colour)
    return f'<figure class="sb-plot" role="img" aria-label="{title}">{made}</figure>'
