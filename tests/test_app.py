"""How the application starts, as far as that needs no base; the rest is in `integration/test_app`."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from app import Server, listen
from assistant.errors import SettingsError

ROOT = Path(__file__).parents[1]


def test_a_port_in_use_stops_the_start_before_the_base_is_loaded(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        settings = {"SWAPBOARD_PORT": port, "SWAPBOARD_DATA_DIR": str(tmp_path / "data"), "SWAPBOARD_BASE": "nothing"}
        ended = subprocess.run(
            [sys.executable, "app.py"],
            cwd=ROOT,
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert ended.returncode == 1
    assert f"Swapboard cannot start: SWAPBOARD_PORT={port}: Address already in use" in ended.stderr
    assert "allowed: a port" in ended.stderr and "Traceback" not in ended.stderr
    assert "ready" not in ended.stdout and not (tmp_path / "data").exists()


def test_a_second_start_finds_the_port_taken_while_the_first_still_loads():
    [first] = listen("127.0.0.1", 0)
    with first, pytest.raises(SettingsError, match="Address already in use"):
        listen("127.0.0.1", first.getsockname()[1])


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
def test_a_host_that_is_not_this_machine_is_refused_by_name(host):
    with pytest.raises(SettingsError, match=f"SWAPBOARD_HOST='{host}'.*allowed: a name or address"):
        listen(host, 0)


def test_it_is_ready_when_it_serves_and_not_before(capsys):
    [taken] = listen("127.0.0.1", 0)
    port = taken.getsockname()[1]
    server = Server(uvicorn.Config(FastAPI(), host="127.0.0.1", port=port, log_config=None))
    answers = []

    def ask() -> None:
        try:
            answers.append(httpx.get(f"http://127.0.0.1:{port}/openapi.json", timeout=30).status_code)
        finally:
            server.should_exit = True

    asking = threading.Thread(target=ask)
    asking.start()
    assert "ready" not in capsys.readouterr().out
    server.run([taken])
    asking.join()
    assert answers == [200], "who came before it served was answered"
    assert f"Swapboard is ready at http://127.0.0.1:{port}" in capsys.readouterr().out
