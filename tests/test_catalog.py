"""The catalogue: what lies in the adapters folder."""

from __future__ import annotations

import json
import shutil
import time

import pytest

from assistant.catalog import CARD_FILE, CONFIG_FILE, WEIGHTS_FILE, Catalog
from assistant.errors import AdapterBroken, UnknownAdapter
from tests.fakes import write_adapter


def test_an_adapter_is_listed_with_its_card(tmp_path):
    write_adapter(tmp_path / "mood", rank=3, task="sentiment", template={"user": "Say: {input}"})
    (adapter,) = Catalog(tmp_path).adapters()
    assert (adapter.name, adapter.type, adapter.rank, adapter.card.task) == ("mood", "LORA", 3, "sentiment")
    assert adapter.card.template.wrap("x") == "Say: x" and len(adapter.digest) == 64


def test_the_rank_shown_is_the_largest_of_any_layer(tmp_path):
    write_adapter(tmp_path / "mood", rank=1)
    path = tmp_path / "mood" / CONFIG_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), "rank_pattern": {"q_proj": 16, "v_proj": 4}}))
    assert Catalog(tmp_path).adapters()[0].rank == 16


def test_an_adapter_of_another_base_is_listed_as_unfit(tmp_path):
    write_adapter(tmp_path / "fits", base_digest="1" * 64)
    write_adapter(tmp_path / "silent")
    write_adapter(tmp_path / "strange", base_digest="2" * 64, base_name="another", task="sentiment")
    catalog = Catalog(tmp_path, base=("ours", "1" * 64))
    assert {adapter.name: adapter.is_usable for adapter in catalog.adapters()} == {
        "fits": True,
        "silent": True,
        "strange": False,
    }
    assert catalog.adapters()[2].card.task == "sentiment"
    with pytest.raises(
        AdapterBroken, match="made for base another \\(222222222222\\); this is ours \\(111111111111\\)"
    ):
        catalog.get("strange")


def test_broken_folders_are_listed_with_the_reason_and_harm_nothing(tmp_path):
    write_adapter(tmp_path / "good")
    (tmp_path / "empty").mkdir()
    for name, damage in {
        "no-weights": lambda f: (f / WEIGHTS_FILE).unlink(),
        "pickled": lambda f: (f / WEIGHTS_FILE).rename(f / "adapter_model.bin"),
        "not-json": lambda f: (f / CONFIG_FILE).write_text("{"),
        "no-type": lambda f: (f / CONFIG_FILE).write_text("[]"),
        "not-utf8": lambda f: (f / CONFIG_FILE).write_bytes(b"\xff\xfe"),
        "cut-off": lambda f: (f / WEIGHTS_FILE).write_bytes((f / WEIGHTS_FILE).read_bytes()[:20]),
        "bad-card": lambda f: (f / CARD_FILE).write_text('{"template": {"user": "no place for text"}}'),
        "bad-decoding": lambda f: (f / CARD_FILE).write_text('{"decoding": {"temperature": 9}}'),
        "other-type": lambda f: (f / CONFIG_FILE).write_text(json.dumps({"peft_type": "OFT"})),
        "bad name": lambda f: None,
    }.items():
        damage(write_adapter(tmp_path / name))
    reasons = {adapter.name: adapter.error for adapter in Catalog(tmp_path).adapters()}
    assert reasons.pop("good") is None
    assert all(reasons.values()), reasons
    assert "only safetensors" in reasons["pickled"] and "adapter_model.bin" in reasons["pickled"]
    assert "decoding" in reasons["bad-decoding"]
    assert "template" in reasons["bad-card"] and "OFT" in reasons["other-type"] and "LORA" in reasons["other-type"]
    with pytest.raises(AdapterBroken, match="missing"):
        Catalog(tmp_path).get("empty")


def test_an_unknown_name_lists_near_matches(tmp_path):
    write_adapter(tmp_path / "sentiment")
    with pytest.raises(UnknownAdapter, match=r"no adapter named 'sentimnet'; near matches: sentiment"):
        Catalog(tmp_path).get("sentimnet")
    for name in ("../sentiment", "", "/etc", "."):
        with pytest.raises(UnknownAdapter):
            Catalog(tmp_path).get(name)


def test_identity_is_the_content_not_the_name(tmp_path):
    write_adapter(tmp_path / "a", fill=0.5)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    catalog = Catalog(tmp_path)
    assert catalog.get("a").digest == catalog.get("b").digest
    shutil.rmtree(tmp_path / "a")
    write_adapter(tmp_path / "a", fill=0.25)
    assert catalog.get("a").digest != catalog.get("b").digest


def test_new_changed_and_removed_folders_are_seen_without_restart(tmp_path):
    catalog = Catalog(tmp_path / "later")
    assert catalog.adapters() == []
    folder = write_adapter(tmp_path / "later" / "a", task="one")
    assert catalog.get("a").card.task == "one"
    (folder / CARD_FILE).write_text(json.dumps({"task": "another"}))
    assert catalog.get("a").card.task == "another"
    shutil.rmtree(folder)
    assert catalog.adapters() == []


def test_a_thousand_folders_list_within_two_seconds(tmp_path):
    first = write_adapter(tmp_path / "adapter-0", rank=64)
    for index in range(1, 1000):
        shutil.copytree(first, tmp_path / f"adapter-{index}")
    started = time.perf_counter()
    assert len(Catalog(tmp_path).adapters()) == 1000
    assert time.perf_counter() - started < 2
