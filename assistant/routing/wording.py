"""The English by which `clauses` tells an ask from the material around it: word lists and patterns, no logic."""

from __future__ import annotations

import re


def _any(words: str) -> str:
    return "|".join(words.split())


_material = _any(
    "context passage text review comment article document paragraph excerpt message post tweet email sentence note"
)
LABEL = re.compile(
    rf"(?:^|(?<=[\n.!?:\"”'\uE000-\uF8FF])[ \t]*)(?:(?P<material>{_material})|question|q|task|instruction|request)"
    r"[ \t]*:(?:\s+|$)",
    re.IGNORECASE | re.MULTILINE,
)
"""A line's label; `material` is set where it names material, not an ask."""
ANSWER_SLOT = re.compile(r"\n(?:answer|a)[ \t]*:\s*$", re.IGNORECASE)

_question_words = _any(
    "what whats what's who whos who's whom whose when where which why how is are do does did can isn't aren't doesn't "
    "don't can't whether if"
)
_subjects = "i|you|we|he|she|it|this|that|these|those|they|the|a|an|my|your|there|any"
_inversion = rf"(?:was|were|am|could|would|will|should|may|might|has|have)\s+(?:{_subjects})"
_verbs = _any(
    "tell say give write make do explain describe define list name find answer check classify label judge rate "
    "decide determine detect identify flag moderate review evaluate assess analyse analyze read look extract translate "
    "render convert put turn summarise summarize sum shorten condense reduce boil recap simplify rephrase rewrite "
    "reword paraphrase correct fix improve draft compose create plan suggest recommend help compare show count sort provide "
    "generate think imagine pretend continue reply respond brainstorm solve calculate compute highlight outline quote "
    "predict state mention point get compile score grade verify spot mark report diagnose clarify interpret"
)
_openings = (
    "can u|could u|i need|i want|i'd like|i would like|let me know|here is|here's|based on|according to|using|from the"
    "|in the following"
)
_fillers = _any(
    "please pls plz and then also now next finally lastly first firstly second secondly third so ok okay hi hey hello "
    "just kindly afterwards but"
)
LIST_MARK = re.compile(r"^\s*(?:[-*•]|\(?\d{1,2}[.)]|\(?[a-e]\))\s+")
# Patterns that look for a run of blanks begin at its first: tried at each, a long run would take forever.
INLINE_MARK = re.compile(r"(?<!\s)\s+(?:\(?\d{1,2}\)|\(?\d{1,2}\.)\s+(?=[A-Za-z])")

# Bounded, as it is tried at every "and" of a message.
_filler = rf"(?:(?:{_fillers}|after that|if you can|at the end)\b,?\s*){{0,9}}"
_start = rf"{_filler}(?:{_verbs}|{_question_words}|{_openings}|{_inversion})\b"
JOINT = re.compile(
    rf"(?<!\s)(?:\s*[,;])?\s+(?:and then|and also|and|then|plus|as well as|also|after that|before you)\s+(?={_start})"
    rf"|(?<!\s)\s*[,;]\s+(?={_start})"
    r"|(?<!\s)(?:\s*,)?\s+(?:plus|as well as)\s+",
    re.IGNORECASE,
)
STARTS_ASK = re.compile(_start, re.IGNORECASE)
STARTS_NEXT_ASK = re.compile(
    rf"(?:(?:and|then|also|finally|after that|afterwards|if you can|second|lastly)\b,?\s*)+{_start}", re.IGNORECASE
)
POINTS_BACK = re.compile(
    rf"\b(?:this|that|above|the) (?:{_material}|one|writer|author|reviewer|user|customer)\b|\babove\b",
    re.IGNORECASE,
)
LEAD_IN = re.compile(
    rf"{_filler}(?:(?:hello|hi|hey|good \w+)\b.*|(?:read|look|see|consider|take|answer|using|based on|according to|from|here is"
    r"|here's|in)\b[^?]{0,60}|if you (?:can|could|like|want)|tell me)$",
    re.IGNORECASE,
)
"""Says what the next clause is to work on; no request of its own."""
ASKS_FOLLOW = re.compile(
    r"\b(?:questions?|answer|things|steps|tasks|below|above|passage|text|message)\b", re.IGNORECASE
)
HERE_IS = re.compile(rf"{_filler}(?:here is|here's|here are|this is)\b[^?]*$", re.IGNORECASE)
RUN_ON = re.compile(r",\s+(?:what|how|should i|can i|can they|is it|do i|any idea|who|why)\b", re.IGNORECASE)
"""A question hung on to a statement: "my knee hurts, what should I do"."""
EXCLAMATION = re.compile(rf"{_filler}(?:what an?|how \w+[.!]*$)\b", re.IGNORECASE)
SENTENCE_END = re.compile(r"((?:(?<=[.!?…])|(?<=[.!?…][\"”')]))(?<!\n\d\.)\s+|(?<=\n[\uE000-\uF8FF])\s+|\n+)")
REFERS_BACK = re.compile(
    rf"\b(?:it|its|this|that|them|these|those|the same|(?:the )?(?:following|above|below|word|phrase)|the (?:{_material}))\b",
    re.IGNORECASE,
)
"""Words by which a clause says that it is about the material, or about what an earlier clause quoted."""
