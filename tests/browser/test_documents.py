"""Documents in a real browser: taken in, looked at, asked, and opened at the very place an answer rests on."""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import AsyncGenerator
from pathlib import Path

from playwright.async_api import Locator, Page, expect
from reportlab.pdfgen.canvas import Canvas

from assistant.backends.base import Generation
from assistant.messages import Finished, Timing, Usage
from tests.browser import steps
from tests.browser.server import PageServer
from tests.browser.steps import BROWSER_TEST, answers, ask, ask_and_wait, settled

pytestmark = BROWSER_TEST

QUESTION = "What is the keeper of the lighthouse called?"
NASTY = b"""The bicycle <img src="/nothing" onerror="window.ran = true"><script>window.ran = true</script> costs
**two** crowns $$x$$ ${window.ran = true} {{value}} [link](http://elsewhere.invalid) ![x](http://elsewhere.invalid/x.png)

<details open ontoggle="window.ran = true">
"""


def report() -> bytes:
    """A PDF of two pages, whose second is long enough to be scrolled to."""
    made = io.BytesIO()
    canvas = Canvas(made, invariant=1)  # the same file every time
    filler = [f"Entry {day}: the weather was calm and nothing else happened on that day." for day in range(30)]
    keeper = ["The keeper of the lighthouse is called Amalia Brandt.", "She has lived on the island for thirty years."]
    for lines in (["Annual report of the harbour office", *filler], [*filler, *keeper]):
        for row, line in enumerate(lines):
            canvas.drawString(72, 800 - 20 * row, line)
        canvas.showPage()
    canvas.save()
    return made.getvalue()


def says(server: PageServer, text: str) -> None:
    """From now on, every question is answered with `text`."""

    async def generate(generation: Generation) -> AsyncGenerator[str | Finished, None]:
        server.backend.seen.append(generation)
        for piece in re.findall(r"\s*\S+", text):
            await asyncio.sleep(0.01)
            yield piece
        usage, timing = Usage(prompt_tokens=9, completion_tokens=9), Timing(first_token=0.1, total=0.5)
        yield Finished(finish_reason="stop", usage=usage, timing=timing)

    server.backend.generate = generate  # type: ignore[method-assign,assignment]


async def open_tab(page: Page) -> None:
    await steps.open_tab(page, "Documents")
    await expect(page.locator("#document-files input[type=file]")).to_be_attached()


async def upload(page: Page, **files: bytes) -> None:
    """Each as `name_suffix`; returns once all are over."""
    given = [
        {"name": name.replace("_", "."), "mimeType": "application/octet-stream", "buffer": data}
        for name, data in files.items()
    ]
    await page.locator("#document-files input[type=file]").set_input_files(given)  # type: ignore[arg-type]
    await expect(page.locator("#upload-outcomes li")).to_have_count(len(given))
    await expect(page.locator('#upload-outcomes li[data-outcome="busy"]')).to_have_count(0)


def outcome(page: Page, name: str) -> Locator:
    return page.locator("#upload-outcomes li").filter(has_text=name)


def row(page: Page, name: str) -> Locator:
    return page.locator("#document-table tbody tr").filter(has_text=name)


def form(page: Page, name: str) -> Locator:
    # Gradio gives a group's id to the two elements that it is made of.
    return page.locator(f"#{name}").first


def passages(page: Page) -> Locator:
    return answers(page).last.locator(".sb-passage")


async def answer_from_documents(page: Page) -> None:
    await page.get_by_role("tab", name="Chat").click()
    await page.locator("#from-documents input").check()
    await expect(page.locator("#chat-collections")).to_be_visible()


async def is_in_view(element: Locator, frame: Locator) -> bool:
    inner, outer = await element.bounding_box(), await frame.bounding_box()
    assert inner is not None and outer is not None
    return outer["y"] <= inner["y"] and inner["y"] + inner["height"] <= outer["y"] + outer["height"]


async def test_a_citation_of_an_uploaded_pdf_opens_the_document_at_the_very_sentence(page, server):
    await open_tab(page)
    await upload(page, report_pdf=report())
    await expect(row(page, "report.pdf")).to_contain_text("PDF")
    says(server, "The keeper is called Amalia Brandt [1].")
    await answer_from_documents(page)
    await ask_and_wait(page, QUESTION)
    await expect(answers(page).last.locator(".sb-grounding")).to_contain_text("Groundedness 100%")
    await expect(passages(page).first.locator("mark")).to_contain_text("Amalia Brandt")
    await expect(passages(page).first.locator("summary")).to_contain_text("report.pdf")
    await passages(page).first.locator("summary").click()
    await expect(passages(page).first.locator("blockquote")).to_be_hidden()
    await answers(page).last.locator(".sb-cite").click()
    await expect(passages(page).first.locator("blockquote")).to_be_visible()
    await passages(page).first.get_by_text("Open in the document").click()
    reader = page.locator("#reader .sb-reader")
    await expect(reader.locator("h3")).to_have_text("report.pdf")
    mark = reader.locator(".sb-reading mark")
    await expect(mark.first).to_contain_text("The keeper of the lighthouse is called Amalia Brandt.")
    assert await is_in_view(mark.first, reader.locator(".sb-reading"))
    assert await reader.locator(".sb-reading").evaluate("element => element.scrollTop") > 0
    await page.keyboard.press("Escape")
    await expect(reader).to_have_count(0)
    assert "Amalia Brandt" in "".join(map(chr, server.backend.seen[-1].prompt))


async def test_passages_are_there_again_after_a_reload_and_the_controls_as_they_were(page, server):
    server.library.add("report.pdf", report())
    says(server, "The keeper is called Amalia Brandt.")
    await answer_from_documents(page)
    await ask_and_wait(page, QUESTION)
    await page.reload()
    await expect(passages(page).first.locator("mark")).to_contain_text("Amalia Brandt")
    await expect(answers(page).last.locator(".sb-cite").first).to_have_text("1")
    await expect(page.locator("#from-documents input")).to_be_checked()
    await expect(page.locator("#chat-collections")).to_be_visible()


async def test_bad_files_are_named_with_the_reason_and_the_others_go_in(page, server):
    await open_tab(page)
    await upload(page, report_pdf=report(), empty_txt=b"", photo_jpg=b"\xff\xd8\xff", ferry_md=b"# Ferry\n\nIt leaves.")
    await expect(outcome(page, "report.pdf")).to_contain_text("added")
    await expect(outcome(page, "ferry.md")).to_contain_text("added, 1 passage")
    await expect(outcome(page, "empty.txt")).to_contain_text("empty")
    await expect(outcome(page, "photo.jpg")).to_contain_text("'.jpg' are not read")
    await expect(page.locator("#document-table tbody tr")).to_have_count(2)
    await expect(page.locator("#collections .sb-count").first).to_have_text("2")
    await upload(page, ferry_md=b"# Ferry\n\nIt leaves at six.", report_pdf=report())
    await expect(outcome(page, "ferry.md")).to_contain_text("replaced")
    await expect(outcome(page, "report.pdf")).to_contain_text("unchanged")
    await page.reload()
    await open_tab(page)
    await expect(page.locator("#document-table tbody tr")).to_have_count(2)
    await expect(outcome(page, "ferry.md")).to_contain_text("replaced")


async def test_a_document_is_read_and_deleted_only_after_a_second_word(page, server):
    server.library.add("ferry.md", b"# Ferry\n\nIt leaves at six.")
    await open_tab(page)
    await row(page, "ferry.md").locator(".sb-open").click()
    await expect(page.locator("#reader .sb-reading")).to_contain_text("It leaves at six.")
    await expect(page.locator("#reader strong")).to_contain_text("Ferry")
    await page.locator("#reader .sb-close").click()
    await expect(page.locator("#reader .sb-reader")).to_have_count(0)
    await row(page, "ferry.md").get_by_role("button", name="Delete ferry.md").click()
    await form(page, "document-delete-form").get_by_role("button", name="Keep it").click()
    await expect(form(page, "document-delete-form")).to_be_hidden()
    await row(page, "ferry.md").get_by_role("button", name="Delete ferry.md").click()
    await expect(form(page, "document-delete-form")).to_contain_text("Delete ferry.md for everyone?")
    await form(page, "document-delete-form").get_by_role("button", name="Delete it").click()
    await expect(row(page, "ferry.md")).to_have_count(0)
    assert not server.library.documents()


async def test_a_long_list_is_turned_page_by_page_searched_by_name_and_deleted_from(page, visit, server):
    for number in range(120):
        server.library.add(f"report {number:03}.txt", b"It leaves at six.")
    await open_tab(page)
    rows, where = page.locator("#document-table tbody tr"), page.locator("#document-pager")
    forth = page.get_by_role("button", name="Next", exact=True)
    await expect(where).to_contain_text("1–50 of 120")
    await expect(rows).to_have_count(50)
    await forth.click()
    await expect(rows.first).to_contain_text("report 050.txt")
    await forth.click()
    await expect(where).to_contain_text("101–120 of 120")
    await expect(forth).to_be_disabled()
    server.library.delete(server.library.documents()[0].id)  # another visitor's doing does not turn the page
    await expect(where).to_contain_text("101–119 of 119")
    await page.locator("#document-name").get_by_role("textbox").fill("T 11")
    await expect(rows).to_have_count(10)
    await expect(where).to_be_hidden()
    await row(page, "report 115.txt").get_by_role("button", name="Delete report 115.txt").click()
    await form(page, "document-delete-form").get_by_role("button", name="Delete it").click()
    await expect(rows).to_have_count(9)
    assert server.library.count() == 118
    await page.locator("#document-name").get_by_role("textbox").fill("")
    await expect(where).to_contain_text("1–50 of 118")
    await row(page, "report 001.txt").get_by_role("button", name="Delete report 001.txt").click()
    await expect(form(page, "document-delete-form")).to_be_in_viewport()


async def test_collections_are_made_renamed_and_deleted_and_others_see_it(page, visit, server):
    await open_tab(page)
    other = await visit(color_scheme="dark")
    await open_tab(other)
    await page.locator("#collection-tools").get_by_role("button", name="New").click()
    await page.locator("#collection-name").get_by_role("textbox").fill("<b>Boats</b>")
    await form(page, "collection-form").get_by_role("button", name="Save").click()
    names = "#collections .sb-name"
    await expect(page.locator(names)).to_have_text(["Documents", "<b>Boats</b>"])
    await upload(page, ferry_txt=b"It leaves at six.")
    await expect(row(page, "ferry.txt")).to_be_visible()
    await expect(other.locator(names)).to_have_text(["Documents", "<b>Boats</b>"])
    await other.locator(names).nth(1).click()
    await expect(row(other, "ferry.txt")).to_be_visible()
    await page.locator("#collection-tools").get_by_role("button", name="Rename").click()
    await page.locator("#collection-name").get_by_role("textbox").fill("Ships")
    await form(page, "collection-form").get_by_role("button", name="Save").click()
    await expect(other.locator(names)).to_have_text(["Documents", "Ships"])
    await page.locator("#collection-tools").get_by_role("button", name="Delete").click()
    await expect(form(page, "collection-delete-form")).to_contain_text("Delete Ships and its 1 document")
    await form(page, "collection-delete-form").get_by_role("button", name="Delete it").click()
    await expect(page.locator(names)).to_have_text(["Documents"])
    await expect(other.locator(names)).to_have_text(["Documents"])
    assert not server.library.documents()


async def test_a_search_shows_passages_with_scores_or_says_why_there_are_none(page, server):
    await open_tab(page)
    await page.locator("#search-query").get_by_role("textbox").fill(QUESTION)
    await page.locator("#search").click()
    await expect(page.locator("#search-results")).to_contain_text("There are no documents")
    await upload(page, report_pdf=report())
    await page.locator("#search").click()
    first = page.locator("#search-results li").first
    await expect(first).to_contain_text("Amalia Brandt")
    await expect(first).to_contain_text(re.compile(r"score \d"))
    await first.locator(".sb-open").click()
    await expect(page.locator("#reader .sb-here")).to_contain_text("Amalia Brandt")
    await page.keyboard.press("Escape")
    await page.locator("#search-query").get_by_role("textbox").fill("quantum chromodynamics")
    await page.locator("#search").click()
    await expect(page.locator("#search-results")).to_contain_text("Nothing in the documents fits")


async def test_only_the_picked_collections_are_asked_and_nothing_relevant_is_a_plain_notice(page, server):
    server.library.add("report.pdf", report())
    server.library.create_collection("Boats")
    await answer_from_documents(page)
    await page.locator("#chat-collections input").click()
    await page.get_by_role("option", name="Boats").click()
    await ask(page, QUESTION)
    await expect(answers(page).last.locator(".sb-nothing")).to_contain_text("There are no documents")
    await expect(answers(page).last.locator(".sb-nothing")).to_contain_text("turn off “Answer from documents”")
    await expect(page.locator(".toast-body")).to_have_count(0)
    assert not server.backend.seen
    await page.locator("#from-documents input").uncheck()
    await expect(page.locator("#chat-collections")).to_be_hidden()
    await page.locator("#composer textarea").press("Enter")
    await settled(page)
    await expect(passages(page)).to_have_count(0)
    await expect(answers(page).last).to_contain_text("base: word1")


async def test_an_answer_that_is_in_no_passage_is_marked(page, server):
    server.library.add("report.pdf", report())
    says(server, "Zebras graze beneath purple mountains.")
    await answer_from_documents(page)
    await ask_and_wait(page, QUESTION)
    await expect(answers(page).last.locator(".sb-not-found")).to_contain_text("Not found in the documents")
    await expect(answers(page).last.locator(".sb-not-found")).to_contain_text("Groundedness 0%")
    await expect(answers(page).last.locator(".sb-cite")).to_have_count(0)


async def test_nothing_in_a_document_runs_wherever_it_is_shown(page, server, tmp_path: Path):
    await open_tab(page)
    await upload(page, **{"<u>bicycle<br>_txt": NASTY})
    await page.locator("#search-query").get_by_role("textbox").fill("What does the bicycle cost?")
    await page.locator("#search").click()
    await expect(page.locator("#search-results li")).to_contain_text("onerror")
    says(server, "The bicycle costs two crowns [1].")
    await answer_from_documents(page)
    await ask_and_wait(page, "What does the bicycle cost?")
    await expect(passages(page).first.locator("blockquote")).to_contain_text("**two** crowns $$x$$")
    await passages(page).first.get_by_text("Open in the document").click()
    await expect(page.locator("#reader .sb-here")).to_contain_text("${window.ran = true} {{value}}")
    shown = "#document-main img, #document-main u, #chat-log img, #chat-log .sb-passage u, #reader img, #reader details"
    await expect(page.locator(shown)).to_have_count(0)
    assert await page.evaluate("window.ran") is None


async def test_copy_takes_the_answer_with_its_numbers_and_without_its_passages(page, server):
    server.library.add("report.pdf", report())
    says(server, "The keeper is called Amalia Brandt [1].")
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await answer_from_documents(page)
    await ask_and_wait(page, QUESTION)
    await page.get_by_label("Copy message").last.click()
    await expect(page.get_by_label("Copied message")).to_be_visible()
    assert await page.evaluate("navigator.clipboard.readText()") == "The keeper is called Amalia Brandt [1]."


async def test_on_a_phone_passages_and_reader_are_no_wider_than_the_screen(visit, server):
    page = await visit(viewport={"width": 390, "height": 844}, color_scheme="dark")
    server.library.add("a-rather-long-name-of-a-report-that-does-not-fit-a-phone.pdf", report())
    says(server, "The keeper is called Amalia Brandt [1].")
    await answer_from_documents(page)
    await ask_and_wait(page, QUESTION)
    await passages(page).first.get_by_text("Open in the document").click()
    await expect(page.locator("#reader mark").first).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth") == 390
    await page.locator("#reader .sb-close").click()
    await open_tab(page)
    assert await page.evaluate("document.documentElement.scrollWidth") == 390
