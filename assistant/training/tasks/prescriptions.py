"""Prescription lines made up from the usual Latin abbreviations, with their readings in plain words."""

from __future__ import annotations

import random

from assistant.training.tasks.task import Record

DOSES = {
    "tab": ("tablet", "tablets"),
    "cap": ("capsule", "capsules"),
    "puff": ("puff", "puffs"),
    "gtt": ("drop", "drops"),
    "tsp": ("teaspoon", "teaspoons"),
    "mL": ("millilitre", "millilitres"),
    "supp": ("suppository", "suppositories"),
    "patch": ("patch", "patches"),
}
ROUTES = {
    "tab": {"po": "by mouth", "sl": "under the tongue", "pr": "into the rectum"},
    "cap": {"po": "by mouth"},
    "puff": {"inh": "by inhalation"},
    "gtt": {"od": "in the right eye", "os": "in the left eye", "ou": "in both eyes", "au": "in both ears"},
    "tsp": {"po": "by mouth"},
    "mL": {"po": "by mouth", "im": "into a muscle", "iv": "into a vein", "sc": "under the skin"},
    "supp": {"pr": "into the rectum", "pv": "into the vagina"},
    "patch": {"td": "on the skin"},
}
OFTEN = {
    "qd": "once a day",
    "bid": "twice a day",
    "tid": "three times a day",
    "qid": "four times a day",
    "qod": "every other day",
    "qam": "every morning",
    "q4h": "every four hours",
    "q6h": "every six hours",
    "q8h": "every eight hours",
    "q12h": "every twelve hours",
    "qwk": "once a week",
}
WHEN = {
    "": "",
    "ac": "before meals",
    "pc": "after meals",
    "hs": "at bedtime",
    "c food": "with food",
    "ac & hs": "before meals and at bedtime",
    "pc & hs": "after meals and at bedtime",
}
ENDS = {
    "": "",
    "prn": "as needed",
    "prn pain": "as needed for pain",
    "prn nausea": "as needed for nausea",
    "prn fever": "as needed for fever",
    "x 5 d": "for 5 days",
    "x 7 d": "for 7 days",
    "x 10 d": "for 10 days",
    "x 2 wk": "for 2 weeks",
}
NUMBERS = {"1": "1", "2": "2", "3": "3", "i": "1", "ii": "2", "5": "5", "10": "10", "1/2": "half a"}
HELD_OUT = frozenset(
    {
        "1 tab po qid pc & hs",
        "2 tab po bid pc",
        "1 cap po qam ac",
        "1 puff inh q4h prn",
        "3 gtt au bid x 7 d",
        "2 gtt od qid",
        "1/2 tab po qd hs",
        "10 mL po tid c food",
        "1 supp pr q12h prn fever",
        "1 patch td qod prn pain",
        "1 tab sl q6h prn pain",
        "ii puff inh bid",
        "5 mL po q8h x 10 d",
        "2 tsp po tid ac & hs",
    }
)
"""Never among the lines, in capitals neither: they are what a trained adapter is asked in its test."""


def prescriptions(count: int, seed: int) -> list[Record]:
    """`count` different lines with their readings."""
    draw = random.Random(seed)
    held_out = {line.lower() for line in HELD_OUT}
    lines: dict[str, str] = {}
    while len(lines) < count:
        form = draw.choice(list(DOSES))
        number = draw.choice(list(NUMBERS))
        route, often = draw.choice(list(ROUTES[form])), draw.choice(list(OFTEN))
        when = draw.choice(list(WHEN)) if form in ("tab", "cap", "tsp", "mL") else ""
        end = draw.choice(["", "", *ENDS])
        written = " ".join(part for part in (number, form, route, often, when, end) if part)
        if draw.random() < 0.15:
            written = written.upper()
        if written.lower() in held_out:
            continue
        one, many = DOSES[form]
        amount = f"half a {one}" if number == "1/2" else f"{NUMBERS[number]} {one if NUMBERS[number] == '1' else many}"
        rest = ", ".join(part for part in (WHEN[when], ENDS[end]) if part)
        reading = f"{amount} {ROUTES[form][route]} {OFTEN[often]}" + (f", {rest}" if rest else "")
        lines.setdefault(written, reading[0].upper() + reading[1:] + ".")
    return [{"prescription": line, "reading": reading} for line, reading in lines.items()]
