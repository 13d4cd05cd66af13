from __future__ import annotations

import json
import re
from collections import Counter
from difflib import SequenceMatcher
from pathlib import Path
from types import SimpleNamespace

import pytest

from assistant.catalog import Adapter, Card
from assistant.errors import DataError, EvaluationError
from assistant.routing.router import chat_examples
from eval.tasks import routing
from eval.tasks.routing import CHAT, OWN, Utterance, cards, measure, read_utterances
from tests.bag_of_words import BagOfWords

MOOD = Adapter(
    name="moody",
    folder=Path("moody"),
    digest="1",
    card=Card(task="sentiment", examples=("Is this positive or negative?",)),
)


def everything() -> list[Utterance]:
    return [*read_utterances(OWN, "dev"), *read_utterances(OWN, "test")]


def test_set_is_large_and_covers_every_task_in_both_halves() -> None:
    adapters, _ = cards([])
    tasks = {adapter.card.task for adapter in adapters} | {CHAT}
    assert len(everything()) >= 200
    for split in ("dev", "test"):
        rows = read_utterances(OWN, split)  # type: ignore[arg-type]
        single = Counter(row.tasks[0] for row in rows if len(row.tasks) == 1)
        assert set(single) == tasks
        assert min(single.values()) >= 10
        assert sum(len(row.tasks) > 1 for row in rows) >= 15


def test_no_utterance_is_in_the_set_twice() -> None:
    texts = [utterance.text for utterance in everything()]
    assert len(set(texts)) == len(texts)


def test_no_utterance_nearly_equals_an_example_it_is_routed_by() -> None:
    adapters, _ = cards([])
    examples = [text for adapter in adapters for text in adapter.card.examples] + list(chat_examples())
    words = [re.findall(r"\w+", example.lower()) for example in examples]
    for utterance in everything():
        own = re.findall(r"\w+", utterance.text.lower())
        for example in words:
            if len(set(own) & set(example)) >= 0.4 * len(set(own)):
                likeness = SequenceMatcher(None, " ".join(own), " ".join(example)).ratio()
                assert likeness < 0.8, f"{utterance.text!r} is nearly {' '.join(example)!r}"


def test_real_cards_are_used_and_named_where_there_are_any() -> None:
    adapters, sources = cards([MOOD])
    assert [adapter.name for adapter in adapters if adapter.card.task == "sentiment"] == ["moody"]
    assert sources["sentiment"] == "adapters/moody"
    assert sources["qa"] == "training recipe"


def test_mixed_intents_are_right_only_with_the_exact_list() -> None:
    utterances = [
        Utterance("Is this positive or negative?", ("sentiment",), "test"),
        Utterance("Is this positive or negative?", ("sentiment", "translation"), "test"),
        Utterance("good evening!", (CHAT,), "test"),
    ]
    outcome = measure(BagOfWords().embed, cards([MOOD])[0], utterances)
    assert [example["right"] for example in outcome.examples] == [True, False, True]
    assert outcome.metrics["accuracy"].value == pytest.approx(2 / 3)
    assert outcome.metrics["mixed_intents"].value == 0
    assert outcome.confusion["routing"] == {
        "sentiment": {"sentiment": 1},
        "mixed": {"sentiment": 1},
        CHAT: {CHAT: 1},
    }


def test_the_seed_draws() -> None:
    dev = read_utterances(OWN, "dev")
    drawn = [
        [example["text"] for example in measure(BagOfWords().embed, [MOOD], dev, limit=3, seed=seed).examples]
        for seed in (0, 0, 1)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_measuring_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError):
        measure(BagOfWords().embed, [MOOD], [])
    path = tmp_path / "set.jsonl"
    path.write_text('{"text": "hi", "tasks": ["chat"], "split": "dev"}\n')
    with pytest.raises(EvaluationError, match="test half"):
        read_utterances(path, "test")


@pytest.mark.parametrize("line", ["{", '{"text": "hi"}', '{"text": "hi", "tasks": [], "split": "dev"}', "3"])
def test_malformed_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "set.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(DataError, match=r"set\.jsonl:1"):
        read_utterances(path, "dev")


async def test_run_measures_the_test_half_and_prints_the_cards(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(routing, "Embedder", lambda source: BagOfWords())
    path = tmp_path / "set.jsonl"
    rows = [{"text": "good evening!", "tasks": ["chat"], "split": split} for split in ("dev", "test")]
    path.write_text("\n".join(json.dumps(row) for row in rows))
    service = SimpleNamespace(catalog=SimpleNamespace(adapters=lambda: [MOOD]))
    outcome = await routing.run(service, read_utterances(path, "test"))  # type: ignore[arg-type]
    assert len(outcome.examples) == 1
    assert outcome.config["cards"]["sentiment"] == "adapters/moody"
    printed = capsys.readouterr().out
    assert "sentiment from adapters/moody" in printed
