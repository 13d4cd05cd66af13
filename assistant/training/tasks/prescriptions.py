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
PLURAL = {"tab": "tabs", "cap": "caps", "puff": "puffs", "gtt": "gtts", "supp": "supps", "patch": "patches"}
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
    "daily": "once a day",
    "bid": "twice a day",
    "tid": "three times a day",
    "qid": "four times a day",
    "qod": "every other day",
    "qam": "every morning",
    "qpm": "every evening",
    "qhs": "every night at bedtime",
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
DRUGS = {
    "amoxicillin": ("250 mg", "500 mg"),
    "atorvastatin": ("20 mg", "40 mg"),
    "cetirizine": ("10 mg",),
    "doxycycline": ("100 mg",),
    "furosemide": ("20 mg", "40 mg"),
    "ibuprofen": ("200 mg", "400 mg", "600 mg"),
    "levothyroxine": ("50 mcg", "100 mcg"),
    "lisinopril": ("5 mg", "10 mg"),
    "loratadine": ("10 mg",),
    "metformin": ("500 mg", "850 mg"),
    "metoprolol": ("25 mg", "50 mg"),
    "omeprazole": ("20 mg", "40 mg"),
    "ondansetron": ("4 mg", "8 mg"),
    "paracetamol": ("500 mg", "1000 mg"),
    "prednisone": ("5 mg", "10 mg", "20 mg"),
    "sertraline": ("50 mg", "100 mg"),
}
SWALLOWED = ("tab", "cap")
"""The forms that the drugs above come in."""
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
        "2 tabs bid",
        "1 cap qam ac",
        "2 puffs prn",
        "i tab tid pc x 5 d",
        "3 gtts q4h",
        "5 mL qid",
        "2 caps po qhs",
        "1 tab prn nausea",
        "ibuprofen 400 mg po q6h prn pain",
        "metformin 500 mg 1 tab po bid c food",
        "omeprazole 20 mg 1 cap qd ac",
        "prednisone 10 mg qam x 5 d",
    }
)
"""Never among the lines, in capitals neither: they are what a trained adapter is asked in its test."""


WITHOUT_ROUTE = 0.4
ONLY_AS_NEEDED = 0.5
"""Many lines name no route, and many that are for need do not say how often. A reader that has seen few of these makes
up what is missing. Shares of all lines, and of those for need."""


def prescriptions(count: int, seed: int) -> list[Record]:
    """`count` different lines with their readings: a reading says what its line says and no more."""
    draw = random.Random(seed)
    held_out = {line.lower() for line in HELD_OUT}
    lines: dict[str, str] = {}
    while len(lines) < count:
        written, reading = _line(draw)
        if draw.random() < 0.15:
            written = written.upper()
        if written.lower() not in held_out:
            lines.setdefault(written, reading)
    return [{"prescription": line, "reading": reading} for line, reading in lines.items()]


def _line(draw: random.Random) -> tuple[str, str]:
    form, number = draw.choice(list(DOSES)), draw.choice(list(NUMBERS))
    one = number in ("1", "i", "1/2")
    dose = f"{number} {form if one or draw.random() < 0.5 else PLURAL.get(form, form)}"
    amount = f"half a {DOSES[form][0]}" if number == "1/2" else f"{NUMBERS[number]} {DOSES[form][0 if one else 1]}"
    route = "" if draw.random() < WITHOUT_ROUTE else draw.choice(list(ROUTES[form]))
    if form in SWALLOWED and draw.random() < 0.3:
        drug = draw.choice(list(DRUGS))
        named = f"{drug} {draw.choice(DRUGS[drug])}"
        bare = draw.random() < 0.5
        dose, amount = (named, named) if bare else (f"{named} {dose}", f"{named}: {amount}")
        route = route and "po"
    end = draw.choice(["", "", *ENDS])
    often = "" if end.startswith("prn") and draw.random() < ONLY_AS_NEEDED else draw.choice(list(OFTEN))
    when = draw.choice(list(WHEN)) if often != "qhs" and form in ("tab", "cap", "tsp", "mL") else ""
    written = " ".join(part for part in (dose, route, often, when, end) if part)
    taken = " ".join(part for part in (amount, ROUTES[form].get(route, ""), OFTEN.get(often, "")) if part)
    reading = ", ".join(part for part in (taken, WHEN[when], ENDS[end]) if part)
    return written, reading[0].upper() + reading[1:] + "."
