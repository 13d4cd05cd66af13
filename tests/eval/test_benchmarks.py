"""The tasks for lm-evaluation-harness: what they name is there, and every question has one right answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
TASKS = sorted((ROOT / "eval" / "benchmarks").glob("*.yaml"))


def records(task: Path) -> list[dict]:
    settings = yaml.safe_load(task.read_text(encoding="utf-8"))
    assert settings["task"] == task.stem
    # Paths are read from the root of the checkout, where the manual says to run it.
    file = ROOT / settings["dataset_kwargs"]["data_files"][settings["test_split"]]
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_there_is_a_task_by_likelihood_and_one_by_generation():
    kinds = {yaml.safe_load(task.read_text(encoding="utf-8"))["output_type"] for task in TASKS}
    assert kinds == {"multiple_choice", "generate_until"}


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.stem)
def test_every_record_has_its_answer(task):
    found = records(task)
    assert len(found) == len({json.dumps(record, sort_keys=True) for record in found}) >= 14
    for record in found:
        if "choices" in record:
            assert len(set(record["choices"])) == 4 and record["answer"] in range(4)
        else:
            assert record["answer"] in record["context"]


def test_the_right_choice_stands_in_every_place():
    answers = [record["answer"] for record in records(ROOT / "eval" / "benchmarks" / "swapboard_choice.yaml")]
    assert len(answers) >= 30 and set(answers) == {0, 1, 2, 3}
