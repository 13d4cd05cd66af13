"""Names and words for people, and how one kind is exchanged for the other."""

from __future__ import annotations

import re

MALE = {"he": "he", "him": "him", "his": "his", "himself": "himself", "man": "man"}
FEMALE = {"he": "she", "him": "her", "his": "her", "himself": "herself", "man": "woman"}

MEN = ("James", "Peter", "Thomas", "Daniel", "Robert", "Simon", "George", "Henry", "Paul", "Martin")
WOMEN = ("Emily", "Susan", "Helen", "Laura", "Alice", "Rachel", "Grace", "Clara", "Julia", "Karen")
NAMES = {
    "gender": (MEN, WOMEN, (MALE, FEMALE)),
    "origin: English, Arabic": (
        MEN,
        ("Ahmed", "Omar", "Khalid", "Yusuf", "Hassan", "Tariq", "Ibrahim", "Karim", "Samir", "Bilal"),
        (MALE, MALE),
    ),
    "origin: English, West African": (
        WOMEN,
        ("Chioma", "Amina", "Ngozi", "Adaeze", "Folake", "Abena", "Efua", "Aissatou", "Kehinde", "Yetunde"),
        (FEMALE, FEMALE),
    ),
    "origin: English, Chinese": (
        WOMEN,
        ("Mei Lin", "Xiu Ying", "Yan Li", "Jing Wei", "Hui Min", "Li Na", "Fang", "Xiao Yu", "Qing", "Ling"),
        (FEMALE, FEMALE),
    ),
}
"""Group → names of the first text, names of the second, and the pronouns of both."""

SWAPPED = {
    "he": "she", "himself": "herself", "man": "woman", "men": "women", "boy": "girl", "boys": "girls",
    "male": "female", "males": "females", "father": "mother", "fathers": "mothers", "dad": "mum", "son": "daughter",
    "sons": "daughters", "brother": "sister", "brothers": "sisters", "husband": "wife", "husbands": "wives",
    "uncle": "aunt", "grandfather": "grandmother", "nephew": "niece", "boyfriend": "girlfriend", "actor": "actress",
    "actors": "actresses", "hero": "heroine", "heroes": "heroines",
    "waiter": "waitress", "gentleman": "lady", "gentlemen": "ladies", "mr": "mrs", "sir": "madam",
    "guy": "gal", "guys": "gals", "lad": "lass", "widower": "widow", "groom": "bride",
    "king": "queen", "prince": "princess",
    "john": "mary", "david": "sarah", "michael": "jennifer", "robert": "linda", "william": "elizabeth",
    "james": "emily", "thomas": "susan", "daniel": "anna", "george": "alice", "tom": "kate", "peter": "jane",
}  # fmt: skip
ONE_WAY = {"him": "her", "hers": "his", "mom": "dad", "ms": "mr"}
BOTH_WAYS = SWAPPED | {other: word for word, other in SWAPPED.items()} | ONE_WAY
NOT_OWNED = frozenset((
    "a", "an", "the", "and", "or", "but", "nor", "so", "yet", "as", "at", "by", "for", "from", "in", "into",
    "of", "off", "on", "onto", "out", "over", "to", "under", "up", "upon", "with", "within", "without", "about",
    "across", "after", "again", "against", "along", "among", "apart", "around", "away", "before", "behind", "below",
    "beside", "between", "beyond", "down", "during", "near", "through", "toward", "towards", "until", "since",
    "another", "because", "both", "if", "that", "than", "then", "though", "although", "unless", "when", "where",
    "whether", "while", "who", "what", "which", "why", "how", "once", "like", "there", "here", "anywhere", "everywhere",
    "alone", "together", "i", "you", "he", "she", "it", "we", "they", "me", "him", "her", "his", "us", "them",
    "is", "was", "are", "were", "be", "has", "had", "will", "would", "can", "could", "should", "may", "might", "must",
    "does", "did", "makes", "made", "gets", "got", "seems", "seemed", "becomes", "became",
    "appear", "become", "come", "feel", "get", "go", "know", "seem", "understand",
    "not", "n't", "'s", "some", "very", "too", "this", "these", "those", "something", "nothing",
))  # fmt: skip
"""Words that do not begin what belongs to someone: before them "her" is "him", and "his" is "hers"."""
BEARING = re.compile(r"\b(?:against|at|behind|down|from|in|of|off|on|onto|to|up)\s+$", re.IGNORECASE)
"""After these words "her back" is her spine; else she is brought, or got, or won back."""
PERSON = re.compile(rf"\b(?:{'|'.join(sorted([*BOTH_WAYS, 'her', 'his'], key=len, reverse=True))})\b", re.IGNORECASE)


def fill(template: str, name: str, pronouns: dict[str, str]) -> str:
    """`{name}` and pronouns such as `{he}` put in; one that begins the text gets a capital."""
    text = template.format(name=name, **pronouns)
    return text[:1].upper() + text[1:]


def swap_gender(text: str) -> str:
    """Words and names of one gender exchanged for the other's; a text without any is returned as it is.

    "her" and "his" have two counterparts each; which one is meant is guessed from the words beside them.
    """

    def other(found: re.Match[str]) -> str:
        word = found.group()
        swapped = _possessive(text, found) if word.lower() in ("her", "his") else BOTH_WAYS[word.lower()]
        return swapped.capitalize() if word[0].isupper() else swapped

    return PERSON.sub(other, text)


def _possessive(text: str, found: re.Match[str]) -> str:
    # An opening quotation mark, as treebanks write it too, may stand before what is owned.
    rest = re.match(r"\s+(?:[`\"“]+\s*)?([\w']+)", text[found.end() :])
    after = rest.group(1).lower() if rest else ""
    is_owner = after != "" and after not in NOT_OWNED
    if found.group().lower() == "his":
        return "her" if is_owner else "hers"
    if after == "back" and not BEARING.search(text[: found.start()]):
        return "him"
    return "his" if is_owner else "him"
