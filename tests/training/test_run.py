"""A training run: what it leaves, what it refuses, and how it goes on after a kill."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from assistant.adapter_pool.revisions import Revisions
from assistant.catalog import Catalog, Score
from assistant.errors import AdapterConflict
from assistant.training import job, publish, run
from assistant.training.checkpoints import AdapterCheckpoints
from assistant.training.options import parse
from assistant.training.progress import Progress
from assistant.training.publish import record_scores, staging
from assistant.training.run_folder import write_json
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


def test_second_start_of_a_training_that_runs_is_refused(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise it would take a checkpoint that is being written for one that was cut off, and remove it."""
    save, second = AdapterCheckpoints._save, []

    def save_and_start_again(self: AdapterCheckpoints, output_dir: str, *others: Any) -> None:
        save(self, output_dir, *others)
        monkeypatch.setattr(AdapterCheckpoints, "_save", save)
        second.append(run.main(command()))
        assert list(Path(output_dir).iterdir())

    monkeypatch.setattr(AdapterCheckpoints, "_save", save_and_start_again)
    assert run.main(command()) == 0
    assert second == [1]
    [folder] = (place / "runs").iterdir()
    assert f"{folder}: this very training is running" in capsys.readouterr().err


def test_existing_adapter_is_replaced_only_when_told(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(command()) == 0
    [before] = Catalog(place / "adapters").adapters()
    assert run.main(command()) == 1
    assert "adapters/tiny exists" in capsys.readouterr().err
    assert run.main([*command(seed=7), "--replace"]) == 0
    [after] = Catalog(place / "adapters").adapters()
    assert after.digest != before.digest
    [kept] = Revisions(place / "adapters").kept("tiny")
    assert kept.digest == before.digest


@pytest.mark.parametrize("recipe", ["lora", "full"])
def test_training_that_diverged_is_not_published(place: Path, capsys: pytest.CaptureFixture[str], recipe: str) -> None:
    out = "models/tiny" if recipe == "full" else "adapters/tiny"
    assert run.main(command(recipe, out=out)) == 0
    before = next((place / out).glob("*.safetensors")).read_bytes()
    assert run.main([*command(recipe, out=out, lr=1e38, epochs=3, seed=7), "--replace"]) == 1
    assert "the training diverged" in capsys.readouterr().err
    assert next((place / out).glob("*.safetensors")).read_bytes() == before
    tables = [path.read_text() for path in (place / "runs").glob("*/loss.csv")]
    assert any("nan" in table for table in tables)


def test_model_that_another_run_published_meanwhile_stays(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs, fine_tune = place / "models" / "tiny" / "model.safetensors", job.fine_tune

    def overtaken(*given: Any, **others: Any) -> Any:
        theirs.parent.mkdir(parents=True)
        theirs.write_text("theirs")
        return fine_tune(*given, **others)

    monkeypatch.setattr(job, "fine_tune", overtaken)
    assert run.main(command("full", out="models/tiny")) == 1
    assert "models/tiny exists; choose another name, or give --replace" in capsys.readouterr().err
    assert theirs.read_text() == "theirs"
    monkeypatch.setattr(job, "fine_tune", fine_tune)
    assert run.main([*command("full", out="models/tiny"), "--replace"]) == 0
    assert theirs.read_bytes() != b"theirs"


def test_own_data_of_any_size_leaves_something_to_train_on(place: Path) -> None:
    assert run.main(command(validation=None)) == 0
    report = json.loads((place / "adapters" / "tiny" / "card.json").read_text())["training"]["report"]
    assert (report["train_examples"], report["validation_examples"]) == (15, 1)


def test_run_of_one_step_trains(place: Path) -> None:
    assert run.main(command(**{"batch-size": 8})) == 0
    assert json.loads((place / "adapters" / "tiny" / "card.json").read_text())["training"]["report"]["steps"] == 1
    weights = load_file(place / "adapters" / "tiny" / "adapter_model.safetensors")
    assert all(tensor.any() for name, tensor in weights.items() if "lora_B" in name)


def test_place_where_no_run_can_be_kept_is_named(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "runs").write_text("a file")
    assert run.main(command()) == 1
    assert f"error: {place / 'runs'}/tiny-" in (told := capsys.readouterr().err) and "cannot be kept there" in told


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
    with pytest.raises(RuntimeError), staging(folder.parent) as staged:
        (staged / "card.json").write_text("new")
        raise RuntimeError
    assert (folder / "card.json").read_text() == "{}"
    assert [path.name for path in folder.parent.iterdir()] == ["old"]
    with pytest.raises(AdapterConflict):
        publish.check_target(folder, replaces=False)


def test_recorded_score_replaces_the_one_of_the_same_metric_and_as_many_records(place: Path) -> None:
    assert run.main(command()) == 0
    folder = place / "adapters" / "tiny"
    digest = Catalog(place / "adapters").get("tiny").digest
    for value, count in ((0.5, 1200), (0.875, None), (0.75, 1200)):
        score = Score(metric="accuracy", value=value, low=0.1, high=0.9, base=0.2, data="d", command="c", date="today")
        score = score.model_copy(update={"count": count, "command": f"of {count}"})
        record_scores(folder, [score])
    adapter = Catalog(place / "adapters").get("tiny")
    assert [score.value for score in adapter.card.scores] == [0.875, 0.75]
    assert adapter.digest == digest
    readme = (folder / "README.md").read_text()
    assert "| accuracy | 0.750 (0.100–0.900) | 0.200 | `d` (1,200) | today |" in readme
    assert "| accuracy | 0.875 (0.100–0.900) | 0.200 | `d` | today |" in readme


def test_other_data_under_the_same_name_is_another_run(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut off before it was published, and begun again on a file that says the opposite."""
    with monkeypatch.context() as patch:
        patch.setattr(job, "_publish", None)
        with pytest.raises(TypeError):
            run.main(command())
    reviews = (place / "reviews.jsonl").read_text()
    swapped = reviews.replace("positive", "#").replace("negative", "positive").replace("#", "negative")
    (place / "reviews.jsonl").write_text(swapped)
    assert run.main(command()) == 0
    assert run.main(command(out="adapters/other")) == 0
    tiny, other = (load_file(place / "adapters" / n / "adapter_model.safetensors") for n in ("tiny", "other"))
    for name, tensor in tiny.items():
        torch.testing.assert_close(tensor, other[name], rtol=0, atol=0)
    assert len(list((place / "runs").glob("tiny-*"))) == 2


def test_run_that_was_published_is_trained_anew(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run.main(command(**{"raw-text": ["reviews.jsonl"], "raw-fields": ["text"], "save-steps": 1})) == 0
    [folder] = (place / "runs").iterdir()
    left = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert left == {"config.json", "report.json", "loss.csv", "loss.png", "raw/loss.csv", "raw/loss.png"}


def test_card_names_the_commit_that_a_run_was_started_at(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(self: Progress, *_: object, **__: object) -> None:
        raise KeyboardInterrupt

    def named(name: str) -> str:
        return json.loads((place / "adapters" / "tiny" / name).read_text())["training"]["commit"]

    arguments = command(**{"epochs": 6, "save-steps": 1})
    monkeypatch.setattr(job, "commit", lambda: "first")
    with monkeypatch.context() as patch:
        patch.setattr(Progress, "on_save", die, raising=False)
        with pytest.raises(KeyboardInterrupt):
            run.main(arguments)
    monkeypatch.setattr(job, "commit", lambda: "second")
    assert run.main(arguments) == 0
    [folder] = (place / "runs").iterdir()
    assert named("card.json") == json.loads((folder / "config.json").read_text())["commit"] == "first"
    assert run.main([*arguments, "--replace"]) == 0
    assert named("card.json") == "second"


def test_json_of_a_run_is_replaced_whole(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = place / "phase.json"
    write_json(path, {"steps": 1})

    def fail(self: Path, target: Path) -> None:
        assert json.loads(target.read_text()) == {"steps": 1}
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_json(path, {"steps": 2})
    assert json.loads(path.read_text()) == {"steps": 1}


@pytest.fixture
def several(place: Path) -> list[str]:
    """A command that leaves the adapters tiny-sentiment and tiny-translation."""
    (place / "translate.jsonl").write_text('{"text": "good", "translation": "bueno", "to": "Spanish"}\n' * 4)
    data = ["sentiment=reviews.jsonl", "translation=translate.jsonl"]
    return command("multitask-prompt-tuning", task="instruct", data=data, validation=0)


def cut_off_between_two_publications(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    left = [publish.publish]

    def die(*given: Any, **others: Any) -> Path:
        if not left:
            raise KeyboardInterrupt
        return left.pop()(*given, **others)

    with monkeypatch.context() as patch:
        patch.setattr(job, "publish", die)
        with pytest.raises(KeyboardInterrupt):
            run.main(arguments)


def contents(place: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in (place / "adapters").rglob("*") if path.is_file()}


def test_cut_off_between_two_adapters_the_same_command_publishes_the_rest(
    place: Path, several: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cut_off_between_two_publications(several, monkeypatch)
    first = contents(place)
    assert {path.parent.name for path in map(Path, first)} == {"tiny-sentiment"}
    assert run.main(several) == 0
    assert contents(place).items() >= first.items()
    one, other = Catalog(place / "adapters").adapters()
    assert (one.name, other.name) == ("tiny-sentiment", "tiny-translation") and one.is_usable and other.is_usable
    prompts = [load_file(adapter.folder / "adapter_model.safetensors")["prompt_embeddings"] for adapter in (one, other)]
    assert torch.equal(*prompts)
    # Now nothing is left to go on with.
    assert run.main(several) == 1
    assert "adapters/tiny-sentiment exists" in capsys.readouterr().err


def test_cut_off_between_two_replacements_the_same_command_replaces_the_rest(
    place: Path, several: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run.main([*several, "--seed", "7"]) == 0
    before = {adapter.name: adapter.digest for adapter in Catalog(place / "adapters").adapters()}
    cut_off_between_two_publications([*several, "--replace"], monkeypatch)
    published = (place / "adapters" / "tiny-sentiment" / "card.json").stat().st_mtime_ns
    assert run.main([*several, "--replace"]) == 0
    assert (place / "adapters" / "tiny-sentiment" / "card.json").stat().st_mtime_ns == published
    for name, digest in before.items():
        assert Catalog(place / "adapters").get(name).digest != digest
        assert [kept.digest for kept in Revisions(place / "adapters").kept(name)] == [digest]
    # What is whole is replaced whole, by the same settings too.
    assert run.main([*several, "--replace"]) == 0
    assert (place / "adapters" / "tiny-sentiment" / "card.json").stat().st_mtime_ns > published


def test_what_another_run_was_cut_off_in_is_not_gone_on_with(
    place: Path, several: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cut_off_between_two_publications(several, monkeypatch)
    first = contents(place)
    monkeypatch.setattr(job, "fine_tune", None)
    assert run.main([*several, "--seed", "7"]) == 1
    assert "adapters/tiny-sentiment exists" in capsys.readouterr().err
    assert contents(place) == first


def test_cut_off_after_the_publication_of_a_model_the_same_command_finishes_up(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, card = command("full", out="models/tiny"), place / "models" / "tiny" / "card.json"
    with monkeypatch.context() as patch:
        patch.setattr(job, "close_run", None)
        with pytest.raises(TypeError):
            run.main(arguments)
    published = card.stat().st_mtime_ns
    assert run.main(arguments) == 0
    assert card.stat().st_mtime_ns == published
    assert not list(place.glob("runs/*/checkpoint-*"))
    assert run.main(arguments) == 1
    assert "models/tiny exists" in capsys.readouterr().err


def test_kind_without_an_example_is_named_before_the_training(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long = {"text": "good " * 100, "translation": "bueno", "to": "Spanish"}
    (place / "translate.jsonl").write_text(json.dumps(long) + "\n")
    data = ["sentiment=reviews.jsonl", "translation=translate.jsonl"]
    assert run.main(command("multitask-prompt-tuning", task="instruct", data=data)) == 1
    assert "no translation example is left to train on" in capsys.readouterr().err
    assert not (place / "runs").exists()


@pytest.mark.parametrize(
    ("recipe", "options", "words"),
    [
        ("lora", {"beta": 0.1}, "recipe 'lora' has no --beta; it is of dpo, kto, grpo"),
        ("lora", {"centre": 1}, "recipe 'lora' has no --centre; it is of reward"),
        ("full", {"reward": "x"}, "recipe 'full' has no --reward; it is of grpo"),
        ("lora", {"judge": "x"}, "recipe 'lora' has no --judge"),
        ("lora", {"generations": 4}, "recipe 'lora' has no --generations"),
        ("lora", {"new-tokens": 96}, "recipe 'lora' has no --new-tokens"),
        ("lora", {"temperature": 1}, "recipe 'lora' has no --temperature"),
        ("lora", {"iterations": 2}, "recipe 'lora' has no --iterations"),
        ("lora", {"epsilon": 0.2}, "recipe 'lora' has no --epsilon"),
        ("lora", {"raw-epochs": 2}, "--raw-epochs goes with --raw-text"),
        ("lora", {"raw-fields": "text"}, "--raw-fields goes with --raw-text"),
        ("lora", {"raw-fields": "text", "raw-text": "a.txt"}, "no file of --raw-text ends in .jsonl"),
        ("lora", {"save-steps": 5, "patience": 3}, "with --patience a checkpoint is written at every measurement"),
        ("lora", {"warmup": 1}, "--warmup: 1: allowed are numbers from 0, below 1"),
        ("lora", {"warmup": -0.1}, "allowed are numbers from 0, below 1"),
        ("lora", {"sampling-temperature": 2}, "--sampling-temperature goes with --sampling temperature"),
        ("lora", {"validation": -1, "patience": 3}, "--validation: -1: allowed are whole numbers from 0"),
    ],
)
def test_options_that_would_do_nothing_are_refused(
    capsys: pytest.CaptureFixture[str], recipe: str, options: dict[str, object], words: str
) -> None:
    with pytest.raises(SystemExit):
        parse(command(recipe, **options))
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("number", ["nan", "inf", "1e999"])
@pytest.mark.parametrize(
    ("recipe", "option", "before"),
    [
        ("lora", "epochs", ""),
        ("lora", "lr", ""),
        ("lora", "raw-epochs", ""),
        ("lora", "sampling-temperature", ""),
        ("lora", "weights", "sentiment="),
        ("dpo", "beta", ""),
        ("reward", "centre", ""),
        ("grpo", "temperature", ""),
        ("grpo", "epsilon", ""),
    ],
)
def test_numbers_that_are_not_finite_are_refused(
    capsys: pytest.CaptureFixture[str], recipe: str, option: str, before: str, number: str
) -> None:
    with pytest.raises(SystemExit):
        parse(["--recipe", recipe, "--data", "x", "--out", "y", f"--{option}", before + number])
    assert f"--{option}: {number}: allowed are finite numbers" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sampling": "equal"}, "--sampling equal: all records are of one kind, sentiment"),
        ({"weights": "sentiment=2"}, "--weights sentiment: all records are of one kind, sentiment"),
        ({"task": "qa", "data": "questions.jsonl", "per-label": 3}, "--per-label: qa records have no labels"),
    ],
)
def test_options_that_the_data_has_no_use_for_are_refused(
    place: Path, capsys: pytest.CaptureFixture[str], options: dict[str, object], words: str
) -> None:
    question = {"context": "Ale is in it.", "question": "What?", "answers": ["Ale"]}
    (place / "questions.jsonl").write_text("\n".join(json.dumps(question | {"context": f"Ale {n}"}) for n in range(9)))
    assert run.main(command(**options)) == 1
    assert words in capsys.readouterr().err
    assert not (place / "runs").exists()


def test_options_that_are_not_given_have_the_recipes_defaults() -> None:
    options = parse(["--recipe", "lora", "--task", "qa", "--data", "x", "--out", "y"])
    assert (options.row_tokens, options.raw_epochs, options.sampling, options.weights) == (512, 1.0, "proportional", [])
    assert options.generations is None
    options = parse(["--recipe", "grpo", "--data", "x", "--out", "y"])
    assert (options.generations, options.new_tokens, options.iterations) == (4, 96, 2)
    assert options.row_tokens is None
