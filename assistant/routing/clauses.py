"""What a message asks for, apart from the material it is about: pure functions on English text."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, replace

from assistant.routing.wording import (
    ANSWER_SLOT,
    ASKS_FOLLOW,
    EXCLAMATION,
    HERE_IS,
    INLINE_MARK,
    JOINT,
    LABEL,
    LEAD_IN,
    LIST_MARK,
    POINTS_BACK,
    RUN_ON,
    SENTENCE_END,
    STARTS_ASK,
    STARTS_NEXT_ASK,
)

HELD_FROM = 0xE000
HELD = re.compile(r"[\uE000-\uF8FF]")
"""Private-use characters: each stands for one quotation while the text around it is taken apart."""

# A mark that is never closed must not be looked past for long: none reads over the next opening one, and a quotation in
# single marks holds at most twenty apostrophes.
QUOTATION = re.compile(
    r"\"(?P<double>(?:[^\"\n]|\n(?!\s*\n))+)\"|“(?P<curly>[^“”]+)”|«(?P<angle>[^«»]+)»|```(?P<code>.+?)```"
    r"|(?<!\w)'(?P<single>[^'\n]+(?:'\w[^'\n]*){0,20})'(?!\w)",
    re.DOTALL,
)
QUOTED_WORDS = 3
"""Shorter quotations are words that an ask speaks of; longer ones are material."""

HEAD_WORDS = 14
"""A longer first line is material, unless it asks."""

MOST_PARTS = 32
"""Of one sentence; one that would fall into more lists something, and is no row of requests."""


@dataclass(frozen=True)
class Request:
    """`asks`: the clauses that ask for something, in order. `material`: what all of them are about, or "".

    A quotation inside an ask belongs to that ask and stays in it.
    """

    asks: tuple[str, ...]
    material: str


@dataclass(frozen=True)
class Piece:
    """A sentence, or a quotation, or what a label names. `kind` is "" where only its wording can tell."""

    text: str
    kind: str
    paragraph: int
    is_new_line: bool = False


def read_request(text: str) -> Request:
    """Take a message apart. Where nothing is asked, all of it is material; where all of it asks, nothing is."""
    held: list[str] = []

    def hold(match: re.Match[str]) -> str:
        if len(match[0].split()) < QUOTED_WORDS or HELD_FROM + len(held) > 0xF8FF:
            return match[0]
        held.append(match[0])
        return chr(HELD_FROM + len(held) - 1)

    def release(part: str) -> str:
        return HELD.sub(lambda match: held[ord(match[0]) - HELD_FROM], part)

    # Private-use characters of the text itself would be taken for ours.
    text = QUOTATION.sub(hold, HELD.sub("", text))
    pieces = _pieces(ANSWER_SLOT.sub("", text.strip()))
    kinds = _kinds(pieces)
    asks = [piece.text for piece, kind in zip(pieces, kinds, strict=True) if kind == "ask"]
    clauses = _joined([clause for ask in asks for clause in _clauses(ask)])
    material = _rejoined([piece for piece, kind in zip(pieces, kinds, strict=True) if kind == "material"])
    return Request(tuple(release(clause) for clause in clauses), release(material))


def quotations(ask: str) -> list[str]:
    """The quoted material inside an ask, without its quotation marks."""
    found = [next(group for group in match.groups() if group is not None) for match in QUOTATION.finditer(ask)]
    return [quotation.strip() for quotation in found if len(quotation.split()) >= QUOTED_WORDS]


def _joined(clauses: list[str]) -> list[str]:
    """Lead-ins go with the request that follows them, or with the last one."""
    if len(clauses) > 1:
        clauses = [clause for clause in clauses if not HERE_IS.match(clause)] or clauses
    joined: list[str] = []
    held: list[str] = []
    for clause in clauses:
        held.append(clause)
        if not LEAD_IN.match(clause):
            joined.append(" ".join(held))
            held = []
    if held and joined:
        joined[-1] = " ".join([joined[-1], *held])
    return joined or ([" ".join(held)] if held else [])


def is_ask(sentence: str) -> bool:
    if EXCLAMATION.match(sentence):
        return False
    if sentence.rstrip("\"”') ").endswith("?"):
        return True
    return bool(STARTS_ASK.match(LIST_MARK.sub("", sentence)) or RUN_ON.search(sentence))


def _pieces(text: str) -> list[Piece]:
    """Cut at labels, then at quotations, then at colons after an ask, then at sentence ends."""
    pieces: list[Piece] = []
    cuts = list(LABEL.finditer(text))
    bounds = [0, *(cut.start() for cut in cuts), len(text)]
    for index, (start, end) in enumerate(itertools.pairwise(bounds)):
        cut = cuts[index - 1] if index else None
        section = text[cut.end() if cut else start : end]
        kind = "" if cut is None else "material" if cut["material"] else "ask"
        for paragraph in re.split(r"\n\s*\n", section.strip()):
            number = pieces[-1].paragraph + 1 if pieces else 0
            if kind == "material":
                pieces += _labelled(paragraph, number)
            elif paragraph.strip():
                pieces += _paragraph(paragraph.strip(), kind, number)
            kind = ""
    return pieces


def _labelled(paragraph: str, number: int) -> list[Piece]:
    """What a label names runs to the end of its paragraph, but for last lines that ask."""
    lines = paragraph.splitlines()
    end = len(lines)
    while end > 1 and is_ask(lines[end - 1]):
        end -= 1
    pieces = [Piece("\n".join(lines[:end]).strip(), "material", number)] if lines else []
    return pieces + [piece for line in lines[end:] for piece in _paragraph(line.strip(), "ask", number)]


def _paragraph(text: str, kind: str, number: int) -> list[Piece]:
    head, material = _after_colon(text, number == 0)
    pieces = _cut(head, kind, number)
    if material and pieces:
        pieces[-1] = replace(pieces[-1], kind="ask")
    is_quotation = bool(HELD.match(material))
    for index, piece in enumerate(_cut(material, "material", number)):
        # After a quotation the writer speaks again; otherwise all that follows the colon is pasted.
        asks_after = index > 0 and (is_ask(piece.text) if is_quotation else STARTS_NEXT_ASK.match(piece.text))
        pieces.append(replace(piece, kind="ask") if asks_after else piece)
    return pieces


def _after_colon(text: str, is_first: bool) -> tuple[str, str]:
    """("summarise this", "the text") of "summarise this: the text"; (all, "") where no colon ends an ask.

    At the very start of a message a few words and a colon ask for something whatever they are ("spam or not:").
    """
    match = re.search(r":(?:\s+|$)|(?<!\s)\s+[-–—]\s+", text)
    sentences = _sentences(text[: match.start()]) if match else []
    if not match or not sentences:
        return text, ""
    head, rest = text[: match.start()], text[match.end() :]
    last = sentences[-1]
    is_heading = is_first and len(sentences) == 1 and len(last.split()) <= HEAD_WORDS and match[0].startswith(":")
    if not (is_ask(last) or is_heading):
        return text, ""
    asks_follow = ASKS_FOLLOW.search(last) or (HELD.search(rest) and not HELD.match(rest))
    if asks_follow and rest.strip() and is_ask(_sentences(rest)[0]):
        return (f"{head} - {rest}" if is_ask(last) else rest), ""
    return head, rest


def _sentences(text: str) -> list[str]:
    return [piece.text for piece in _cut(text, "", 0)]


def _cut(text: str, kind: str, number: int) -> list[Piece]:
    """One piece per sentence and line."""
    pieces: list[Piece] = []
    # The line break in front lets the pattern tell "1." at the start of a line from the end of a sentence.
    parts = SENTENCE_END.split("\n" + text)
    for gap, sentence in zip(["", *parts[1::2]], parts[::2], strict=True):
        if sentence.strip():
            pieces.append(Piece(sentence.strip(), kind, number, bool(pieces) and "\n" in gap))
    return pieces


def _rejoined(pieces: list[Piece]) -> str:
    text = ""
    last: Piece | None = None
    for piece in pieces:
        gap = (
            "" if last is None else "\n\n" if piece.paragraph != last.paragraph else "\n" if piece.is_new_line else " "
        )
        text += gap + piece.text
        last = piece
    return text


def _kinds(pieces: list[Piece]) -> list[str]:
    """Asks stand before or after the material, never inside it: a question in the middle of a text is part of it."""
    kinds = [piece.kind for piece in pieces]
    open_ = [i for i, kind in enumerate(kinds) if not kind]
    wanted = [is_ask(piece.text) for piece in pieces]
    # A short first line over a longer text is a heading that asks ("tldr").
    if open_ and open_[0] == 0 and len(pieces) > 1 and pieces[1].paragraph != pieces[0].paragraph:
        is_heading = len(pieces[0].text.split()) <= HEAD_WORDS and not pieces[0].text.endswith((".", "!"))
        wanted[0] = wanted[0] or is_heading
    for i in open_:
        if not wanted[i]:
            break
        kinds[i] = "ask"
    has_head = "ask" in kinds
    for i in reversed(open_):
        if kinds[i]:
            break
        piece = pieces[i]
        is_apart = i > 0 and piece.paragraph != pieces[i - 1].paragraph
        if not wanted[i] or (
            has_head and not (is_apart or STARTS_NEXT_ASK.match(piece.text) or POINTS_BACK.search(piece.text))
        ):
            break
        kinds[i] = "ask"
    return [kind or "material" for kind in kinds]


def _clauses(ask: str) -> list[str]:
    """Cut a sentence where a second request begins: "summarise this | tell me whether it is positive"."""
    parts = [part for item in INLINE_MARK.split(" " + ask) for part in JOINT.split(item)]
    if len(parts) > MOST_PARTS:
        parts = [" " + ask]
    clauses: list[str] = []
    held = ""
    for part in parts:
        clause = LIST_MARK.sub("", part).strip(" ,;.\n-")
        if not clause:
            continue
        clause = f"{held}, {clause}" if held else clause
        held = clause if LEAD_IN.match(clause) or not is_ask(clause) else ""
        if not held:
            clauses.append(clause)
    if held and clauses:
        clauses[-1] = f"{clauses[-1]}, {held}"
    elif held:
        clauses = [held]
    return clauses
