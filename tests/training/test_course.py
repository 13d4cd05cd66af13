"""What a run leaves, ends early for, and keeps: config, report, curves, the best weights."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tqdm import tqdm
from transformers import TrainerControl, TrainerState, TrainingArguments

from assistant.catalog import Catalog
from assistant.training import course, job, run
from assistant.training.checkpoints import STATE_FILE
from assistant.training.data import Example
from assistant.training.loss import answer_loss, row_losses
from assistant.training.methods import adapt
from assistant.training.packing import pad
from assistant.training.progress import Progress
from assistant.training.recipes import RECIPES
from assistant.training.rows import Rows
from assistant.training.sft import train_phase
from assistant.training.tasks.registry import TASKS
from tests.training.harness import command, examples, settings, tiny_base

ROOT = Path(__file__).parents[2]
SPEEDS = ("seconds", "tokens_per_second", "peak_memory_bytes")
PNG = b"\x89PNG\r\n\x1a\n"


def run_folder(place: Path) -> Path:
    [folder] = (place / "runs").iterdir()
    return folder


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "loss.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_run_leaves_its_config_its_report_and_its_curves(place: Path) -> None:
    assert run.main(command(epochs=3, scheduler="cosine", **{"batch-size": 2})) == 0
    folder = run_folder(place)
    config = json.loads((folder / "config.json").read_text())
    assert config["recipe"] == "lora"
    assert config["scheduler"] == "cosine"
    assert config["accumulate"] == 2
    assert config["command"].startswith("python -m assistant.training.run --recipe lora")
    report = json.loads((folder / "report.json").read_text())
    assert report["trained_share"] == pytest.approx(report["trained_parameters"] / report["all_parameters"], abs=1e-6)
    assert report["peak_memory_bytes"] > 50 * 2**20
    assert report["device"] == "cpu" or torch.cuda.is_available()
    weights = place / "adapters" / "tiny" / "adapter_model.safetensors"
    assert report["file_bytes"] == weights.stat().st_size
    card = json.loads((place / "adapters" / "tiny" / "card.json").read_text())
    assert card["training"]["report"] == report
    rows = table(folder)
    assert any(row["loss"] for row in rows)
    assert any(row["validation_loss"] for row in rows)
    assert (folder / "loss.png").read_bytes().startswith(PNG)


@pytest.mark.parametrize(
    ("scheduler", "expected"),
    [("linear", [1, 0.75, 0.5, 0.25]), ("cosine", [1, 0.853553, 0.5, 0.146447]), ("constant", [1, 1, 1, 1])],
)
def test_learning_rate_follows_the_scheduler(place: Path, scheduler: str, expected: list[float]) -> None:
    """After one step of warm-up, four steps: 1 − n/4, ½ (1 + cos π n/4), or 1; the rate logged is the step's own."""
    chosen = settings(scheduler=scheduler, learning_rate=1.0, row_tokens=12, warmup=0.2)
    base = tiny_base(place)
    adapted = adapt(base, RECIPES["bitfit"], 0, TASKS["sentiment"])
    rows = Rows(examples(20), chosen.row_tokens, 0)
    train_phase(adapted, base.tokenizer, chosen, 5 / len(rows), rows, None, place / "run", save_steps=100)
    rates = [float(row["learning_rate"]) for row in table(place / "run")]
    assert rates == pytest.approx([0, *expected], abs=1e-4)


def test_patience_ends_a_run_and_the_best_weights_are_kept(place: Path) -> None:
    """Training teaches what validation contradicts, so the first measurement is the best."""
    base, chosen = tiny_base(place), settings("bitfit", patience=2, learning_rate=0.5)
    train = examples(20)
    contrary = [Example(example.prompt, (200,)) for example in train]
    adapted = adapt(base, RECIPES["bitfit"], 0, TASKS["sentiment"])
    rows, measured = Rows(train, 60, 0), Rows(contrary, 60, 0)
    phase = train_phase(adapted, base.tokenizer, chosen, 10, rows, measured, place / "run", save_steps=100)
    losses = {int(row["step"]): float(row["validation_loss"]) for row in table(place / "run") if row["validation_loss"]}
    assert phase.steps == max(losses) < 10 * len(rows)
    assert phase.best_step == min(losses, key=losses.__getitem__) < max(losses)
    kept = load_file(place / "run" / f"checkpoint-{phase.best_step}" / STATE_FILE)
    assert all(torch.equal(tensor, kept[name]) for name, tensor in adapted.state().items())
    assert phase.validation_loss == pytest.approx(losses[phase.best_step], abs=1e-3)


def test_patience_needs_a_validation_part(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(command(patience=2, validation=0)) == 1
    assert "nothing is held out; raise --validation" in capsys.readouterr().err


def test_published_adapter_of_a_patient_run_says_which_step_it_is(place: Path) -> None:
    assert run.main(command(patience=1, epochs=20, lr=0.5)) == 0
    card = json.loads((place / "adapters" / "tiny" / "card.json").read_text())
    report = card["training"]["report"]
    assert 0 < report["best_step"] <= report["steps"]
    assert card["training"]["hyperparameters"]["patience"] == 1


@pytest.mark.parametrize(
    ("recipe", "more"),
    [
        ("adalora", {}),
        ("bitfit", {}),
        ("last-layers", {}),
        ("qlora", {}),
        ("multitask-prompt-tuning", {}),
        ("lora", {"patience": 3, "lr": 0.02, "save-steps": None}),
        ("lora", {"curriculum": "easy-to-hard"}),
    ],
)
def test_resumed_run_equals_an_uninterrupted_one(
    place: Path, recipe: str, more: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off in the middle by an exception, then given again."""
    out = "models" if RECIPES[recipe].changes_base else "adapters"
    options = {"epochs": 3, "save-steps": 2, "row-tokens": 200, **more}

    on_step_end = Progress.on_step_end

    def cut_off(
        self: Progress, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        on_step_end(self, args, state, control)
        if state.global_step == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "on_step_end", cut_off)
        with pytest.raises(KeyboardInterrupt):
            run.main(command(recipe, out=f"{out}/cut", **options))
    last = max(int(path.name.split("-")[1]) for path in run_folder(place).glob("checkpoint-*"))
    # What a kill leaves of a checkpoint that was being written.
    torn = run_folder(place) / "checkpoint-5"
    torn.mkdir(exist_ok=True)
    (torn / "trainer_state.json").write_text('{"global')
    begun: list[int] = []
    on_train_begin = Progress.on_train_begin

    def noted(
        self: Progress, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        begun.append(state.global_step)
        on_train_begin(self, args, state, control)

    monkeypatch.setattr(Progress, "on_train_begin", noted)
    assert run.main(command(recipe, out=f"{out}/cut", **options)) == 0
    assert run.main(command(recipe, out=f"{out}/whole", **options)) == 0
    assert begun == [last, 0]
    name = "model.safetensors" if RECIPES[recipe].changes_base else "adapter_model.safetensors"
    cut, whole = (load_file(place / out / folder / name) for folder in ("cut", "whole"))
    assert cut.keys() == whole.keys()
    for key, tensor in whole.items():
        torch.testing.assert_close(cut[key], tensor, atol=1e-5, rtol=1e-3)
    reports = [json.loads(next(place.glob(f"runs/{n}-*/report.json")).read_text()) for n in ("cut", "whole")]
    for figure in ("steps", "best_step", "train_loss", "validation_loss"):
        assert reports[0][figure] == pytest.approx(reports[1][figure], abs=2e-4), figure


@pytest.mark.parametrize("more", [{"epochs": 1.6}, {"epochs": 20, "patience": 1, "lr": 0.5, "save-steps": None}])
def test_run_that_has_ended_takes_no_further_step(
    place: Path, more: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of an epoch, or by patience; what was left to do was to publish it."""
    reports = []
    monkeypatch.setattr(job, "_publish", lambda *arguments: reports.append(arguments[5]["report"]) or 1 / 0)
    options = command(**{"row-tokens": 200, "save-steps": 2, **more})
    with pytest.raises(ZeroDivisionError):
        run.main(options)
    monkeypatch.setattr(Progress, "on_step_end", None)
    with pytest.raises(ZeroDivisionError):
        run.main(options)
    before, after = ({k: v for k, v in r.items() if k not in SPEEDS} for r in reports)
    assert before == after
    assert after["train_loss"] > 0
    assert reports[1]["seconds"] >= reports[0]["seconds"] - 1


def test_every_answer_token_of_the_validation_part_counts_the_same(place: Path) -> None:
    """One row of a short answer, and one of a long answer."""
    base, chosen = tiny_base(place), settings("bitfit")
    adapted = adapt(base, RECIPES["bitfit"], 0, TASKS["sentiment"])
    held_out = [Example((1, 2), (60,)), Example((1, 2), tuple(range(70, 90)))]
    rows, measured = Rows(examples(20), 60, 0), Rows(held_out, 10, 0)
    assert len(measured) == 2
    phase = train_phase(adapted, base.tokenizer, chosen, 1, rows, measured, place / "run", save_steps=100)
    with torch.inference_mode():
        losses = [answer_loss(adapted.model, pad([example], 256)).item() for example in held_out]
    assert phase.validation_loss == pytest.approx(sum(losses) / 21, abs=1e-3)


def test_curriculum_is_measured_once_and_trained_in_order(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[float]] = []
    monkeypatch.setattr(course, "train_phase", lambda *arguments, **others: seen.append(arguments[4]) or 1 / 0)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            run.main(command(curriculum="easy-to-hard", **{"row-tokens": 100}))
        monkeypatch.setattr(course, "base_losses", None)
    difficulty = json.loads((run_folder(place) / "difficulty.json").read_text())
    assert len(difficulty) == 12
    model = tiny_base(place).model
    for rows in seen:
        # Each example has a row of its own; the base's loss on them rises from stage to stage of two examples.
        with torch.inference_mode():
            losses = [row_losses(model, pad([tree.examples[0]], 256)).item() for row in rows._plan for tree in row]
        assert len(losses) == 12
        stages = [losses[start : start + 2] for start in range(0, 12, 2)]
        assert all(max(one) <= min(other) for one, other in itertools.pairwise(stages))


def test_rows_of_a_curriculum_are_not_shuffled(place: Path) -> None:
    base, chosen = tiny_base(place), settings("bitfit", curriculum="easy-to-hard", row_tokens=6)
    adapted = adapt(base, RECIPES["bitfit"], 0, TASKS["sentiment"])
    rows = Rows(examples(12), 6, 0, difficulty=list(range(12)))
    fetched: list[int] = []

    class Watched(Rows):
        def __getitem__(self, index: int) -> object:
            fetched.append(index)
            return super().__getitem__(index)

    rows.__class__ = Watched
    train_phase(adapted, base.tokenizer, chosen, 1, rows, None, place / "run", save_steps=100)
    assert fetched == list(range(12))


def test_weights_sampling_and_curriculum_go_together(place: Path) -> None:
    (place / "translate.jsonl").write_text('{"text": "good", "translation": "bueno", "to": "Spanish"}\n' * 4)
    options = {"task": "instruct", "data": ["sentiment=reviews.jsonl", "translation=translate.jsonl"],
               "sampling": "temperature", "sampling-temperature": 3, "weights": ["translation=2"],
               "curriculum": "easy-to-hard"}  # fmt: skip
    assert run.main(command(**options)) == 0
    chosen = json.loads((place / "adapters" / "tiny" / "card.json").read_text())["training"]["hyperparameters"]
    assert chosen["weights"] == {"translation": 2.0}
    assert (chosen["sampling"], chosen["sampling_temperature"]) == ("temperature", 3.0)


def test_weight_of_an_absent_kind_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(command(weights=["qa=2"])) == 1
    assert "--weights qa: the data holds no such kind; it holds sentiment" in capsys.readouterr().err


def test_left_out_examples_are_counted_and_the_first_are_named(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    with (place / "reviews.jsonl").open("a") as file:
        file.writelines("\n" + json.dumps({"text": "long " * 100, "label": "positive"}) for _ in range(7))
    caplog.set_level("INFO")
    assert run.main(command()) == 0
    named = [record.getMessage() for record in caplog.records if record.getMessage().startswith("left out: ")]
    assert len(named) == 5
    assert named[0].startswith("left out: reviews.jsonl:17 (")
    assert "7 left out as too long" in (place / "adapters" / "tiny" / "README.md").read_text()


def test_example_beyond_the_context_ends_the_command(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (place / "reviews.jsonl").open("a") as file:
        file.write("\n" + json.dumps({"text": "long " * 120, "label": "positive"}))
    assert run.main(command(**{"max-tokens": 4000})) == 1
    assert "reviews.jsonl:17: " in (error := capsys.readouterr().err)
    assert "the base takes 512" in error


def test_kill_while_publishing_leaves_nothing_among_the_adapters(place: Path) -> None:
    """Killed without warning when the card is written, with config and weights written already."""
    program = (
        "import os, signal\n"
        "from assistant.training import publish, run\n"
        "publish.render = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"run.main({command()!r})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True
    )
    assert done.returncode == -signal.SIGKILL
    assert list((place / "adapters").iterdir()) == []
    assert run.main(command()) == 0
    assert [adapter.name for adapter in Catalog(place / "adapters").adapters()] == ["tiny"]


def test_terminal_is_shown_a_bar_and_a_file_gets_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    state = TrainerState(global_step=0, max_steps=4, epoch=0.0)
    for is_terminal in (False, True):
        shown = io.StringIO()
        monkeypatch.setattr(shown, "isatty", lambda answer=is_terminal: answer)
        monkeypatch.setattr(sys, "stderr", shown)
        progress = Progress(tmp_path)
        state.global_step = 0
        progress.on_train_begin(None, state, None)
        state.global_step = 2
        progress.on_step_end(None, state, TrainerControl())
        progress.on_log(None, state, None, {"loss": 0.123, "learning_rate": 0.1})
        progress.on_train_end(None, state, None)
        lines = [record for record in caplog.records if "step 2 of 4" in record.getMessage()]
        if is_terminal:
            assert isinstance(progress.bar, tqdm)
            assert "2/4" in shown.getvalue()
            assert "loss=0.123" in shown.getvalue()
        else:
            assert "0.123" in lines[0].getMessage()
        assert len(lines) == 1
