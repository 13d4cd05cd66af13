"""From content to passages."""

from __future__ import annotations

import random
import re
from itertools import pairwise

import pytest

from assistant.retrieval.chunking import Chunk, chunks, sentences
from assistant.retrieval.readers.content import Content, Draft, Heading
from assistant.retrieval.readers.registry import read


def count_words(text: str) -> int:
    return len(text.split())


def count_pairs(text: str) -> int:
    """Like a tokenizer: a token for every two characters of a word, and one for each mark."""
    return sum((len(piece) + 1) // 2 for piece in re.findall(r"\w+|[^\w\s]", text))


def cut(source: str | Content, limit: int = 10, overlap: int = 0) -> list[Chunk]:
    content = source if isinstance(source, Content) else Content(source)
    return list(chunks(content, count_words, limit, overlap))


def texts(source: str | Content, limit: int = 10, overlap: int = 0) -> list[str]:
    return [chunk.text for chunk in cut(source, limit, overlap)]


def test_what_fits_stays_whole():
    assert texts(" One sentence.  Another one.\n\nA paragraph. ") == ["One sentence.  Another one.\n\nA paragraph."]


def test_a_passage_ends_with_a_paragraph_rather_than_a_sentence():
    assert texts("One two three. Four five six.\n\nSeven eight nine. Ten eleven twelve.") == [
        "One two three. Four five six.",
        "Seven eight nine. Ten eleven twelve.",
    ]


def test_a_paragraph_that_ends_too_early_does_not_end_the_passage():
    assert texts("One two.\n\nThree four five. Six seven eight nine. Ten eleven twelve.") == [
        "One two.\n\nThree four five. Six seven eight nine.",
        "Ten eleven twelve.",
    ]


def test_within_a_paragraph_the_last_sentences_are_repeated():
    text = "One two three four. Five six. Seven eight. Nine ten. Eleven twelve. Thirteen fourteen.\n\nNext."
    assert texts(text, overlap=4) == [
        "One two three four. Five six. Seven eight. Nine ten.",
        "Seven eight. Nine ten. Eleven twelve. Thirteen fourteen.\n\nNext.",
    ]
    assert texts(text, overlap=3)[1].startswith("Nine ten.")
    assert texts(text, overlap=1)[1].startswith("Eleven twelve.")


def test_nothing_is_repeated_over_the_end_of_a_paragraph_or_a_section():
    for text in ("One two three four five six.\n\nSeven eight nine ten eleven twelve.", SECTIONS):
        assert texts(text, overlap=8) == texts(text, overlap=0)


SECTIONS = Content(
    "Before.\n\nGuide\n\nInstall\n\nRun it.\n\nUse\n\nPress go.\n\nEnd\n\nNo more.",
    (Heading(9, 14, 1, "Guide"), Heading(16, 23, 2, "Install"), Heading(34, 37, 2, "Use"), Heading(50, 53, 1, "End")),
)


def test_a_passage_stays_under_its_headings():
    assert [(chunk.heading, chunk.text) for chunk in cut(SECTIONS)] == [
        ("", "Before."),
        ("Guide › Install", "Guide\n\nInstall\n\nRun it."),
        ("Guide › Use", "Use\n\nPress go."),
        ("End", "End\n\nNo more."),
    ]


def test_headings_take_their_share_of_the_limit():
    draft = Draft()
    draft.heading("a title of five words", 1)
    draft.paragraph("One two three. Four five six.")
    assert texts(draft.content(), limit=20) == ["a title of five words\n\nOne two three. Four five six."]
    assert [count_words(text) for text in texts(draft.content(), limit=12)] == [5, 6]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("He met Dr. Smith. They spoke.", ["He met Dr. Smith.", "They spoke."]),
        ("See e.g. Fig. 3 there. Then J. R. Doe left.", ["See e.g. Fig. 3 there.", "Then J. R. Doe left."]),
        ("It rose by 3.5 percent. and fell", ["It rose by 3.5 percent. and fell"]),
        ('"Really?" "Yes!" He left…  Then', ['"Really?"', '"Yes!"', "He left…", "Then"]),
        ("これは文です。次の文です。", ["これは文です。", "次の文です。"]),
        ("List:\n- one\n- two\n3. three", ["List:", "- one", "- two", "3. three"]),
        ("Name | Price\nPen | 3\nPot | 5", ["Name | Price", "Pen | 3", "Pot | 5"]),
        ("a line\nthat goes on. Then", ["a line\nthat goes on.", "Then"]),
    ],
)
def test_sentences_end_where_readers_see_an_end(text, expected):
    assert [text[start:end] for start, end in sentences(text, 0, len(text))] == expected


def test_a_sentence_longer_than_a_passage_is_cut_between_words():
    text = " ".join(f"word{n}" for n in range(25))
    assert [count_words(piece) for piece in texts(text)] == [10, 10, 5]
    assert " ".join(texts(text)) == text


def test_only_a_word_longer_than_a_passage_is_cut_within():
    pieces = [chunk.text for chunk in chunks(Content("short " + "x" * 50 + " end"), count_pairs, 10, 0)]
    assert pieces == ["short", "x" * 20, "x" * 20, "x" * 10 + " end"]


def test_text_without_any_blank_is_cut_in_time_that_grows_with_its_length():
    lengths = []

    def count(text: str) -> int:
        lengths.append(len(text))
        return count_pairs(text)

    pieces = list(chunks(Content("x" * 100_000), count, 50, 10))
    assert all(chunk.tokens <= 50 for chunk in pieces) and sum(len(chunk.text) for chunk in pieces) == 100_000
    assert max(lengths) <= 50 * 20 and sum(lengths) < 100 * 100_000


@pytest.mark.timeout(15)
@pytest.mark.parametrize(
    "text",
    [
        "." * 200_000 + "x",
        ".)" * 50_000 + "…" * 200_000 + "x",
        ("\n" + " " * 60_000 + "x" * 60_000) * 10,
        " \n" * 100_000 + "x",
    ],
    ids=["dots", "ellipses", "indented", "blank lines"],
)
def test_long_runs_of_marks_and_blanks_are_cut_in_little_time(text):
    assert sum(end - start for start, end in sentences("x" + text, 0, len(text) + 1)) <= len(text) + 1
    assert cut(text, limit=180)


def test_the_page_is_the_one_a_passage_begins_on():
    content = Content("One two three.\n\nFour five six. Seven eight nine.", pages=(0, 14))
    assert [chunk.page for chunk in cut(content, limit=6)] == [1, 2]
    assert [chunk.page for chunk in cut(content, limit=3)] == [1, 2, 2]
    assert cut("No pages.")[0].page is None


def test_rows_of_csv_stay_whole():
    rows = "\n".join(f"{n},some words about it" for n in range(9))
    found = list(chunks(read("a.csv", f"id,note\n{rows}".encode())[1], count_words, 22, 5))
    assert [chunk.text.count("id: ") for chunk in found] == [3, 3, 3]
    assert all(chunk.text.startswith("id: ") and chunk.text.endswith("about it") for chunk in found)


def random_content(chance: random.Random) -> Content:
    """Headings, paragraphs, lists, long words, odd blanks, and pages at any place."""
    draft = Draft()
    for _ in range(chance.randint(0, 12)):
        if chance.random() < 0.25:
            draft.heading(" ".join(words(chance, 3)), chance.randint(1, 4))
        if chance.random() < 0.2:
            draft.page()
        draft.paragraph("".join(word + chance.choice(BLANKS) for word in words(chance, 60)))
    content = draft.content()
    if chance.random() < 0.5:
        return Content(content.text, content.headings)
    return content


BLANKS = [" ", " ", " ", "  ", "\n", ". ", ".\n", "! ", "\n\n", "\n- ", "\t", "。", " | ", "? \n \n"]


def words(chance: random.Random, most: int) -> list[str]:
    letters = "abcdefgABCäß東京"
    lengths = [chance.randint(1, 400 if chance.random() < 0.02 else 9) for _ in range(chance.randint(1, most))]
    return ["".join(chance.choice(letters) for _ in range(length)) for length in lengths]


def cut_words(text: str, chunk: Chunk) -> list[str]:
    """The words that a passage begins or ends within."""
    found = [(match.start(), match.end()) for match in re.finditer(r"[^\s。]+。*", text)]
    return [text[a:b] for a, b in found if a < chunk.start < b or a < chunk.end < b]


@pytest.mark.parametrize("seed", range(80))
def test_passages_of_any_content_keep_what_is_promised(seed):
    chance = random.Random(seed)
    content, limit, overlap = random_content(chance), chance.randint(8, 60), chance.randint(0, 12)
    text = content.text
    found = list(chunks(content, count_pairs, limit, overlap))
    covered = set()
    for chunk in found:
        assert chunk.text == text[chunk.start : chunk.end] == chunk.text.strip() != ""
        assert chunk.tokens == count_pairs(chunk.text) <= limit
        assert chunk.page == content.page(chunk.start)
        most = max(limit - count_pairs(chunk.heading), limit // 2)
        assert all(count_pairs(word) > most for word in cut_words(text, chunk))
        covered |= set(range(chunk.start, chunk.end))
    for one, following in pairwise(found):
        assert one.start < following.start and one.end < following.end
        repeated = text[following.start : one.end]
        assert count_pairs(repeated) <= overlap and (not repeated or following.heading == one.heading)
    assert all(text[place].isspace() for place in range(len(text)) if place not in covered)
