"""The Chat tab in a real browser: ask, stop, switch, and find everything again."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from playwright.async_api import expect

from assistant.errors import EngineFailed
from tests.browser.server import PageServer
from tests.browser.steps import (
    BROWSER_TEST,
    answers,
    ask,
    ask_and_wait,
    choose_adapter,
    composer,
    listed,
    open_tab,
    questions,
    settled,
    stop_button,
    until,
)

pytestmark = BROWSER_TEST


async def test_an_answer_streams_in_under_a_label_that_tells_who_wrote_it(page):
    await ask_and_wait(page, "what is the mood today?")
    answer = answers(page).last
    await expect(answer).to_contain_text("mood: word1 word2 word3 word4 word5")
    await expect(answer.locator(".sb-chip")).to_have_text("mood")
    for told in ("chosen automatically", "90% sure", "6 tokens", "tokens/s", "first token 0.01 s"):
        await expect(answer.locator(".sb-label")).to_contain_text(told)
    await expect(composer(page)).to_have_value("")


async def test_a_question_with_two_intents_gets_one_answer_in_labelled_parts(page):
    await ask_and_wait(page, "mood and sums, please")
    assert await answers(page).count() == 1
    await expect(answers(page).locator(".sb-chip")).to_have_text(["mood", "sums"])
    await expect(answers(page).locator(".sb-step")).to_have_text(["1 of 2", "2 of 2"])


async def test_switching_adapters_takes_effect_with_the_next_question(page):
    for option, name in (("sums", "sums"), ("Base", "base"), ("mood", "mood")):
        await choose_adapter(page, option)
        await ask_and_wait(page, f"question for {name}")
        await expect(answers(page).last.locator(".sb-chip")).to_have_text(name)
        await expect(answers(page).last).to_contain_text("chosen by you")


async def test_stop_replaces_send_and_ends_the_computing(page, server):
    server.backend.words, server.backend.pace = 4000, 0.01
    await ask(page, "tell me everything")
    await expect(answers(page).last).to_contain_text("word5")
    await expect(page.locator("#composer .submit-button")).to_have_count(0)
    await stop_button(page).click()
    await until(lambda: server.backend.running == 0)
    computed = server.backend.generated
    await settled(page)
    await expect(answers(page).last).to_contain_text("stopped")
    await expect(answers(page).last).to_contain_text("word5")
    assert server.backend.generated == computed < 4000
    await page.reload()
    await expect(answers(page).last).to_contain_text("word5")
    await expect(answers(page).last).to_contain_text("stopped")


async def test_a_reload_finds_the_conversation_and_the_adapter_again(page):
    await choose_adapter(page, "sums")
    await ask_and_wait(page, "first question")
    await ask_and_wait(page, "second question")
    await page.reload()
    await expect(questions(page)).to_have_count(2)
    await expect(answers(page).last).to_contain_text("sums: word1")
    await expect(page.locator("#adapter-picker input")).to_have_value("sums — arithmetic")


async def test_a_restart_of_the_server_loses_nothing(chromium, tmp_path: Path):
    first = await asyncio.to_thread(PageServer(tmp_path).start)
    page = await chromium.new_page()
    await page.goto(first.url)
    await ask_and_wait(page, "first question")
    await asyncio.to_thread(first.stop)
    second = await asyncio.to_thread(PageServer(tmp_path, port=first.port).start)
    try:
        await page.reload()
        await expect(questions(page)).to_have_text(["first question"])
        await expect(listed(page)).to_have_text(["first question"])
        await ask_and_wait(page, "second question")
        assert "first question" in "".join(map(chr, second.backend.seen[-1].prompt))
    finally:
        await page.context.close()
        await asyncio.to_thread(second.stop)


async def test_a_reload_in_the_middle_of_an_answer_goes_on_showing_it(page, server):
    server.backend.words, server.backend.pace = 60, 0.05
    await ask(page, "a long one")
    await expect(answers(page).last).to_contain_text("word3")
    await page.reload()
    await expect(answers(page).last).to_contain_text("word59")
    await settled(page)
    assert len(server.backend.seen) == 1


async def test_two_browsers_stream_at_once_and_see_only_their_own(page, visit, server):
    server.backend.words, server.backend.pace = 2000, 0.25
    other = await visit(color_scheme="dark")
    await ask(page, "mine")
    await ask(other, "yours")
    for browser, text in ((page, "mine"), (other, "yours")):
        await expect(answers(browser).last).to_contain_text("word3")
        await expect(listed(browser)).to_have_text([text])
    assert server.backend.running == 2
    await stop_button(page).click()
    await settled(page)
    assert server.backend.running == 1
    await stop_button(other).click()
    await settled(other)


async def test_conversations_are_opened_renamed_and_deleted(page):
    await ask_and_wait(page, "about apples")
    await page.get_by_role("button", name="New conversation").click()
    await expect(questions(page)).to_have_count(0)
    await ask_and_wait(page, "about pears")
    await expect(listed(page)).to_have_text(["about pears", "about apples"])
    await listed(page).nth(1).click()
    await expect(questions(page)).to_have_text(["about apples"])
    await page.get_by_role("button", name="Rename").click()
    await page.locator("#rename-title input, #rename-title textarea").fill("<b>Apples</b> ${1}")
    await page.get_by_role("button", name="Save", exact=True).click()
    await expect(listed(page).nth(1)).to_have_text("<b>Apples</b> ${1}")
    await page.get_by_role("button", name="Delete", exact=True).click()
    await page.get_by_role("button", name="Keep it").click()
    await expect(listed(page)).to_have_count(2)
    await page.get_by_role("button", name="Delete", exact=True).click()
    await page.get_by_role("button", name="Delete it").click()
    await expect(listed(page)).to_have_text(["about pears"])
    await expect(questions(page)).to_have_count(0)


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844), (1280, 480)])
async def test_however_long_the_list_the_buttons_beside_it_stay_in_sight(visit, server, width, height):
    page = await visit(viewport={"width": width, "height": height})
    await ask_and_wait(page, "the newest of many")
    [owner] = await asyncio.to_thread(_owners, server, "the newest of many")
    for number in range(40):
        await asyncio.to_thread(server.store.create_conversation, owner, f"conversation {number}")
    await page.reload()
    await expect(listed(page)).to_have_count(41)
    if width == 390:
        await page.get_by_role("button", name="Conversations").click()
    for scroll in (0, 100_000):
        await page.locator("#conversations").evaluate("(list, to) => { list.scrollTop = to; }", scroll)
        await expect(listed(page).nth(-1 if scroll else 0)).to_be_in_viewport()
        for name in ("New conversation", "Rename", "Delete", "Save as Markdown", "Save as JSON"):
            await expect(page.get_by_role("button", name=name, exact=True)).to_be_in_viewport(ratio=1)
    await page.get_by_role("button", name="Delete", exact=True).click()
    await page.get_by_role("button", name="Delete it").scroll_into_view_if_needed()
    await expect(page.get_by_role("button", name="Delete it")).to_be_in_viewport(ratio=1)


def _owners(server: PageServer, title: str) -> list[str]:
    with server.store.database.reading() as connection:
        found = connection.exec_driver_sql(
            "select owner from conversations where title = ? order by created_at desc limit 1", (title,)
        )
        return list(found.scalars())


async def test_a_conversation_is_saved_as_json_and_as_markdown(page):
    await ask_and_wait(page, "mood of apples?")
    async with page.expect_download() as download:
        await page.get_by_role("button", name="Save as JSON").click()
    file = await download.value
    assert file.suggested_filename == "mood-of-apples.json"
    kept = json.loads(Path(await file.path()).read_text())
    assert kept["turns"][0]["user"] == "mood of apples?" and kept["turns"][0]["parts"][0]["route"]["adapter"] == "mood"
    async with page.expect_download() as download:
        await page.get_by_role("button", name="Save as Markdown").click()
    file = await download.value
    assert file.suggested_filename == "mood-of-apples.md"
    assert "mood: word1" in Path(await file.path()).read_text()


async def test_retry_undo_and_edit_replace_the_last_exchange(page, server):
    await ask_and_wait(page, "first")
    await ask_and_wait(page, "second")
    await choose_adapter(page, "sums")
    await page.get_by_role("button", name="Retry", exact=True).click()
    await expect(answers(page).last.locator(".sb-chip")).to_have_text("sums")
    await settled(page)
    await expect(questions(page)).to_have_text(["first", "second"])
    await page.get_by_role("button", name="Undo", exact=True).click()
    await expect(questions(page)).to_have_text(["first"])
    await expect(composer(page)).to_have_value("second")
    await page.get_by_role("button", name="Edit", exact=True).last.click()
    await page.locator("#chat-log textarea").fill("better first")
    await page.get_by_role("button", name="Submit").last.click()
    await expect(questions(page)).to_have_text(["better first"])
    await settled(page)
    await page.reload()
    await expect(questions(page)).to_have_text(["better first"])
    assert "".join(map(chr, server.backend.seen[-1].prompt)) == "<user>better first<assistant>"


async def test_the_list_follows_the_first_question_until_the_conversation_has_a_name_of_its_own(page):
    await ask_and_wait(page, "about apples")
    await expect(listed(page)).to_have_text(["about apples"])
    await page.get_by_role("button", name="Undo", exact=True).click()
    await expect(listed(page)).to_have_text(["New conversation"])
    await ask_and_wait(page, "about pears")
    await expect(listed(page)).to_have_text(["about pears"])
    await page.get_by_role("button", name="Edit", exact=True).click()
    await page.locator("#chat-log textarea").fill("about plums")
    await page.get_by_role("button", name="Submit").last.click()
    await expect(listed(page)).to_have_text(["about plums"])
    await settled(page)
    await page.get_by_role("button", name="Rename").click()
    await page.locator("#rename-title input, #rename-title textarea").fill("Fruit")
    await page.get_by_role("button", name="Save", exact=True).click()
    await expect(listed(page)).to_have_text(["Fruit"])
    await page.get_by_role("button", name="Undo", exact=True).click()
    await expect(questions(page)).to_have_count(0)
    await expect(listed(page)).to_have_text(["Fruit"])


async def test_a_like_is_kept_and_shown_again(page, server):
    await ask_and_wait(page, "mood?")
    await page.get_by_label("Like", exact=True).click()
    owner = await page.evaluate("localStorage.length")
    assert owner
    await until(lambda: _liked(server) == [True])
    await page.reload()
    await expect(page.get_by_role("button", name="Liked")).to_be_visible()
    await page.get_by_role("button", name="Liked").click()
    await until(lambda: _liked(server) == [None])


LAST_VOTE = "select ballot ->> '$.thumb' from votes order by created_at desc limit 1"


def _liked(server: PageServer) -> list[bool | None]:
    with server.store.database.reading() as connection:
        return [bool(row[0]) if row[0] is not None else None for row in connection.exec_driver_sql(LAST_VOTE)]


async def test_a_tab_that_is_behind_says_so_and_rates_no_answer_that_it_does_not_show(page, visit, server):
    before = _liked(server)
    await ask_and_wait(page, "first")
    other = await visit()
    await expect(questions(other)).to_have_text(["first"])
    await other.get_by_role("button", name="Edit", exact=True).click()
    await other.locator("#chat-log textarea").fill("better first")
    await other.get_by_role("button", name="Submit").last.click()
    await expect(questions(other)).to_have_text(["better first"])
    await settled(other)
    await page.get_by_label("Dislike", exact=True).click()
    await expect(page.locator(".toast-body")).to_contain_text("changed meanwhile; reload the page")
    assert _liked(server) == before
    await page.reload()
    await expect(questions(page)).to_have_text(["better first"])
    await page.get_by_label("Dislike", exact=True).click()
    await until(lambda: _liked(server) == [False])


async def test_copy_takes_the_answer_without_its_label(page):
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await ask_and_wait(page, "mood?")
    await page.get_by_label("Copy message").last.click()
    await expect(page.get_by_label("Copied message")).to_be_visible()
    assert await page.evaluate("navigator.clipboard.readText()") == "mood: word1 word2 word3 word4 word5"


async def test_an_empty_message_is_not_sent_and_says_so(page, server):
    await ask(page, "   ")
    await expect(page.get_by_text("Write a message first.")).to_be_visible()
    await expect(composer(page)).to_have_value("   ")
    assert not server.backend.seen


async def test_an_over_long_message_says_so_and_comes_back(page):
    text = "x" * 2500
    await ask(page, text)
    await expect(answers(page).last).to_contain_text("the context holds 2000")
    await expect(composer(page)).to_have_value(text)
    await composer(page).fill("shorter")
    await composer(page).press("Enter")
    await expect(questions(page)).to_have_text(["shorter"])
    await settled(page)


async def test_a_failed_answer_says_why_and_can_be_tried_again(page, server):
    server.backend.error = EngineFailed("the step <b>failed</b>")
    await ask(page, "mood?")
    await expect(answers(page).last).to_contain_text("the step <b>failed</b>")
    await expect(page.locator(".toast-body")).to_contain_text("the step <b>failed</b>")
    await expect(composer(page)).to_have_value("mood?")
    server.backend.error = None
    await page.get_by_role("button", name="Retry", exact=True).click()
    await settled(page)
    await expect(answers(page).last).to_contain_text("mood: word1")


async def test_a_bad_decoding_value_is_named_and_a_good_one_is_sent(page, server):
    await page.get_by_text("System prompt and decoding").click()
    await page.locator("#control-temperature").get_by_role("textbox").fill("9")
    await ask(page, "mood?")
    await expect(page.locator(".toast-body")).to_contain_text("Temperature: '9' is not allowed")
    await expect(composer(page)).to_have_value("mood?")
    await page.locator("#control-temperature").get_by_role("textbox").fill("1.5")
    await page.locator("#system-prompt textarea").fill("Be brief.")
    await ask_and_wait(page, "mood?")
    decoding = server.backend.seen[-1].decoding
    assert (decoding.temperature, decoding.max_tokens) == (1.5, 64)
    assert "".join(map(chr, server.backend.seen[-1].prompt)).startswith("<system>Be brief.")


async def test_shift_enter_starts_a_new_line(page, server):
    await composer(page).fill("one")
    await composer(page).press("Shift+Enter")
    await composer(page).press_sequentially("two")
    await composer(page).press("Enter")
    await settled(page)
    assert "<user>one\ntwo<assistant>" in "".join(map(chr, server.backend.seen[-1].prompt))


async def test_a_newcomer_can_begin_with_an_example(page):
    await page.get_by_text("sums: half of 90").click()
    await settled(page)
    await expect(answers(page).last.locator(".sb-chip")).to_have_text("sums")


async def test_the_page_says_that_the_model_is_loading_and_gets_ready_by_itself(visit, server):
    server.service.is_ready = False
    page = await visit()
    await expect(page.locator("#status")).to_contain_text("Loading the base model")
    await ask(page, "mood?")
    await expect(answers(page).last).to_contain_text("Waiting for the answer")
    server.service.is_ready = True
    await settled(page)
    await expect(answers(page).last).to_contain_text("mood: word1")
    await expect(page.locator("#status")).to_contain_text("fake-base is ready")


async def test_markup_in_a_message_runs_nothing_and_fetches_nothing_from_elsewhere(page):
    picture = "![x](http://elsewhere.invalid/x.png)"
    await ask(
        page, f'<img src="/nothing" onerror="window.ran = true"><script>window.ran = true</script> hello {picture}'
    )
    await settled(page)
    await expect(page.locator('#chat-log img[src*="elsewhere"]')).to_be_attached()
    assert await page.evaluate("window.ran") is None


async def test_on_a_phone_nothing_is_wider_than_the_screen_and_the_list_is_a_drawer(visit):
    page = await visit(viewport={"width": 390, "height": 844}, color_scheme="dark")
    await expect(page.locator("#chat-side")).to_be_hidden()
    picker = await page.locator("#adapter-picker").bounding_box()
    assert picker is not None and picker["width"] >= 200
    await ask_and_wait(page, "mood and sums of " + "a long word " * 20)
    await page.get_by_role("button", name="Conversations").click()
    await expect(listed(page)).to_be_visible()
    await listed(page).first.click()
    await expect(page.locator("#chat-side")).to_be_hidden()
    for tab in ("Adapters", "Chat"):
        await open_tab(page, tab)
        assert await page.evaluate("document.documentElement.scrollWidth") == 390


async def test_closing_the_page_ends_the_computing(page, server):
    server.backend.words, server.backend.pace = 2000, 0.02
    await ask(page, "a very long one")
    await expect(answers(page).last).to_contain_text("word3")
    await page.evaluate("localStorage.clear()")
    await page.close()
    for _ in range(300):
        if server.backend.running == 0:
            break
        await asyncio.sleep(0.1)
    assert server.backend.running == 0 and 0 < server.backend.generated < 2000
