"""Settings are read in one place, and wrong ones stop the start."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from assistant.errors import SettingsError
from assistant.settings import PREFIX, Settings, describe, load_settings

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for key in list(os.environ):
        if key.startswith(PREFIX):
            monkeypatch.delenv(key)


def test_environment_wins_over_the_env_file(monkeypatch, tmp_path):
    env = tmp_path / ".env"
    env.write_text("SWAPBOARD_PORT=9000\nSWAPBOARD_HOST=0.0.0.0\nOTHER=1\n")
    monkeypatch.setenv("SWAPBOARD_PORT", "9001")
    settings = load_settings(env)
    assert (settings.host, settings.port) == ("0.0.0.0", 9001)


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("SWAPBOARD_PORT", "70000", "1 to 65535"),
        ("SWAPBOARD_PORT", "http", "whole number"),
        ("SWAPBOARD_DTYPE", "float8", "auto | float32 | bfloat16"),
        ("SWAPBOARD_MAX_BATCH", "0", "1 to 256"),
        ("SWAPBOARD_ROUTER_THRESHOLD", "2", "0 to 1"),
        ("SWAPBOARD_CACHE_SLOTS", "3", "8 to 1024"),
        ("SWAPBOARD_PROT", "80", "did you mean SWAPBOARD_PORT"),
    ],
)
@pytest.mark.parametrize("place", ["environment", "file"])
def test_a_wrong_setting_names_key_value_and_what_is_allowed(monkeypatch, tmp_path, key, value, allowed, place):
    env = tmp_path / ".env"
    if place == "file":
        env.write_text(f"{key}={value}\n")
    else:
        monkeypatch.setenv(key, value)
    with pytest.raises(SettingsError) as caught:
        load_settings(env)
    assert key in str(caught.value) and value in str(caught.value) and allowed in str(caught.value)


def test_a_tilde_in_a_folder_is_the_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    env = tmp_path / ".env"
    env.write_text(
        "SWAPBOARD_DATA_DIR=~/kept\nSWAPBOARD_ADAPTERS_DIR=~/tuned\nSWAPBOARD_BASE=~/models/base\n"
        "SWAPBOARD_EMBEDDER=owner/~name\nSWAPBOARD_RERANKER=~/models/reranker\n"
    )
    settings = load_settings(env)
    # They go onto cards and into results as they are, and are looked for under this name in many places.
    assert settings.base == str(tmp_path / "models/base") and settings.reranker == str(tmp_path / "models/reranker")
    assert settings.embedder == "owner/~name"
    assert (settings.data_dir, settings.adapters_dir) == (tmp_path / "kept", tmp_path / "tuned")
    assert str(tmp_path / "kept") in settings.database
    env.write_text("SWAPBOARD_DATA_DIR=~no-such-user/kept\n")
    with pytest.raises(SettingsError, match=r"SWAPBOARD_DATA_DIR='~no-such-user/kept'.*allowed: a path"):
        load_settings(env)
    env.write_text("SWAPBOARD_BASE=~no-such-user/model\n")
    with pytest.raises(SettingsError, match=r"SWAPBOARD_BASE='~no-such-user/model'.*allowed: text"):
        load_settings(env)


def test_settings_cannot_be_changed(tmp_path):
    with pytest.raises(ValidationError):
        load_settings(tmp_path / "none").port = 1


def test_the_manual_lists_every_setting_with_its_default_and_what_it_takes():
    rows = re.findall(
        r"^\| `(SWAPBOARD_\w+)` \| (.*?) \| (.*?) \| (.*?) \|$", (ROOT / "docs/settings.md").read_text(), re.M
    )
    manual = {key: rest for key, *rest in rows}
    assert list(manual) == [f"{PREFIX}{name.upper()}" for name in Settings.model_fields]
    for name, field in Settings.model_fields.items():
        default = "" if field.default in (None, "") else f"`{field.default}`"
        allowed = describe(name).replace("|", "\\|")
        assert manual[f"{PREFIX}{name.upper()}"] == [default, allowed, field.description], name
