"""Who may send what: no page of another site, and nothing longer than any request can be."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from assistant.api.doorway import FORMS, MOST_BYTES
from tests.api.conftest import MAX_UPLOAD, build

CHAT = {"model": "base", "messages": [{"role": "user", "content": "x"}]}
HOST = "127.0.0.1:7860"


@pytest.fixture
async def client(folder: Path) -> Iterator[httpx.AsyncClient]:
    app, service = build(folder)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"http://{HOST}") as client:
        client.service = service
        yield client


FOREIGN = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": f"http://{HOST}"},
    {"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:3000"},
    {"Origin": "http://127.0.0.1:3000"},
    {"Origin": "http://127.0.0.1"},
    {"Origin": "https://evil.example"},
    {"Origin": f"http://{HOST}.evil.example"},
    {"Origin": "null"},
    {"Origin": "file://"},
    {"Origin": "http://127.0.0.1:x"},
]
OWN = [
    {},
    {"Origin": f"http://{HOST}"},
    {"Sec-Fetch-Site": "same-origin", "Origin": f"http://{HOST}"},
    {"Sec-Fetch-Site": "none"},
    # Behind proxies: one changes the host, and the browser or a header tells; one speaks TLS.
    {"Sec-Fetch-Site": "same-origin", "Origin": "https://board.example"},
    {"Origin": "https://board.example", "X-Forwarded-Host": "board.example, inner:7860"},
    {"Origin": "https://Board.example", "Host": "board.example"},
    {"Origin": "https://board.example", "Host": "board.example:443"},
    {"Sec-Fetch-Site": "same-site", "Origin": "https://board.example", "Host": "board.example"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
async def test_a_page_of_another_site_changes_nothing(client, headers):
    files = {"file": ("mood.zip", b"PK")}
    for answer in (
        await client.post("/v1/adapters", files=files, headers=headers),
        await client.post("/v1/documents", files=files, headers=headers),
        await client.post("/v1/chat/completions", json=CHAT, headers=headers),
        await client.post("/v1/chat/completions", content=b"{}", headers={**headers, "Content-Type": "text/plain"}),
        await client.delete("/v1/adapters/mood", headers=headers),
    ):
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (403, "foreign_origin")
        assert HOST in error["message"] and "access-control-allow-origin" not in answer.headers
    assert client.service.intake.handed == [] and (client.service.catalog.folder / "mood").exists()


@pytest.mark.parametrize("headers", OWN, ids=str)
async def test_programs_and_the_servers_own_pages_are_let_through(client, headers):
    assert (await client.post("/v1/chat/completions", json=CHAT, headers=headers)).status_code == 200


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
async def test_whoever_only_reads_is_not_asked(client, headers):
    assert (await client.get("/v1/models", headers=headers)).status_code == 200
    assert (await client.get("/page/1", headers=headers)).status_code == 200


async def test_a_browser_that_asks_for_permission_gets_none(folder):
    """Not even from what is mounted beside the API, which grants it to everyone who asks."""
    app, _ = build(folder)
    beside = FastAPI()

    @beside.options("/{path:path}")
    async def grant(path: str) -> str:
        return "OK"

    app.mount("/", beside)
    asked = {"Origin": "http://evil.example", "Access-Control-Request-Method": "DELETE"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"http://{HOST}") as client:
        assert (await client.options("/v1/adapters/mood", headers=asked)).status_code == 403
        assert (await client.options("/elsewhere", headers=asked)).status_code == 200


@pytest.mark.parametrize("form", ["told", "streamed", "labelled a form"])
async def test_a_body_that_is_too_long_is_refused_before_it_is_read(client, form):
    sent = []

    async def pieces():
        for _ in range(20):
            sent.append(1)
            yield b" " * (MOST_BYTES // 8)

    headers = {"Content-Type": "multipart/form-data; boundary=x" if form == "labelled a form" else "application/json"}
    if form == "told":
        headers["Content-Length"] = str(20 * MOST_BYTES // 8)
    answer = await client.post("/v1/chat/completions", content=pieces(), headers=headers)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (413, "body_too_large") and "8,388,608" in error["message"]
    assert len(sent) <= (1 if form == "told" else 9) and not client.service.store.turns


async def test_the_longest_body_is_read_whole(client):
    text = "{" + " " * (MOST_BYTES - 2) + "}"
    answer = await client.post("/v1/chat/completions", content=text, headers={"Content-Type": "application/json"})
    assert answer.json()["error"]["param"] in ("model", "messages")


async def test_forms_with_files_have_limits_of_their_own(client):
    files = {"file": ("big.zip", b"x" * (MOST_BYTES + 1))}
    answer = await client.post("/v1/adapters", files=files)
    assert answer.json()["error"]["code"] == "adapter_too_large" and MOST_BYTES > MAX_UPLOAD


def test_every_form_with_files_is_known_here():
    """As the routers have them: each reads its form with `bounded_form` or `received`."""
    folder = Path(__file__).parents[2] / "assistant" / "api"
    texts = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.py")}
    reading = {name for name, text in texts.items() if re.search(r"(?:with received|await bounded_form)\(", text)}
    assert reading - {"upload.py"} == {f"{path.split('/')[2]}.py" for path in FORMS}
