"""A tiny library, the real embedder and the real base: the answer carries the right passage."""

from __future__ import annotations

from pathlib import Path

import pytest

from assistant.build import build_service, build_store
from assistant.messages import ChatRequest, Decoding, Done, Failed, Message, Retrieval
from assistant.settings import load_settings

ROOT = Path(__file__).parents[2]
LIGHTHOUSE = "The lighthouse on Skarn Point was built in 1871 by Ana Rivas. It is thirty-one metres tall."
OTHERS = {
    "glacier.txt": "The Fjellbre glacier lost nine metres of ice in two summers. The meltwater feeds the river Orla.",
    "copper.md": "# Metals\n\nCopper melts at 1085 degrees Celsius, well below iron.",
    "fines.csv": "item,fine\nlate book,twenty cents a day\nlost card,two dollars\n",
}


def ask(adapter: str, question: str) -> ChatRequest:
    decoding = Decoding(temperature=0, max_tokens=24)
    messages = (Message(role="user", content=question),)
    return ChatRequest(
        messages=messages, adapter=adapter, decoding=decoding, retrieval=Retrieval(top_k=2), show_prompt=True
    )


@pytest.mark.slow
async def test_an_answer_from_the_documents_carries_the_passage_it_rests_on(tmp_path: Path) -> None:
    settings = load_settings(env_file="").model_copy(
        update={
            "adapters_dir": ROOT / "adapters",
            "data_dir": ROOT / "data",
            "database_url": f"sqlite:///{tmp_path}/documents.db",
            "max_context": 1024,
        }
    )
    store = build_store(settings)
    service = build_service(settings, store)
    await service.start()
    try:
        for name, text in {**OTHERS, "lighthouse.txt": LIGHTHOUSE}.items():
            service.library.add(name, text.encode())
        events = [event async for event in service.reply(ask("qa", "Who built the lighthouse on Skarn Point?"))]
        done = events[-1]
        assert isinstance(done, Done), done
        (part,) = done.parts
        assert part.passages[0].document == "lighthouse.txt" and part.passages[0].text == LIGHTHOUSE
        assert part.text == "Ana Rivas"
        assert part.prompt is not None and f'[1] "{LIGHTHOUSE}"' in part.prompt
        assert part.grounding is not None and part.grounding.is_found
        assert [(c.start, c.end, c.passage) for c in part.grounding.citations] == [(0, 9, 1)]
        assert store.turn(done.turn_id).parts == done.parts, "and is recorded with them"
        events = [event async for event in service.reply(ask("base", "Zyx wvut qpo?"))]
        assert isinstance(events[-1], Failed) and events[-1].code == "nothing_relevant"
    finally:
        await service.stop()
        store.close()
