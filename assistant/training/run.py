"""Train one adapter: `python -m assistant.training.run --recipe R --task T --data PATH|hub:ID --out adapters/NAME`.

From preferences: `… --recipe reward|dpo|kto|grpo --data PATH[@train] --out adapters/NAME`.

The same command, given again after a kill, goes on from the last checkpoint.
"""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Sequence

from assistant.errors import SwapboardError
from assistant.training.options import parse


def main(arguments: Sequence[str] | None = None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options = parse(given)
    # Torch and PEFT take seconds to import: a malformed option is answered before.
    from assistant.training import job
    from assistant.training.preference import job as preferences
    from assistant.training.recipes import OBJECTIVES

    train = preferences.train if options.recipe in OBJECTIVES else job.train
    try:
        train(options, command="python -m assistant.training.run " + shlex.join(given))
    except SwapboardError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
