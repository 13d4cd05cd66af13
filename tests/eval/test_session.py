"""The service of a measurement."""

from __future__ import annotations

from pathlib import Path

import pytest

from assistant.messages import ChatRequest, Decoding, Message
from assistant.settings import load_settings
from eval.ask import ask_all
from eval.session import measured_service
from tests import tiny


async def test_service_answers_and_leaves_no_turns_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = tiny.write_base(tmp_path / "base")
    settings = load_settings().model_copy(
        update={"base": str(base), "data_dir": tmp_path / "data", "adapters_dir": tmp_path / "adapters"}
    )
    request = ChatRequest(messages=(Message(role="user", content="hi"),), decoding=Decoding(max_tokens=2))
    async with measured_service(settings) as service:
        assert service.is_ready
        [done] = await ask_all(service, [request], 1)
    assert done.usage.completion_tokens == 2
    assert not service.is_ready
    assert not list(tmp_path.rglob("*.db"))
