"""The Adapters tab in a real browser: what there is, and taking adapters in and out."""

from __future__ import annotations

import asyncio
import io
import zipfile
from pathlib import Path

import pytest
from playwright.async_api import Locator, Page, expect

from assistant.adapter_pool.revisions import Revisions
from tests.browser.steps import BROWSER_TEST, answers, ask_and_wait, choose_adapter
from tests.browser.steps import open_tab as open_named_tab
from tests.fakes import write_adapter

pytestmark = BROWSER_TEST


async def open_tab(page: Page) -> None:
    await page.get_by_role("tab", name="Adapters").click()
    await expect(page.locator("#adapter-table table")).to_be_visible()


def row(page: Page, name: str) -> Locator:
    return page.locator(f'#adapter-table tr[data-pick="{name}"]')


def zipped(folder: Path) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, path.name)
    return packed.getvalue()


async def upload(page: Page, name: str, content: bytes) -> None:
    file = {"name": name, "mimeType": "application/zip", "buffer": content}
    await page.locator("#adapter-file input[type=file]").set_input_files(file)
    await expect(page.locator("#adapter-file")).to_contain_text(name.removesuffix(".zip"))
    await page.locator("#add-adapter").click()


async def test_the_table_tells_what_there_is_and_why_something_is_broken(page):
    await open_tab(page)
    await expect(row(page, "mood")).to_contain_text("sentiment")
    await expect(row(page, "mood")).to_contain_text("accuracy 0.91 [0.88, 0.94], base 0.62")
    await expect(row(page, "torn")).to_contain_text("broken")
    await row(page, "torn").click()
    await expect(page.locator("#adapter-detail")).to_contain_text("adapter_model.safetensors is missing")
    await expect(page.locator("#adapter-detail").get_by_role("button", name="Load", exact=True)).to_be_hidden()


async def test_a_card_is_shown_and_nothing_in_it_runs(page):
    await open_tab(page)
    await row(page, "mood").click()
    await expect(page.locator("#model-card")).to_contain_text("Trained on 4 000 short reviews.")
    await expect(page.locator("#model-card")).not_to_contain_text("apache-2.0")
    await expect(page.locator("#adapter-detail")).to_contain_text("python -m eval.run --task sentiment")
    assert await page.evaluate("window.cardRan") is None


async def test_an_adapter_is_loaded_pinned_and_unloaded(page, server):
    await open_tab(page)
    await row(page, "sums").click()
    detail = page.locator("#adapter-detail")
    for button, state in (
        ("Load", "resident"),
        ("Pin", "resident · pinned"),
        ("Unpin", "resident"),
        ("Unload", "on disk"),
    ):
        await detail.get_by_role("button", name=button, exact=True).click()
        await expect(row(page, "sums").locator(".sb-state")).to_have_text(state)
    await expect(page.locator("#adapter-note")).to_contain_text("sums is unloaded")


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
async def test_an_adapter_and_what_came_of_an_action_are_in_sight_wherever_it_was_picked(visit, server, width, height):
    for number in range(14):
        write_adapter(server.adapters / f"many-{number:02}", task="haiku", fill=number / 100)
    page = await visit(viewport={"width": width, "height": height})
    await open_named_tab(page, "Adapters")
    detail, note = page.locator("#adapter-detail"), page.locator("#adapter-note")
    for name in ("many-00", "torn"):
        await row(page, name).locator(".sb-link").click()
        await expect(detail.locator(".sb-chip")).to_have_text(name)
        await expect(detail.locator(".sb-chip")).to_be_in_viewport(ratio=1)
        await page.keyboard.press("Escape")
        await expect(detail).to_be_hidden()
        await expect(page.locator("#adapter-table .sb-selected")).to_have_count(0)
    await row(page, "sums").locator(".sb-link").click()
    await detail.get_by_role("button", name="Load", exact=True).click()
    await expect(note).to_contain_text("sums is loaded")
    await expect(note).to_be_in_viewport(ratio=1)
    await detail.get_by_role("button", name="Unload", exact=True).click()
    await expect(note).to_contain_text("sums is unloaded")
    await detail.get_by_role("button", name="Delete", exact=True).click()
    await expect(detail.get_by_role("button", name="Delete it")).to_be_in_viewport(ratio=1)
    await detail.get_by_role("button", name="Delete it").click()
    await expect(page.locator(".toast-body")).to_contain_text("sums is deleted")
    await expect(page.locator(".toast-body")).to_be_in_viewport(ratio=1)
    await expect(detail).to_be_hidden()
    assert await page.evaluate("document.documentElement.scrollWidth") == width


async def test_a_good_upload_can_be_chatted_with_at_once(page, tmp_path: Path):
    await open_tab(page)
    content = zipped(write_adapter(tmp_path / "new", task="haiku", fill=0.1))
    await page.locator("#adapter-name").get_by_role("textbox").fill("poet")
    await upload(page, "new.zip", content)
    await expect(page.locator("#upload-outcome")).to_contain_text("poet is in the catalogue")
    await expect(page.locator("#adapter-note")).to_contain_text("poet is in the catalogue")
    await expect(page.locator("#adapter-note")).to_be_in_viewport(ratio=1)
    await expect(row(page, "poet")).to_contain_text("haiku")
    await page.get_by_role("tab", name="Chat").click()
    await choose_adapter(page, "poet — haiku")
    await ask_and_wait(page, "spring")
    await expect(answers(page).last.locator(".sb-chip")).to_have_text("poet")


async def test_a_bad_upload_is_refused_with_its_reason_and_nothing_of_it_is_kept(page, server, tmp_path: Path):
    folder = write_adapter(tmp_path / "bad")
    (folder / "adapter_model.safetensors").unlink()
    (folder / "adapter_model.bin").write_bytes(b"pickle")
    await open_tab(page)
    await page.locator("#adapter-name").get_by_role("textbox").fill("bad-one")
    await upload(page, "bad.zip", zipped(folder))
    await expect(page.locator("#upload-outcome")).to_contain_text("Refused:")
    await expect(page.locator("#upload-outcome")).to_contain_text("adapter_model")
    await expect(page.locator("#adapter-name").get_by_role("textbox")).to_have_value("bad-one")
    assert sorted(path.name for path in server.adapters.iterdir()) == ["mood", "sums", "torn"]
    await upload(page, "worse.zip", b"no zip at all")
    await expect(page.locator("#upload-outcome")).to_contain_text("zip")
    await expect(page.locator("#upload-outcome")).to_contain_text("Refused:")


async def test_an_adapter_is_deleted_only_after_a_second_word(page, server):
    await open_tab(page)
    await row(page, "sums").click()
    detail = page.locator("#adapter-detail")
    await detail.get_by_role("button", name="Delete", exact=True).click()
    await detail.get_by_role("button", name="Keep it").click()
    assert (server.adapters / "sums").exists()
    await detail.get_by_role("button", name="Delete", exact=True).click()
    await detail.get_by_role("button", name="Delete it").click()
    await expect(row(page, "sums")).to_have_count(0)
    assert not (server.adapters / "sums").exists()


async def test_the_table_and_the_picker_follow_the_folder_by_themselves(page, server):
    await open_tab(page)
    write_adapter(server.adapters / "late", task="haiku", fill=0.7)
    await expect(row(page, "late")).to_be_visible()
    await page.get_by_role("tab", name="Chat").click()
    await choose_adapter(page, "late — haiku")


async def test_one_click_goes_back_to_the_revision_before(page, server, tmp_path):
    first = server.service.catalog.get("mood").digest
    new = write_adapter(tmp_path / "new", fill=0.9)
    await asyncio.to_thread(Revisions(server.adapters).swap_in, "mood", new)
    second = server.service.catalog.get("mood").digest
    await open_tab(page)
    await expect(row(page, "mood")).to_contain_text(second[:12])
    await row(page, "mood").click()
    await page.get_by_role("button", name="Go back").click()
    await expect(page.locator("#adapter-note")).to_contain_text(f"mood is what it was, {first[:12]}")
    await expect(row(page, "mood")).to_contain_text(first[:12])
    assert server.service.catalog.get("mood").digest == first
    await row(page, "sums").click()
    await expect(page.get_by_role("button", name="Go back")).to_be_hidden()
