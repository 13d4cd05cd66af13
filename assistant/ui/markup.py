"""Values → small pieces of HTML that every part of the page uses."""

from __future__ import annotations

import html


def one_line(text: str) -> str:
    """Text made safe inside one line of HTML; a blank line would end the HTML where Markdown is read."""
    return html.escape(" ".join(text.split())).replace("$", "&#36;")


def size(nbytes: int) -> str:
    amount = float(nbytes)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 10 else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"
