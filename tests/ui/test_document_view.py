"""Tables, uploads and the reader; and that nothing of a document becomes markup."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from assistant.messages import Passage
from assistant.retrieval.records import Collection, Document
from assistant.ui import document_view as view
from assistant.ui.document_view import Place
from assistant.ui.uploads import Upload

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
EVIL = "<img src=x onerror=alert(1)>"


def document(**fields: object) -> Document:
    whole = {
        "id": "a" * 32,
        "collection_id": "c" * 32,
        "name": "ferry.pdf",
        "media_type": "application/pdf",
        "digest": "d" * 64,
        "size": 2048,
        "passages": 2,
        "pages": 3,
        "added_at": NOW,
    }
    return Document(**{**whole, **fields})


def outline(*texts: str, separator: str = "\n\n", **fields: object) -> tuple[str, list[Passage]]:
    """A text made of passages, and the passages."""
    passages, start = [], 0
    for number, text in enumerate(texts, start=1):
        passages.append(
            Passage(
                id=number, document_id="a" * 32, document="f", start=start, end=start + len(text), text=text, **fields
            )
        )
        start += len(text) + len(separator)
    return separator.join(texts), passages


def test_a_place_is_read_from_its_link():
    place = Place("a" * 32, 7, 12, 40)
    assert view.read_place(place.link) == place
    assert view.read_place("#sb-open/../etc/passwd") is None and view.read_place("") is None


def test_the_table_tells_name_type_pages_passages_size_and_date():
    made = view.document_table([document(), document(media_type="text/plain", pages=0)])
    for told in (">ferry.pdf<", ">PDF<", ">Text<", ">3<", ">2<", ">2.0 KiB<", "2026-01-02 03:04 UTC", ">–<"):
        assert told in made
    assert "No documents" in view.document_table([])


def test_names_from_outside_are_escaped():
    for made in (
        view.document_table([document(name=EVIL, media_type=EVIL)]),
        view.collection_list([Collection(EVIL, EVIL, 1, NOW)], ""),
        view.upload_list([Upload(EVIL), Upload(EVIL, 1.0, True, "rejected", EVIL)]),
        view.missing(EVIL),
    ):
        assert "<img" not in made


def test_of_many_uploads_only_those_under_way_and_the_refused_have_lines_of_their_own():
    uploads = [
        *(Upload(f"{n}.txt", 1.0, True, "added", "added, 1 passage") for n in range(60)),
        Upload("bad.jpg", 1.0, True, "rejected", "files of type '.jpg' are not read"),
        Upload("now.txt", 0.5, True),
        *(Upload(f"later{n}.txt") for n in range(1000)),
    ]
    made = view.upload_list(uploads)
    assert re.findall(r'sb-name">([^<]+)<', made) == ["61 of 1,062 files", "bad.jpg", "now.txt"]
    assert "60 added, 1 rejected" in made and "not read" in made and "50%" in made and 'max="1062"' in made
    assert "<progress" not in view.upload_list(uploads[:61])
    assert len(re.findall("<li", view.upload_list(uploads[:50]))) == 50


def test_the_open_collection_is_marked():
    made = view.collection_list([Collection(x, x, 0, NOW) for x in ("one", "two")], "two")
    assert made.count("aria-current") == 1 and made.index("one") < made.index("aria-current")


def test_an_upload_tells_how_far_it_is_and_then_what_came_of_it():
    made = view.upload_list(
        [Upload("a", 1, True, "rejected", "it is empty"), Upload("b", 0.25, is_begun=True), Upload("c")]
    )
    assert "it is empty" in made and 'value="0.250"' in made and ">25%<" in made and ">waiting<" in made


def test_a_search_result_tells_score_and_place_and_leads_there():
    _, (first, _) = outline("It leaves at six.", "Dogs too.", page=2, heading="Times")
    made = view.found([first.model_copy(update={"score": 0.0325})])
    assert "score 0.0325" in made and "page 2 · Times" in made and Place("a" * 32, 1, 0, 17).link in made


def test_the_reader_marks_the_words_pointed_at_and_no_others():
    text, passages = outline("It leaves at six. It returns at ten.", "Dogs too.")
    made = view.reading(document(), text, passages, Place("a" * 32, 1, 18, 36))
    assert re.findall("<mark>(.*?)</mark>", made) == ["It returns at ten."]
    assert made.count("sb-here") == 1 and made.count('"sb-chunk') == 2


def test_the_reader_frames_a_passage_that_is_pointed_at_as_a_whole():
    text, passages = outline("It leaves at six.", "Dogs too.")
    made = view.reading(document(), text, passages, view.place(passages[1]))
    assert "<mark>" not in made and '<div class="sb-chunk sb-here">Dogs too.</div>' in made


def test_titles_stand_out_in_the_reader_and_a_section_without_its_own_names_it():
    text, passages = outline("# Handbook\n\n## Times\n\nIt leaves at six.", heading="Handbook › Times")
    made = view.reading(document(), text, passages, Place("a" * 32))
    assert re.findall("<strong>(.*?)</strong>", made, re.DOTALL) == ["# Handbook\n", "## Times\n"]
    assert "sb-path" not in made
    text, passages = outline("It leaves at six.", heading="Handbook › Times")
    assert 'sb-path">Handbook › Times<' in view.reading(document(), text, passages, Place("a" * 32))


def test_each_page_begins_with_its_number():
    text, (first, second) = outline("One.", "Two.")
    pages = [first.model_copy(update={"page": 1}), second.model_copy(update={"page": 2})]
    made = view.reading(document(), text, pages, Place("a" * 32))
    assert re.findall(r"Page \d", made) == ["Page 1", "Page 2"]


def test_a_document_becomes_no_markup_in_the_reader():
    text, passages = outline(f"{EVIL} </aside>", f"x {EVIL}", heading=EVIL)
    made = view.reading(document(name=EVIL), text, passages, Place("a" * 32, 2, len(text) - 5, len(text)))
    assert "<img" not in made and made.count("</aside>") == 1


def test_a_passage_that_has_been_replaced_is_said_to_be_gone():
    text, passages = outline("It leaves at seven.")
    made = view.reading(document(), text, passages, Place("a" * 32, 99, 0, 5))
    assert "has changed since" in made and "<mark>" not in made and "sb-here" not in made


def test_a_long_document_is_shown_around_the_place_with_ways_on():
    text, passages = outline(*(f"{number} " + "x" * 998 for number in range(300)))
    made = view.reading(document(), text, passages, view.place(passages[150]))
    assert len(made) < 2 * view.LONGEST_READING and "sb-here" in made
    (before, after) = [view.read_place(href).passage for href in re.findall(r'href="([^"]+)"', made)]
    assert before < 151 < after
    shown, none, more = view.window(passages, Place("a" * 32))
    assert shown[0].id == 1 and none is None and more is not None
    whole, before_all, after_all = view.window(passages[:3], Place("a" * 32))
    assert len(whole) == 3 and before_all is after_all is None


def test_overlapping_passages_show_each_word_once():
    text = "one two three"
    passages = [
        Passage(id=1, document_id="a" * 32, document="f", start=0, end=7, text="one two"),
        Passage(id=2, document_id="a" * 32, document="f", start=4, end=13, text="two three"),
    ]
    made = view.reading(document(), text, passages, Place("a" * 32))
    assert re.sub("<[^>]+>", "", made.split("sb-reading")[1]).count("two") == 1
    made = view.reading(document(), text, passages, view.place(passages[1]))
    assert re.findall("<mark>(.*?)</mark>", made) == ["two", " three"]
