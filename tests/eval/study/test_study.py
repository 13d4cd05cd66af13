"""The study: its plan, its data, that it goes on where it stopped, and its page."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from assistant.errors import DataError, EvaluationError
from assistant.training.course import Report
from eval.study import run as runner
from eval.study.data import hold_out, makeup, prepare
from eval.study.page import neighbours, write_page
from eval.study.plan import BASE_PROMPTS, METHODS, MIXTURE, SCALES, TASK_OF, Scale, Trial, trials
from eval.tasks.registry import TASKS

TINY = Scale("small", questions=4, sizes=(2, 4), sentences=4, raw=4, each_kind=2, held_out=4, characters=400)


def records(kind: str, count: int) -> list[dict[str, Any]]:
    made = {
        "qa": lambda n: {"title": f"t{n // 2}", "context": f"c{n}", "question": "q?", "answers": ["a"]},
        "sentiment": lambda n: {"text": f"text {n}", "label": "positive"},
        "summarisation": lambda n: {"document": f"document {n}", "summaries": ["s"]},
        "policyqa": lambda n: {"context": f"c{n // 3}", "question": f"q{n}?", "answers": ["a"]},
        "moderation": lambda n: {"text": f"post {n}", "label": "neither"},
        "pubmedqa": lambda n: {"context": f"c{n}", "question": "q?", "label": "yes"},
    }
    return [made[kind](n) for n in range(count)]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    files = {
        "qa/train": "qa",
        "sentiment/train": "sentiment",
        "summarisation/train": "summarisation",
        "legal/policyqa_train": "policyqa",
        "legal/plain_english_train": "summarisation",
        "medical/pubmedqa_train": "pubmedqa",
        "moderation/train": "moderation",
    }
    for name, kind in files.items():
        path = tmp_path / "source" / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(record) + "\n" for record in records(kind, 30)))
    return tmp_path / "source"


def test_points_of_several_plots_are_trained_once() -> None:
    plan = trials(SCALES["small"])
    middle = [t.key for t in plan if (t.chapter, t.value) in {("rank", "16"), ("rate", "5e-4"), ("size", "1000")}]
    assert len(middle) == 3
    assert len(set(middle)) == 1
    assert len({(t.chapter, t.value) for t in plan}) == len(plan)
    assert {t.recipe for t in plan} == set(METHODS)


def test_larger_parts_contain_smaller_ones_and_nothing_held_out(source: Path, tmp_path: Path) -> None:
    prepare(source, tmp_path / "data", TINY)
    read = {
        path.stem: [json.loads(line) for line in path.read_text().splitlines()]
        for path in (tmp_path / "data").iterdir()
    }
    assert [record in read["qa_4"] for record in read["qa_2"]] == [True, True]
    assert {r["title"] for r in read["qa_held_out"]}.isdisjoint(r["title"] for r in read["qa_4"])
    assert {r["context"] for r in read["policy_held_out"]}.isdisjoint(r["context"] for r in read["policy_2"])
    assert len(read["plain-english_held_out"]) == 4
    assert "plain-english_2" not in read


def test_too_little_data_names_the_file(source: Path, tmp_path: Path) -> None:
    (source / "qa" / "train.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records("qa", 5)))
    with pytest.raises(DataError, match=r"qa/train\.jsonl: \d records can be trained on, the study needs 4"):
        prepare(source, tmp_path / "data", Scale("small", 4, (4,), 4, 4, 2, 4, 400))


def test_other_data_is_not_mixed_with_what_was_measured(source: Path, tmp_path: Path) -> None:
    prepare(source, tmp_path / "data", TINY)
    before = {path.name: path.read_bytes() for path in (tmp_path / "data").iterdir()}
    prepare(source, tmp_path / "data", TINY)
    (source / "qa" / "train.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records("qa", 29)))
    with pytest.raises(DataError, match="was cut from other data"):
        prepare(source, tmp_path / "data", TINY)
    assert {path.name: path.read_bytes() for path in (tmp_path / "data").iterdir()} == before


def test_questions_of_the_other_source_are_counted(source: Path, tmp_path: Path) -> None:
    path = source / "qa" / "train.jsonl"
    path.write_text(
        "".join(json.dumps(r | ({"title": "quoref"} if n > 6 else {})) + "\n" for n, r in enumerate(records("qa", 30)))
    )
    prepare(source, tmp_path / "data", TINY)
    told = makeup(tmp_path / "data", TINY)
    assert told.articles == 2
    assert told.of_last == {2: 0, 4: 1}


def test_long_contexts_are_left_out() -> None:
    made = [{"text": "x" * n, "label": "positive"} for n in (10, 20, 500, 30, 40)]
    cut = hold_out(made, TINY)
    assert all(len(record["text"]) <= 400 for record in (*cut.train, *cut.held_out))
    assert len(cut.train) + len(cut.held_out) == 4


class Commands:
    """Stands in for the training and measuring commands, and notes what they were told."""

    def __init__(self) -> None:
        self.told: list[list[str]] = []
        self.environments: list[dict[str, str]] = []
        self.fails = False

    def __call__(self, arguments: list[str], logs: Path, environment: dict[str, str]) -> None:
        if self.fails:
            raise EvaluationError("it failed")
        self.told.append(arguments)
        self.environments.append(environment)
        out = Path(arguments[arguments.index("--out") + 1])
        if arguments[0] == "assistant.training.run":
            kinds = [word.partition("=")[0] for word in arguments if "=" in word]
            each = "multitask-prompt-tuning" in arguments and len(kinds) > 1
            outs = [out.with_name(f"{out.name}-{kind}") for kind in kinds] if each else [out]
            for folder in outs:
                folder.mkdir(parents=True)
            report = Report(
                trained_parameters=10,
                all_parameters=100,
                trained_share=0.1,
                steps=2,
                seconds=3.0,
                tokens_per_second=4.0,
                train_loss=0.5,
                validation_loss=None,
                train_examples=4,
                validation_examples=0,
                peak_memory_bytes=2 * 2**30,
                device="cpu",
            )
            for folder in outs:
                (folder / "card.json").write_text(
                    json.dumps(
                        {
                            "training": {
                                "report": {**asdict(report), "file_bytes": 40_000},
                                "command": f"python -m {' '.join(arguments)}",
                                "date": "2026-11-01",
                                "commit": "c0ffee",
                            }
                        }
                    )
                )
            return
        names = ("f1", "em", "accuracy", "rouge_l", "perplexity")
        metrics = {name: {"value": 0.5, "low": 0.4, "high": 0.6} for name in names}
        # A percentile interval need not hold the value.
        metrics |= {
            "f1": {"value": 0.5, "low": 0.51, "high": 0.6},
            "accuracy": {"value": 0.5, "low": 0.4, "high": 0.49},
        }
        asked = dict(pairwise(arguments))
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(
            json.dumps(
                {
                    "mode": asked.get("--mode"),
                    "config": {"prompts": {out.stem: asked.get("--prompt")}},
                    "metrics": metrics,
                    "count": 4,
                    "task": arguments[arguments.index("--task") + 1],
                    "data": "held out",
                    "cost": {},
                    "examples": [{"id": str(n), "f1": 0.0 if out.parent.name == "base" else 1.0} for n in range(4)],
                    "command": "python -m eval.run",
                    "date": "2026-11-02",
                    "commit": "beef",
                }
            )
        )


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    commands = Commands()
    monkeypatch.setattr(runner, "run_module", commands)
    monkeypatch.setitem(SCALES, "small", TINY)
    return commands


def options(source: Path, out: Path, *chapters: str) -> argparse.Namespace:
    return argparse.Namespace(source=source, scale="small", chapters=list(chapters), out=out, jobs=3, report=False)


def test_second_run_computes_nothing_again(source: Path, tmp_path: Path, commands: Commands) -> None:
    runner.study(options(source, tmp_path / "out", "rank", "batch"))
    first = len(commands.told)
    # Seven points, two of which are the same training.
    assert sum(told[0] == "assistant.training.run" for told in commands.told) == 7
    runner.study(options(source, tmp_path / "out", "rank", "batch"))
    assert len(commands.told) == first


def test_a_result_that_was_cut_off_while_it_was_written_is_not_taken_as_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(_path: Path, _target: Path) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "results" / "rank-1.json"
    with monkeypatch.context() as killing:
        killing.setattr(Path, "replace", cut_off)
        with pytest.raises(KeyboardInterrupt):
            runner.write(path, {"value": "1"})
    assert not path.exists()
    runner.write(path, {"value": "1"})
    assert json.loads(path.read_text()) == {"value": "1"} and list(path.parent.iterdir()) == [path]


def test_failed_trials_are_told_and_take_no_result_away(source: Path, tmp_path: Path, commands: Commands) -> None:
    runner.study(options(source, tmp_path / "out", "rank"))
    commands.fails = True
    with pytest.raises(EvaluationError, match="3 trials failed"):
        runner.study(options(source, tmp_path / "out", "rate"))
    # The fifth is a point that both chapters share, and that was done before.
    assert len(list((tmp_path / "out/small/results").iterdir())) == 5


def test_what_was_measured_before_something_was_added_is_completed(
    source: Path, tmp_path: Path, commands: Commands
) -> None:
    runner.study(options(source, tmp_path / "out", "rank"))
    for path in (tmp_path / "out/small/results").iterdir():
        result = json.loads(path.read_text())
        del result["measured"]["chat"]
        path.write_text(json.dumps(result))
    for path in (tmp_path / "out/small/measured").glob("*/chat.json"):
        path.unlink()
    commands.told.clear()
    runner.study(options(source, tmp_path / "out", "rank"))
    assert len(commands.told) == 4
    assert all(told[:3] == ["eval.run", "--task", "chat"] for told in commands.told)


def test_a_base_whose_prompt_is_another_now_is_measured_anew_and_nothing_else(
    source: Path, tmp_path: Path, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner.study(options(source, tmp_path / "out", "size", "tasks"))
    commands.told.clear()
    monkeypatch.setitem(BASE_PROMPTS, "qa", ("prompt", "another"))
    bases = [trial for trial in trials(TINY) if trial.is_base and "qa" in trial.measured]
    place = tmp_path / "out" / "small"
    assert [trial.done(place) for trial in bases] == [None, None], "the page would name it beside the old figures"
    runner.perform(place, bases[0])
    [told] = commands.told
    assert told[-4:] == ["--mode", "prompt", "--prompt", "another"]
    path = place / "measured/base/qa.json"
    path.write_text(path.read_text().replace('"date": "2026-11-02"', '"date": "2026-11-03"'))
    assert bases[1].done(place) is None, "its figures are of the other prompt still"
    runner.study(options(source, tmp_path / "out", "size", "tasks"))
    assert commands.told == [told]
    done = [trial.done(place) for trial in bases]
    assert [each and each["measured"]["qa"]["date"] for each in done] == ["2026-11-03"] * 2


def test_raw_text_is_unlabelled_and_of_none_of_the_labelled_sentences(
    source: Path, tmp_path: Path, commands: Commands
) -> None:
    runner.study(options(source, tmp_path / "out", "method"))
    data = tmp_path / "out/small/data"
    raw, labelled, held_out = (
        [json.loads(line) for line in (data / f"sentiment_{name}.jsonl").read_text().splitlines()]
        for name in ("raw", "4", "held_out")
    )
    assert len(raw) == 4
    assert all(record.keys() == {"text"} for record in raw)
    assert {r["text"] for r in raw}.isdisjoint(r["text"] for r in (*labelled, *held_out))
    [told] = [told for told in commands.told if "--raw-text" in told]
    assert told[told.index("--raw-text") + 1 :][:3] == [str(data / "sentiment_raw.jsonl"), "--raw-fields", "text"]


def test_each_kind_is_asked_of_the_prompt_that_was_made_for_it(
    source: Path, tmp_path: Path, commands: Commands
) -> None:
    runner.study(options(source, tmp_path / "out", "tasks"))
    [train] = [told for told in commands.told if "multitask-prompt-tuning" in told]
    name = Path(train[train.index("--out") + 1]).name
    asked = {
        told[told.index("--adapter") + 1]: Path(told[told.index("--data") + 1]).name
        for told in commands.told
        if "--adapter" in told and name in told[told.index("--adapter") + 1]
    }
    assert asked == {f"{name}-{kind}": f"{kind}_held_out.jsonl" for kind in MIXTURE}
    commands.told.clear()
    runner.study(options(source, tmp_path / "out", "tasks"))
    assert not commands.told


def test_a_changed_base_is_measured_as_the_base(tmp_path: Path, commands: Commands) -> None:
    runner.perform(tmp_path, Trial("method", "full", "sentiment", ("sentiment",), ("s.jsonl",), (), "full"))
    train, measured, *_ = commands.told
    folder = train[train.index("--out") + 1]
    assert commands.environments[1]["SWAPBOARD_BASE"] == folder
    assert "--adapter" not in measured
    assert measured[measured.index("--mode") + 1] == "tuned"


def test_base_is_asked_with_its_best_prompts(source: Path, tmp_path: Path, commands: Commands) -> None:
    base = Trial("tasks", "base", "instruct", tuple(BASE_PROMPTS))
    runner.perform(tmp_path / "out" / "small", base)
    asked = {Path(told[-5]).stem: tuple(told[-3::2]) for told in commands.told if "--prompt" in told}
    assert asked == {f"{kind}_held_out": told for kind, told in BASE_PROMPTS.items()}
    for kind, (mode, prompt) in BASE_PROMPTS.items():
        task = TASKS[TASK_OF[kind]]
        [measured] = [each for each in task.measured if each.kind.name in (kind, task.name)][:1]
        assert measured.prompt(mode, prompt).name == prompt  # type: ignore[arg-type]


def test_page_shows_every_trial(source: Path, tmp_path: Path, commands: Commands) -> None:
    runner.study(options(source, tmp_path / "out"))
    page = write_page(tmp_path / "out" / "small", tmp_path / "docs").read_text()
    for method in METHODS:
        assert f"| {method} |" in page
    assert "| 10 | 10.000 % | 0.04 MB | 2.00 GiB | 3 |" in page
    assert "| only qa |" in page
    assert page.count("| +1.000 [+1.000, +1.000] |") == 1, "the smallest size against the base"
    assert "| +0.000 [+0.000, +0.000] |" in page
    assert "| all, a prompt for each |" in page
    assert "2026-11-01, 2026-11-02 at commit beef, c0ffee." in page
    assert page.count("images/study-") == 8
    assert all((tmp_path / "docs" / "images" / f"study-{name}.png").stat().st_size > 0 for name in ("size", "tasks"))
    with pytest.raises(EvaluationError, match="no results"):
        write_page(tmp_path / "empty" / "small", tmp_path / "docs")


def test_points_that_nearly_coincide_share_a_label() -> None:
    places = {"a": (100.0, 0.8), "b": (110.0, 0.805), "c": (100.0, 0.9), "d": (9000.0, 0.8)}
    assert neighbours(places) == [(["a", "b"], (110.0, 0.805)), (["c"], (100.0, 0.9)), (["d"], (9000.0, 0.8))]
