"""A training run: what it leaves, what it refuses, and how it goes on after a kill."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from assistant.catalog import Catalog, Score
from assistant.errors import AdapterConflict
from assistant.training import publish, run
from assistant.training.publish import record_scores, staging
from tests.training.harness import command

ROOT = Path(__file__).parents[2]


def test_training_leaves_the_base_as_it_was_and_lowers_the_loss(place: Path) -> None:
    assert run.main(command(epochs=8)) == 0
    [folder] = (place / "runs").iterdir()
    with (folder / "loss.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["loss"]]
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    report = json.loads((folder / "report.json").read_text())
    assert 0 < report["trained_parameters"] < report["all_parameters"]
    assert report["train_examples"] == 12
    assert report["tokens_per_second"] > 0


def test_same_seed_gives_the_same_adapter(place: Path) -> None:
    assert run.main(command(out="adapters/one")) == 0
    assert run.main(command(out="adapters/two")) == 0
    one, two = Catalog(place / "adapters").adapters()
    assert one.digest == two.digest


def test_killed_run_goes_on_from_its_last_checkpoint(place: Path) -> None:
    """Killed without warning between two checkpoints; the whole run is then the same as one never killed."""
    arguments = command(**{"epochs": 10, "save-steps": 5})
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "assistant.training.run", *arguments], env=environment, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not list(place.glob("runs/*/checkpoint-5/trainer_state.json")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not (place / "adapters").exists()
    assert run.main(arguments) == 0
    [folder] = (place / "runs").iterdir()
    with (folder / "loss.csv").open(newline="") as file:
        steps = [int(row["step"]) for row in csv.DictReader(file) if row["loss"]]
    assert steps == sorted(set(steps))
    assert run.main([*command(**{"epochs": 10, "save-steps": 5}), "--out", "adapters/unbroken"]) == 0
    whole, unbroken = (load_file(place / "adapters" / n / "adapter_model.safetensors") for n in ("tiny", "unbroken"))
    for name, tensor in whole.items():
        torch.testing.assert_close(tensor, unbroken[name], atol=2e-3, rtol=0)


def test_existing_adapter_is_replaced_only_when_told(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(command()) == 0
    [before] = Catalog(place / "adapters").adapters()
    assert run.main(command()) == 1
    assert "adapters/tiny exists" in capsys.readouterr().err
    assert run.main([*command(seed=7), "--replace"]) == 0
    [after] = Catalog(place / "adapters").adapters()
    assert after.digest != before.digest


@pytest.mark.parametrize("name", ["base", ".hidden", "a b"])
def test_reserved_or_odd_names_are_refused_before_training(
    place: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert run.main(command(out=f"adapters/{name}")) == 1
    assert "adapter name" in capsys.readouterr().err
    assert not (place / "runs").exists()


def test_bad_data_ends_the_command_with_its_line(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "reviews.jsonl").write_text('{"text": "x", "label": "positive"}\n{"text": "x"}\n')
    assert run.main(command()) == 1
    assert "reviews.jsonl:2: no field 'label'" in capsys.readouterr().err


def test_failure_while_writing_leaves_nothing_behind(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> str:
        raise OSError("disk full")

    monkeypatch.setattr(publish, "render", fail)
    with pytest.raises(OSError, match="disk full"):
        run.main(command())
    assert list((place / "adapters").iterdir()) == []


def test_failed_replacement_keeps_the_old_adapter(tmp_path: Path) -> None:
    folder = tmp_path / "adapters" / "old"
    folder.mkdir(parents=True)
    (folder / "card.json").write_text("{}")
    with pytest.raises(RuntimeError), staging(folder) as staged:
        (staged / "card.json").write_text("new")
        raise RuntimeError
    assert (folder / "card.json").read_text() == "{}"
    assert [path.name for path in folder.parent.iterdir()] == ["old"]
    with pytest.raises(AdapterConflict):
        publish.check_target(folder, replaces=False)


def test_recorded_score_replaces_the_one_of_the_same_metric_and_data(place: Path) -> None:
    assert run.main(command()) == 0
    folder = place / "adapters" / "tiny"
    digest = Catalog(place / "adapters").get("tiny").digest
    for value in (0.5, 0.75):
        score = Score(metric="accuracy", value=value, low=0.1, high=0.9, base=0.2, data="d", command="c", date="today")
        record_scores(folder, [score])
    adapter = Catalog(place / "adapters").get("tiny")
    assert [score.value for score in adapter.card.scores] == [0.75]
    assert adapter.digest == digest
    assert "| accuracy | 0.750 (0.100–0.900) | 0.200 |" in (folder / "README.md").read_text()
