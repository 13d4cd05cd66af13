"""The table and the details of the adapters tab."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from assistant.adapter_pool.revisions import Revisions
from assistant.backends.base import Residency
from assistant.catalog import Score
from assistant.service import AdapterStatus
from assistant.ui import adapter_view as view
from tests.fakes import fake_service, write_adapter

EVIL = "<script>alert(1)</script>"
SCORE = Score(metric="accuracy", value=0.9123, low=0.88, high=0.94, base=0.6, data="d", command="c", date="2026-01-01")


@pytest.fixture
def status(tmp_path: Path) -> AdapterStatus:
    write_adapter(tmp_path / "mood", rank=2, scores=[SCORE.model_dump()], decoding={"temperature": 0})
    return fake_service(tmp_path).adapters()[0]


def test_a_row_tells_everything_of_an_adapter(status):
    table = view.adapter_table([status], "mood")
    told = ("mood", "sentiment", "LORA", ">2<", "376 B", "on disk", status.adapter.digest[:12])
    assert all(text in table for text in told) and "aria-selected" in table
    assert "accuracy 0.912 [0.88, 0.94], base 0.6" in table


def test_a_score_tells_how_many_records_it_is_of_and_how_they_were_asked(tmp_path: Path):
    some = SCORE.model_copy(update={"count": 1821, "mode": "rag"})
    write_adapter(tmp_path / "mood", scores=[SCORE.model_dump(), some.model_dump()])
    details = view.adapter_details(fake_service(tmp_path).adapters()[0])
    assert "<small>d, 2026-01-01" in details and "<small>d (1,821, rag), 2026-01-01" in details


def test_what_was_measured_at_once_names_its_source_once(tmp_path: Path):
    others = measured("e", "em", "f1")
    write_adapter(tmp_path / "mood", scores=[score.model_dump() for score in (SCORE, *others)])
    details = view.adapter_details(fake_service(tmp_path).adapters()[0])
    first, second = (details.index(f"<dt>Measured</dt><dd><small>{data}, 2026-01-01 · <code>c</code>") for data in "de")
    assert (
        first
        < details.index("<dt>accuracy</dt>")
        < second
        < details.index("<dt>em</dt>")
        < details.index("<dt>f1</dt>")
    )
    assert details.count("<dt>Measured</dt>") == 2


def measured(data: str, *metrics: str) -> list[Score]:
    return [SCORE.model_copy(update={"metric": metric, "data": data}) for metric in metrics]


@pytest.mark.parametrize(
    ("metrics", "main"),
    [
        (("em", "f1", "raw_accuracy"), "f1"),
        (("accuracy", "precision", "recall", "f1", "exact", "ece"), "f1"),
        (("rouge_1", "rouge_2", "rouge_l", "bleu", "chrf"), "rouge_l"),
        (("length_accuracy", "accuracy", "margin"), "accuracy"),
        (("reward", "margin"), "reward"),
    ],
)
def test_of_one_file_of_data_the_figure_that_says_most_is_told(metrics, main):
    assert [score.metric for score in view.main_scores(measured("d", *metrics))] == [main]


def test_the_table_tells_one_score_of_each_of_the_first_three_files_of_data(status):
    scores = measured("data/qa/a.jsonl", "em", "f1") + measured("data/tldr/b.jsonl", "rouge_1", "rouge_l")
    scores += measured("data/pairs/c.jsonl", "accuracy") + measured("data/law/d.jsonl", "f1")
    card = status.adapter.card.model_copy(update={"scores": scores})
    table = view.adapter_table([replace(status, adapter=replace(status.adapter, card=card))], "")
    told = ("f1 0.912", "<small>qa/a.jsonl", "rouge_l 0.912", "<small>tldr/b.jsonl", "accuracy 0.912", "pairs/c.jsonl")
    assert all(text in table for text in told)
    assert not any(text in table for text in ("em 0", "rouge_1", "law/d.jsonl"))


def test_a_score_is_named_once_in_the_details(status):
    assert "<dt>accuracy</dt><dd>0.912 [0.88, 0.94], base 0.6</dd>" in view.adapter_details(status)


def test_a_broken_adapter_is_shown_with_its_reason(tmp_path: Path):
    (tmp_path / "torn").mkdir()
    statuses = fake_service(tmp_path).adapters()
    for made in (view.adapter_table(statuses, ""), view.adapter_details(statuses[0])):
        assert "broken" in made and "adapter_config.json is missing" in made


def test_a_resident_adapter_tells_its_memory_and_that_it_is_pinned(status):
    residency = Residency("mood", status.adapter.digest, "resident", 3 * 1024 * 1024, 2, True)
    made = view.adapter_details(replace(status, residency=residency))
    assert "resident · pinned" in made and "3.0 MiB, held by 2 running requests" in made
    assert "Own temperature" in made


def test_what_an_upload_says_of_itself_is_escaped(status):
    card = status.adapter.card.model_copy(update={"task": EVIL, "description": EVIL, "decoding": {EVIL: EVIL}})
    evil = replace(status, adapter=replace(status.adapter, name=EVIL, type=EVIL, error=EVIL, card=card))
    shown = (view.adapter_table([evil], ""), view.adapter_heading(evil), view.adapter_details(evil))
    for made in (*shown, view.result(EVIL, "bad")):
        assert "<script" not in made


def test_a_model_card_is_shown_without_its_machine_readable_head(status):
    assert view.model_card(status.adapter, "---\nlicense: mit\n---\n# Hello\n---\n") == "# Hello\n---\n"
    assert "without a model card" in view.model_card(status.adapter, None)


@pytest.mark.parametrize(
    ("nbytes", "told"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (50 * 2**20, "50 MiB"), (3 * 2**30, "3.0 GiB")],
)
def test_sizes_are_told_in_binary_units(nbytes, told):
    assert view.size(nbytes) == told


def test_the_gates_report_stands_in_the_details(tmp_path: Path):
    figure = {"figure": "reward", "data": "d", "count": 9, "against": 0.1, "candidate": 0.5, "p": 0.01}
    figure |= {"gain": 0.4, "low": 0.2, "high": 0.6}
    gate = {
        "verdict": "failed",
        "against": "base",
        "against_digest": None,
        "aim": figure,
        "harness": [],
        "margin": None,
    }
    gate |= {"reasons": [f"surely worse on {EVIL}"], "command": "python -m eval.gate", "date": "2026-01-01"}
    write_adapter(tmp_path / "mood", gate=gate)
    told = view.adapter_details(fake_service(tmp_path).adapters()[0])
    assert "<dt>Gate</dt>" in told and "failed; reward +0.4 [+0.2, +0.6] against base; surely worse on" in told
    assert "python -m eval.gate" in told and EVIL not in told


def test_kept_revisions_are_named_by_digest_and_moment(tmp_path: Path):
    write_adapter(tmp_path / "mood", fill=0.1)
    first = fake_service(tmp_path).catalog.get("mood").digest
    Revisions(tmp_path).swap_in("mood", write_adapter(tmp_path / ".new" / "mood", fill=0.2))
    [(label, digest)] = view.revision_choices(Revisions(tmp_path).kept("mood"))
    assert digest == first and label.startswith(f"{first[:12]}, until 20") and label.endswith(" UTC")
