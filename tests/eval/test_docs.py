"""The manual page names what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from assistant.training.tasks.registry import TASKS as TRAINED
from assistant.training.tasks.task import Task as Trained
from eval.run import COMPARE, RETRIEVAL, ROUTING, parse
from eval.tasks import injection, perplexity, reward
from eval.tasks.interface import DATA, Task
from eval.tasks.registry import TASKS

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "evaluation.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_every_prompt_of_the_base_is_on_the_page_and_no_other(task: Task) -> None:
    for measured in task.measured:
        for mode, column in (("prompt", 2), ("few-shot", 3)):
            [row] = re.findall(rf"^\| {measured.kind.name} \| (`[^|]+`) \| (`[^|]+`) \|$", PAGE, re.MULTILINE)
            named = re.findall(r"`([^`]+)`", row[column - 2])
            assert named == [prompt.name for prompt in measured.prompts if prompt.mode == mode]


@pytest.mark.parametrize("task", TRAINED.values(), ids=lambda task: task.name)
def test_fields_of_every_record_that_is_trained_on_are_one_link_away(task: Trained) -> None:
    data = (DOCS / "training.md").read_text(encoding="utf-8").partition("\n## Data\n")[2].partition("\n## ")[0]
    assert "(evaluation.md#tasks)" in data
    table = PAGE.partition("\n## Tasks\n")[2].partition("\n## ")[0]
    for kind in task.kinds:
        # What asking learns from are the records of qa.
        name = "qa" if kind.name == "asking" else kind.name
        assert re.search(rf"^\|.*\b{name}\b.* \| {', '.join(kind.fields)}\b", table, re.MULTILINE), name


@pytest.mark.parametrize("name", [*TASKS, "perplexity", "routing", "retrieval"])
def test_own_set_is_on_the_page_with_its_size(name: str) -> None:
    count = len((DATA / f"{name}.jsonl").read_text(encoding="utf-8").splitlines())
    assert f"`{name}.jsonl` ({count})" in PAGE


def test_every_task_can_be_asked_for() -> None:
    names = re.search(r"^\| `--task` \| (.+) \|$", PAGE, re.MULTILINE)
    assert names is not None
    named = re.findall(r"`([^`]+)`", names.group(1))
    for name in named:
        assert parse(["--task", name, "--out", "r.json"]).task == name
    assert set(named) == {*TASKS, perplexity.NAME, injection.NAME, reward.NAME, ROUTING, RETRIEVAL, COMPARE}
