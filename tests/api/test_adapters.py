"""Loading, unloading, uploading, pinning and deleting over HTTP."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import httpx
import openai
import pytest

from assistant.adapter_pool.revisions import Revisions
from assistant.errors import AdapterConflict
from tests.api.conftest import MAX_UPLOAD
from tests.fakes import EchoBackend, write_adapter


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_adapter(tmp_path / "elsewhere" / "fresh", fill=0.75, task="jokes")


def zipped(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in folder.iterdir():
            archive.write(path, path.name)
    return buffer.getvalue()


def test_an_adapter_is_loaded_and_unloaded_as_in_vllm(connect):
    client = connect()
    backend = client.service.backend
    for body in (
        {"lora_name": "mood"},
        {"lora_name": "mood", "lora_path": str(client.service.catalog.folder / "mood")},
    ):
        loaded = httpx.post(f"{client.url}/v1/load_lora_adapter", json=body)
        assert (loaded.status_code, loaded.text) == (200, "Success: LoRA adapter 'mood' added successfully.")
        assert list(backend.resident) == ["mood"]
        unloaded = httpx.post(f"{client.url}/v1/unload_lora_adapter", json={"lora_name": "mood"})
        assert (unloaded.status_code, unloaded.text) == (200, "Success: LoRA adapter 'mood' removed successfully.")
        assert backend.resident == {}
    assert client.service.intake.handed == []
    again = httpx.post(f"{client.url}/v1/unload_lora_adapter", json={"lora_name": "mood"})
    assert again.status_code == 409 and again.json()["error"]["code"] == "adapter_conflict"


@pytest.mark.parametrize("as_zip", [False, True])
def test_an_adapter_from_elsewhere_on_the_server_is_taken_in_and_answers(connect, source, tmp_path, as_zip):
    client = connect()
    if as_zip:
        (tmp_path / "fresh.zip").write_bytes(zipped(source))
        source = tmp_path / "fresh.zip"
    body = {"lora_name": "fresh", "lora_path": str(source)}
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="fresh", messages=[{"role": "user", "content": "x"}])
    assert httpx.post(f"{client.url}/v1/load_lora_adapter", json=body).status_code == 200
    answer = client.chat.completions.create(model="fresh", messages=[{"role": "user", "content": "x"}])
    assert answer.choices[0].message.content.startswith("fresh:")


def test_a_name_that_exists_is_replaced_only_when_asked(connect, source):
    client = connect()
    body = {"lora_name": "mood", "lora_path": str(source)}
    before = client.service.catalog.get("mood").digest
    refused = httpx.post(f"{client.url}/v1/load_lora_adapter", json=body)
    assert refused.status_code == 409 and "load_inplace" in refused.json()["error"]["message"]
    assert client.service.catalog.get("mood").digest == before
    assert httpx.post(f"{client.url}/v1/load_lora_adapter", json={**body, "load_inplace": True}).status_code == 200
    assert client.service.catalog.get("mood").digest != before


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"lora_name": "moood"}, 404, "near matches: mood"),
        ({"lora_name": "new", "lora_path": "some-hub/adapter"}, 400, "nothing is downloaded"),
        ({"lora_name": "../x", "lora_path": "/"}, 400, "adapter name '../x'"),
        ({"lora_name": "base", "lora_path": "/"}, 400, "adapter name 'base'"),
        ({"lora_name": "mood", "base_model_name": "x"}, 400, "base_model_name: no such field"),
        ({}, 400, "lora_name: Field required"),
    ],
)
def test_what_cannot_be_loaded_is_refused_with_a_reason(connect, body, status, words):
    client = connect()
    answer = httpx.post(f"{client.url}/v1/load_lora_adapter", json=body)
    assert answer.status_code == status and words in answer.json()["error"]["message"]
    assert client.service.backend.resident == {}


@pytest.mark.parametrize(("fields", "name"), [({}, "fresh"), ({"name": "renamed"}, "renamed")])
def test_an_uploaded_zip_is_listed_and_its_file_is_gone(connect, source, fields, name):
    client = connect()
    answer = httpx.post(f"{client.url}/v1/adapters", data=fields, files={"file": ("fresh.zip", zipped(source))})
    assert answer.status_code == 201
    assert (answer.json()["id"], answer.json()["task"], answer.json()["state"]) == (name, "jokes", "on disk")
    assert name in [model.id for model in client.models.list()]
    (handed,) = client.service.intake.handed
    assert not handed.exists() and not handed.parent.exists()


def test_a_refused_upload_leaves_nothing_behind(connect):
    client = connect()
    answer = httpx.post(f"{client.url}/v1/adapters", files={"file": ("../../evil.zip", b"x")}, data={"name": "a/b"})
    assert answer.status_code >= 400
    (handed,) = client.service.intake.handed
    assert not handed.exists() and not handed.parent.exists()


def test_an_upload_beyond_the_bound_is_refused_before_it_is_looked_at(connect):
    client = connect()
    answer = httpx.post(f"{client.url}/v1/adapters", files={"file": ("big.zip", b"x" * (MAX_UPLOAD + 100_000))})
    assert answer.status_code == 413 and answer.json()["error"]["code"] == "adapter_too_large"
    assert client.service.intake.handed == []


@pytest.mark.parametrize(
    "request_fields",
    [
        {"json": {"file": "x"}},
        {"data": {"name": "x"}, "files": {"other": ("x.zip", b"x")}},
        {"files": {"name": ("x.zip", b"x")}},
        {"content": b"x", "headers": {"content-type": "multipart/form-data"}},
        {"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=b"}},
    ],
)
def test_a_form_that_is_none_is_400(connect, request_fields):
    answer = httpx.post(f"{connect().url}/v1/adapters", **request_fields)
    assert answer.status_code == 400 and answer.json()["error"]["code"] == "invalid_request"


def test_the_list_says_what_is_in_memory_what_is_pinned_and_what_is_broken(connect, folder):
    client = connect()
    (folder / "broken").mkdir()
    pinned = httpx.post(f"{client.url}/v1/adapters/mood/pin", json={"pinned": True}).json()
    assert (pinned["state"], pinned["pinned"]) == ("resident", True)
    listed = {one["id"]: one for one in httpx.get(f"{client.url}/v1/adapters").json()["data"]}
    assert [(name, one["state"]) for name, one in listed.items()] == [
        ("broken", "broken"),
        ("mood", "resident"),
        ("sums", "on disk"),
    ]
    assert listed["mood"] == pinned and "missing" in listed["broken"]["error"]
    unpinned = httpx.post(f"{client.url}/v1/adapters/mood/pin", json={"pinned": False}).json()
    assert unpinned["pinned"] is False


def test_a_deleted_adapter_is_gone_from_folder_memory_and_models(connect, folder):
    client = connect()
    httpx.post(f"{client.url}/v1/load_lora_adapter", json={"lora_name": "mood"})
    assert httpx.delete(f"{client.url}/v1/adapters/mood").json() == {"id": "mood", "object": "adapter", "deleted": True}
    assert not (folder / "mood").exists() and client.service.backend.resident == {}
    assert "mood" not in [model.id for model in client.models.list()]
    assert httpx.delete(f"{client.url}/v1/adapters/mood").status_code == 404


def test_earlier_revisions_are_listed_and_gone_back_to(connect, tmp_path):
    client = connect()
    folder, url = client.service.catalog.folder, f"{client.url}/v1/adapters/mood"
    first = client.service.catalog.get("mood").digest
    assert httpx.get(f"{url}/revisions").json() == {"object": "list", "data": []}
    none = httpx.post(f"{url}/revert", json={})
    assert none.status_code == 404 and "no earlier revision; kept: none" in none.json()["error"]["message"]
    Revisions(folder).swap_in("mood", write_adapter(tmp_path / "new", fill=0.75))
    second = client.service.catalog.get("mood").digest
    [kept] = httpx.get(f"{url}/revisions").json()["data"]
    assert kept["digest"] == first and kept["object"] == "adapter.revision" and kept["replaced_at"].endswith("+00:00")
    reverted = httpx.post(f"{url}/revert", json={"digest": first[:12]})
    assert reverted.status_code == 200 and reverted.json()["digest"] == first
    assert httpx.post(f"{url}/revert", json={}).json()["digest"] == second
    assert httpx.post(f"{url}/revert", json={"digest": "abc"}).status_code == 400


class FullBackend(EchoBackend):
    """Has room for the first revision that is pinned, and for no other."""

    pins = 0

    async def pin(self, adapter, pinned):
        self.pins += 1
        if self.pins > 1:
            raise AdapterConflict(f"no room for {adapter.name!r}")
        await super().pin(adapter, pinned)


def test_a_new_revision_that_cannot_be_pinned_is_live_and_says_so(connect, source):
    client = connect(FullBackend())
    url = f"{client.url}/v1/adapters"
    assert httpx.post(f"{url}/mood/pin", json={"pinned": True}).json()["pinned"] is True
    answer = httpx.post(url, data={"name": "mood"}, files={"file": ("mood.zip", zipped(source))})
    assert answer.status_code == 201
    assert (answer.json()["task"], answer.json()["pinned"], answer.json()["state"]) == ("jokes", False, "on disk")
