"""Patterns by which a config names layers. PEFT takes them as regular expressions, and some of those never end."""

from __future__ import annotations

import re
from typing import Any

from assistant.errors import AdapterBroken

MOST_CHARACTERS = 500

ONE = r"(?:[\w.-]|\\[.w]|\[\^?[\w.\\-]+\])"
PLAIN = rf"(?:{ONE}|\\d\+?)*"
MANY = rf"(?:{ONE}[*+?]\??|\((?:\?:)?[\w.|\\-]+\))"
BRANCH = rf"\^?{PLAIN}(?:{MANY}{PLAIN}){{0,3}}\$?"
ALLOWED = re.compile(rf"{BRANCH}(?:\|{BRANCH})*")
"""What names layers in practice. Nothing repeated within a repetition, and few repetitions, so that a match ends soon."""


def check_patterns(config: dict[str, Any], *fields: str) -> None:
    """Checks each field that is a pattern, a list of them, or a map from them.

    Raises:
        AdapterBroken: a pattern may not be matched in little time, or is none.
    """
    for field in fields:
        value = config.get(field)
        for pattern in [value] if isinstance(value, str) else value if isinstance(value, list | dict) else []:
            if not isinstance(pattern, str) or len(pattern) > MOST_CHARACTERS or not ALLOWED.fullmatch(pattern):
                raise AdapterBroken(
                    f"{field} holds {str(pattern)[:100]!r}; allowed: a layer's name or the end of it, with '.', '[qv]', "
                    rf"'\d+', and at most three of '.*', '.+' and '(q|v)', of at most {MOST_CHARACTERS} characters"
                )
