"""The Compare tab in a real browser: a blind comparison to the reveal, a set of questions from a file."""

from __future__ import annotations

import asyncio
import csv
from pathlib import Path

from playwright.async_api import Locator, Page, expect

from assistant.errors import StoreUnavailable
from assistant.ui.compare_view import MODES
from assistant.ui.contestants import PRESETS
from tests.browser import test_documents as documents
from tests.browser.server import PageServer
from tests.browser.steps import BROWSER_TEST, until

pytestmark = BROWSER_TEST

EXAMPLES = "Prompt vs examples vs fine-tuned"
WITH_RAG = "Prompt vs RAG vs fine-tuned"
QUESTIONS = 'question,reference\n"the mood, <b>please</b>",mood: word1\n=1+1,\n,no question\n'


async def open_tab(page: Page, preset: str | None = None) -> None:
    await page.get_by_role("tab", name="Compare", exact=True).click()
    await expect(page.locator("#compare-question textarea")).to_be_visible()
    if preset is not None:
        await expect(page.locator("#compare-adapter input")).to_have_value("mood")
        await page.get_by_label("Start from").click()
        await page.get_by_role("option", name=preset, exact=True).click()
        ways = page.locator(".sb-contestant").get_by_label("Way")
        await expect(ways).to_have_count(len(PRESETS[preset]))
        for way, mode in zip(await ways.all(), PRESETS[preset], strict=True):
            await expect(way).to_have_value(MODES[mode])


async def compare(page: Page, question: str) -> None:
    await page.locator("#compare-question textarea").fill(question)
    await page.locator("#compare-question textarea").press("Enter")


def columns(page: Page) -> Locator:
    return page.locator("#compare-columns .sb-column")


def column_of(page: Page, way: str) -> Locator:
    return columns(page).filter(has=page.locator(".sb-mode").get_by_text(way, exact=True))


def vote_note(page: Page) -> Locator:
    return page.locator("#compare-vote-note")


async def voted_on(server: PageServer, count: int) -> list[tuple[str, ...]]:
    """The rankings so far, oldest first: those that were replaced included."""

    def read() -> list[tuple[str, ...]]:
        with server.store.database.reading() as connection:
            found = connection.exec_driver_sql(
                "select was_blind, ballot, superseded_at is null from votes where comparison_id is not null "
                "order by created_at desc"
            )
            return [tuple(map(str, row)) for row in found][:count][::-1]

    return await asyncio.to_thread(read)


async def test_a_blind_comparison_is_ranked_revealed_and_ranked_anew(page, server):
    await open_tab(page, EXAMPLES)
    await page.locator("#compare-blind input").check()
    await compare(page, "what is the mood?")
    ranking = page.locator("#compare-ranking li")
    await expect(ranking).to_have_count(3)
    await expect(columns(page)).to_have_count(3)
    await expect(columns(page).locator(".sb-mode")).to_have_text(["Answer A", "Answer B", "Answer C"])
    for told in ("Fine-tuned", "tokens", "exact prompt"):
        await expect(page.locator("#compare-columns")).not_to_contain_text(told)
    # The last answer goes to the top; the two others are a tie.
    await ranking.nth(2).drag_to(ranking.nth(0), target_position={"x": 20, "y": 3})
    await expect(ranking.locator(".sb-mode")).to_have_text(["Answer C", "Answer A", "Answer B"])
    await page.get_by_label("Rank of answer B").select_option("2")
    await page.get_by_role("button", name="Save the ranking").click()
    await expect(vote_note(page)).to_contain_text("Your vote: C > A = B.")
    await expect(columns(page).locator(".sb-chip")).to_have_text(["mood"])
    for column in await columns(page).all():
        await expect(column).to_contain_text("tokens")
    await expect(page.get_by_role("button", name="Reveal without voting")).to_be_hidden()

    await page.get_by_label("Move answer A up").click()
    await page.get_by_role("button", name="Save the ranking").click()
    await expect(vote_note(page)).to_contain_text("Your vote: A > C > B (changed 1 time)")
    first, second = await voted_on(server, 2)
    assert (first[0], first[2]) == ("1", "0") and (second[0], second[2]) == ("0", "1")

    await page.reload()
    await open_tab(page)
    await expect(vote_note(page)).to_contain_text("Your vote: A > C > B (changed 1 time)")
    await expect(ranking.locator(".sb-letter")).to_have_text(["A", "C", "B"])
    await expect(page.locator("#compare-question textarea")).to_have_value("what is the mood?")


async def test_a_rag_column_shows_its_passages_and_leads_to_the_place_in_an_uploaded_pdf(page, server):
    await documents.open_tab(page)
    await documents.upload(page, report_pdf=documents.report())
    documents.says(server, "The keeper is called Amalia Brandt [1].")
    await open_tab(page, WITH_RAG)
    await compare(page, documents.QUESTION)
    await expect(page.get_by_role("button", name="Rate answer C")).to_be_visible()
    passages = column_of(page, "RAG").locator(".sb-passage")
    await expect(passages.first.locator("mark")).to_contain_text("Amalia Brandt")
    await expect(page.locator("#compare-columns .sb-passage")).to_have_count(await passages.count())
    await passages.first.locator("summary").click()
    await expect(passages.first.locator("blockquote")).to_be_hidden()
    await column_of(page, "RAG").locator(".sb-cite").click()
    await expect(passages.first.locator("blockquote")).to_be_visible()
    await column_of(page, "RAG").get_by_text("The exact prompt").click()
    await expect(column_of(page, "RAG").locator(".sb-prompt pre")).to_contain_text("Context: [1] ")
    await passages.first.get_by_text("Open in the document").click()
    mark = page.locator("#reader .sb-reading mark").first
    await expect(mark).to_contain_text("The keeper of the lighthouse is called Amalia Brandt.")
    assert await documents.is_in_view(mark, page.locator("#reader .sb-reading"))


async def test_a_blind_rag_column_shows_its_passages_after_the_vote_and_not_before(page, server):
    server.library.add("report.pdf", documents.report())
    documents.says(server, "The keeper is called Amalia Brandt [1].")
    await open_tab(page, WITH_RAG)
    await page.locator("#compare-blind input").check()
    await compare(page, documents.QUESTION)
    await expect(page.locator("#compare-ranking li")).to_have_count(3)
    await expect(columns(page).locator(".sb-answer")).to_have_text(["The keeper is called Amalia Brandt [1]."] * 3)
    await expect(page.locator("#compare-columns .sb-passage, #compare-columns .sb-cite")).to_have_count(0)
    await expect(page.locator("#compare-columns")).not_to_contain_text("report.pdf")
    await page.get_by_label("Move answer B up").click()
    await page.get_by_role("button", name="Save the ranking").click()
    await expect(vote_note(page)).to_contain_text("Your vote: B > A > C.")
    passages = column_of(page, "RAG").locator(".sb-passage")
    await expect(passages.first.locator("summary")).to_contain_text("report.pdf")
    await expect(passages.first.locator("mark")).to_contain_text("Amalia Brandt")
    await expect(passages.first.locator("blockquote")).to_be_visible()
    await expect(page.locator("#compare-columns .sb-passage")).to_have_count(await passages.count())


async def test_a_ranking_that_nobody_made_is_refused_and_tells_no_names(page, server):
    before = await voted_on(server, 100)
    await open_tab(page, EXAMPLES)
    await page.locator("#compare-blind input").check()
    await compare(page, "what is the mood?")
    ranks = page.locator("#compare-ranking select")
    await expect(ranks).to_have_count(3)
    for rank in await ranks.all():
        await expect(rank).to_have_value("")
    await page.get_by_role("button", name="Save the ranking").click()
    await expect(vote_note(page)).to_contain_text("rank the answers first: A, B, C have no number yet")
    await expect(vote_note(page)).to_be_in_viewport()
    await page.get_by_label("Rank of answer C").select_option("1")
    await expect(page.locator("#compare-ranking .sb-mode")).to_have_text(["Answer C", "Answer A", "Answer B"])
    await page.get_by_label("Rank of answer B").select_option("2")
    await page.get_by_role("button", name="Save the ranking").click()
    await expect(vote_note(page)).to_contain_text("rank the answers first: A has no number yet")
    await expect(columns(page).locator(".sb-mode")).to_have_text(["Answer A", "Answer B", "Answer C"])
    assert await voted_on(server, 100) == before
    await page.get_by_label("Rank of answer A").select_option("3")
    await page.get_by_role("button", name="Save the ranking").click()
    await expect(vote_note(page)).to_contain_text("Your vote: C > B > A.")


async def test_a_vote_that_cannot_be_saved_says_so_and_keeps_what_was_typed(page, server, monkeypatch):
    def full(*arguments: object) -> None:
        raise StoreUnavailable("the disk is full; nothing was saved")

    await open_tab(page, "Prompt vs fine-tuned")
    await compare(page, "what is the mood?")
    await expect(page.get_by_role("button", name="A is better")).to_be_visible()
    await page.locator("#compare-vote").get_by_label("Comment").fill("well said")
    with monkeypatch.context() as patch:
        patch.setattr("assistant.feedback.votes.VoteStore.rank", full)
        await page.get_by_role("button", name="A is better").click()
        await expect(vote_note(page)).to_contain_text("Your vote was not saved: the disk is full")
    await expect(page.locator("#compare-vote").get_by_label("Comment")).to_have_value("well said")
    await page.get_by_role("button", name="A is better").click()
    await expect(vote_note(page)).to_contain_text("Your vote: A > B.")
    (vote,) = await voted_on(server, 1)
    assert "well said" in vote[1]


async def test_an_answer_is_rated_and_what_was_typed_for_another_is_kept(page):
    await open_tab(page, "Prompt vs fine-tuned")
    await compare(page, "what is the mood?")
    form = page.locator("#compare-rating").first
    await page.get_by_role("button", name="Rate answer A").click()
    await form.get_by_label("What it should have said").fill("Sunny.")
    await page.get_by_role("button", name="Rate answer B").click()
    await expect(form).to_contain_text("Rate answer B")
    await expect(form.get_by_label("What it should have said")).to_have_value("")
    await form.locator(".sb-points", has_text="Fluency").get_by_text("4", exact=True).click()
    await form.get_by_role("button", name="Save the rating").click()
    await expect(page.locator("#compare-rating-note")).to_contain_text("Saved: fluency 4.")
    await page.get_by_role("button", name="Rate answer A").click()
    await expect(form.get_by_label("What it should have said")).to_have_value("Sunny.")


async def test_a_failed_column_says_why_and_stop_ends_the_others(page, server):
    server.backend.words, server.backend.pace = 1000, 0.1
    await open_tab(page, WITH_RAG)
    await compare(page, "what is the mood?")
    await expect(columns(page).nth(1)).to_contain_text("no documents")
    await expect(columns(page).nth(2)).to_contain_text("mood: word1")
    await page.locator("#compare-question .stop-button").click()
    await until(lambda: server.backend.running == 0)
    assert 0 < server.backend.generated < 2000
    await expect(columns(page).nth(0)).to_contain_text("Stopped")
    await expect(page.locator("#compare-vote")).to_be_hidden()


async def test_a_set_of_questions_from_a_file_is_answered_shown_again_and_saved(page):
    await open_tab(page, "Prompt vs fine-tuned")
    await page.get_by_role("tab", name="A set of questions").click()
    file = {"name": "moods.csv", "mimeType": "text/csv", "buffer": QUESTIONS.encode()}
    await page.locator("#batch-file input[type=file]").set_input_files(file)
    await expect(page.locator("#batch-file")).to_contain_text("moods")
    await page.locator("#start-batch").click()
    await expect(page.locator("#batch-progress")).to_contain_text("3 of 3 rows, 1 failed")
    await page.reload()
    await open_tab(page)
    await page.get_by_role("tab", name="A set of questions").click()
    rows = page.locator("#batch-rows tbody tr")
    await expect(rows).to_have_count(3)
    await expect(rows.nth(0)).to_contain_text("the mood, <b>please</b>")
    await expect(rows.nth(2)).to_contain_text("'question' must hold some text")
    await expect(page.locator("#batch-averages")).to_contain_text("tuned mood")
    async with page.expect_download() as download:
        await page.get_by_role("button", name="Save as CSV").click()
    saved = await download.value
    assert saved.suggested_filename == "moods.csv"
    with Path(await saved.path()).open(newline="") as lines:
        found = list(csv.DictReader(lines))
    assert [row["question"] for row in found] == ["the mood, <b>please</b>"] * 2 + ["'=1+1"] * 2 + [""]
    await rows.nth(0).click()
    await expect(columns(page)).to_have_count(2)
    await expect(columns(page).first).to_contain_text("ROUGE-L")


async def test_columns_wrap_and_nothing_is_wider_than_a_narrow_screen(visit):
    page = await visit(viewport={"width": 800, "height": 900}, color_scheme="dark")
    await open_tab(page, EXAMPLES)
    await compare(page, "a long word " * 40)
    await expect(page.locator("#compare-ranking li")).to_have_count(3)
    boxes = [await column.bounding_box() for column in await columns(page).all()]
    assert boxes[2]["y"] > boxes[0]["y"]
    assert await page.evaluate("document.documentElement.scrollWidth") == 800


async def test_worked_examples_are_edited_in_their_table_and_sent(page, server):
    await open_tab(page, EXAMPLES)
    await page.get_by_text("Worked examples, documents").click()
    cell = page.locator("#compare-examples").get_by_text("Mercury", exact=True).last
    await cell.dblclick()
    await page.keyboard.press("Control+a")
    await page.keyboard.type("a planet of iron")
    await page.keyboard.press("Enter")
    await expect(page.locator("#compare-examples")).to_contain_text("a planet of iron")
    await compare(page, "what is the mood?")
    await expect(page.locator("#compare-ranking li")).to_have_count(3)
    prompts = ["".join(map(chr, generation.prompt)) for generation in server.backend.seen]
    assert any("<assistant>a planet of iron<user>" in prompt for prompt in prompts)
