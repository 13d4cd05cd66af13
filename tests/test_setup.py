"""What sets Swapboard up on a machine: the Makefile and the container."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_an_environment_that_failed_half_way_is_made_anew(tmp_path):
    """As Debian without python3-venv does it: a python is left in the folder, and no pip."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    python = tmp_path / "python"
    made = f"mkdir -p .venv/bin && ln -sf {python} .venv/bin/python && echo made >> made && exit 1"
    python.write_text(f'#!/bin/sh\n[ "$1 $2" = "-m venv" ] || exit 0\n{made}\n')
    python.chmod(0o755)
    for name in ("requirements.txt", "requirements-models.txt"):
        (tmp_path / name).touch()
    for times in (1, 2):
        failed = subprocess.run(["make", "run", f"PYTHON={python}"], cwd=tmp_path, capture_output=True, text=True)
        assert failed.returncode != 0, failed.stdout
        assert (tmp_path / "made").read_text().split() == ["made"] * times
    assert python.exists()


class Ready(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/readyz" else 404)
        self.end_headers()

    def log_message(self, *args):
        pass


def test_the_container_asks_for_its_health_where_it_serves():
    check = re.search(r"^HEALTHCHECK .*\\\n +CMD (\[.*\])$", (ROOT / "Dockerfile").read_text(), re.M)
    _, *arguments = json.loads(check[1])
    with HTTPServer(("127.0.0.1", 0), Ready) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        environment = {**os.environ, "SWAPBOARD_PORT": str(server.server_port)}
        subprocess.run([sys.executable, *arguments], env=environment, check=True, timeout=60)
        server.shutdown()


@pytest.mark.parametrize(
    ("told", "spins"), [({}, "1000"), ({"GOMP_SPINCOUNT": "77"}, "77"), ({"OMP_WAIT_POLICY": "active"}, None)]
)
def test_threads_do_not_wait_long_for_each_other_unless_told_to(told: dict[str, str], spins: str | None) -> None:
    own = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    script = "import assistant, torch"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**own, **told, "OMP_DISPLAY_ENV": "verbose"},
        capture_output=True,
        text=True,
    )
    shown = re.search(r"GOMP_SPINCOUNT = '(\d+)'", done.stderr)
    if shown is None:
        pytest.skip("PyTorch here uses another OpenMP than GNU's")
    assert (shown[1] == spins) if spins else int(shown[1]) > 1000
