"""`python -m eval.report RESULT.json… --out DIR` writes report.html, which needs no other file, and report.md with PNGs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from assistant.errors import SwapboardError
from assistant.training.provenance import today
from eval.report.gather import gather, read
from eval.report.pages import write_pages


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m eval.report", description="Put results side by side.")
    parser.add_argument("results", nargs="+", type=Path, help="what eval.run and the other commands of eval wrote")
    parser.add_argument("--title", default="Evaluation report")
    parser.add_argument("--out", required=True, type=Path, help="folder to write")
    options = parser.parse_args(arguments)
    try:
        report = gather([read(path) for path in options.results], options.title, today())
        written = write_pages(report, options.out)
    except SwapboardError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("\n".join(map(str, written)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
