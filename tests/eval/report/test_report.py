"""The report: every number of every result stands on both pages, and runs come together as they should."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from assistant.errors import EvaluationError
from assistant.training.data import Item
from eval.measure import score
from eval.report.__main__ import main
from eval.report.gather import chosen_examples, gather, labelled, read
from eval.report.pages import cell, number, render, signed
from eval.tasks.legal import LEGAL
from tests.eval.answers import part

FIGURE = {"value": 0.5, "low": 0.25, "high": 0.75}


def figure(value: float) -> dict[str, float]:
    """Figures that are all different, so that each must be found on its own."""
    return {"value": value, "low": value - 0.0513, "high": value + 0.0417}


def difference(value: float) -> dict[str, float]:
    return figure(value) | {"p": 0.0219}


def head(kind: str | None, adapter: str, **more: Any) -> dict[str, Any]:
    about = {
        "command": f"python -m eval.x --adapter {adapter}",
        "date": "2026-11-21",
        "commit": "abc123",
        "base": "tiny",
    }
    return (
        ({"kind": kind} if kind else {})
        | about
        | {"adapter": adapter, "mode": "tuned", "data": "own", "count": 4}
        | more
    )


def run_result(adapter: str, answers: str) -> dict[str, Any]:
    """Four reviews, two of each label, and what was answered: p or n."""
    words, expected = {"p": "positive", "n": "negative"}, "ppnn"
    examples = [
        {
            "id": n,
            "kind": "sentiment",
            "input": f"review {n} | <b>",
            "answer": words[a],
            "expected": words[e],
            "predicted": words[a],
            "confidence": 0.9,
            "accuracy": float(a == e),
            "exact": float(a == e),
            "tokens": 2,
            "seconds": 0.5 + n / 10,
        }
        for n, (e, a) in enumerate(zip(expected, answers, strict=True))
    ]
    accuracy = sum(example["accuracy"] for example in examples) / 4
    table: dict[str, dict[str, int]] = {}
    for example in examples:
        row = table.setdefault(example["expected"], {})
        row[example["predicted"]] = row.get(example["predicted"], 0) + 1
    return head(
        None,
        adapter,
        task="sentiment",
        metrics={"accuracy": figure(accuracy), "f1": figure(0.4321)},
        cost={"tokens": figure(2.1987)},
        confusion={"sentiment": table},
        examples=examples,
    )


def legal_result(adapter: str, kinds: str, answer: str) -> dict[str, Any]:
    """Records of the kinds in this order, all answered alike: q is a question on a policy, e a clause in plain English."""
    records: dict[str, dict[str, Any]] = {
        "q": {"context": "within six days", "question": "When?", "answers": ["six days"]},
        "e": {"document": "d", "summaries": ["You must pay the rent within six days."]},
    }
    items = [Item(kind, records[k], "") for k in kinds if (kind := LEGAL.trained.kind_of(records[k])) is not None]
    outcome = score(LEGAL, items, [part(answer) for _ in kinds], [1.0] * len(kinds))
    metrics, cost = ({n: asdict(m) for n, m in each.items()} for each in (outcome.metrics, outcome.cost))
    more = {"count": len(items), "metrics": metrics, "cost": cost, "examples": outcome.examples, "confusion": {}}
    return head(None, adapter, task="legal", **more)


def results() -> dict[str, dict[str, Any]]:
    """One result of every command."""
    points = [
        {
            "rate": rate,
            "changed": changed,
            "metrics": {"accuracy": figure(value)},
            "drop": {"accuracy": difference(drop)},
        }
        for rate, changed, value, drop in ((0.0, 0.0, 0.8125, 0.0), (0.2, 0.1875, 0.6372, 0.1753))
    ]
    states = [
        {
            "state": what,
            "name": name,
            "metrics": {"perplexity": figure(value), "accuracy": figure(0.3331)},
            "difference": {"perplexity": difference(value - 21.7), "accuracy": difference(0.0)},
            "tokens": 210,
            "different_logprobs": differing,
            "largest_difference": 0.0 if differing == 0 else 1.25,
            "different_answers": 0,
        }
        for what, name, value, differing in (
            ("base before", "base", 21.7, 0),
            ("adapter on", "mood", 24.931, 207),
            ("another base", "whole", 33.3, None),
        )
    ]
    states[1]["against"] = "base before, several at a time"
    states[2]["largest_difference"] = None
    states[2]["metrics"].pop("accuracy")
    groups = {"age": {"count": 3, "metrics": {"shared": figure(0.6667), "whole": figure(0.3334)}}}
    return {
        "mood": run_result("mood", "ppnp"),
        "base": run_result("base", "pnnp"),
        "robust": head("robustness", "mood", task="sentiment", metrics={"accuracy": figure(0.8125)}, curves={"typos": points, "slang": points}, examples=[]),
        "crows": head("bias", "mood", set="crows-pairs", metrics={"shared": figure(0.5714), "whole": figure(0.4286)}, groups=groups, examples=[]),
        "forget": head("forgetting", ["mood"], data={"text": "own", "questions": "own"}, states=states),
    }  # fmt: skip


def numbers(value: object, name: str = "") -> Iterator[tuple[str, float]]:
    """Every figure of a result that the page must show, with its name."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key not in ("examples", "confusion"):
                yield from numbers(item, key)
    elif isinstance(value, list):
        for item in value:
            yield from numbers(item, name)
    elif isinstance(value, float):
        yield name, value


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All results, and both pages made of them."""
    folder = tmp_path_factory.mktemp("report")
    for name, result in results().items():
        (folder / f"{name}.json").write_text(json.dumps(result))
    assert main([*(str(folder / f"{name}.json") for name in results()), "--out", str(folder / "out")]) == 0
    return folder


@pytest.mark.parametrize("page", ["report.html", "report.md"])
def test_page_has_every_number(folder: Path, page: str) -> None:
    text = html.unescape((folder / "out" / page).read_text())
    for name, result in results().items():
        for what, value in numbers(result):
            written = {number(value), signed(value), f"{value:.1e}", str(value)}
            assert any(re.search(rf"(?<![\d.]){re.escape(form)}", text) for form in written), (name, what, value)
        for told in (name, result["date"], result["commit"], result["command"]):
            assert str(told) in text
    assert "207 of 210" in text
    assert "other tokens" in text
    assert "from base before, several at a time" in text, "what an adapter that is on is held against"


def test_html_is_one_file_that_fetches_nothing(folder: Path) -> None:
    text = (folder / "out" / "report.html").read_text()
    assert re.findall(r'src="(?!data:)', text) == []
    assert "<link" not in text and "<script" not in text and "http" not in re.sub(r"base64,[\w+/=]+", "", text)
    assert text.count('src="data:image/svg+xml;base64,') == 4


def test_markdown_shows_the_pictures_beside_it(folder: Path) -> None:
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", (folder / "out" / "report.md").read_text())
    assert len(pictures) == 4
    for picture in pictures:
        assert (folder / "out" / picture).read_bytes().startswith(b"\x89PNG")


def test_markdown_tables_have_as_many_cells_in_every_row(folder: Path) -> None:
    for table in re.findall(r"(?:^\|.*\n)+", (folder / "out" / "report.md").read_text(), re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(widths) == 1, table


def test_text_of_examples_is_text(folder: Path) -> None:
    assert "review 0 | &lt;b&gt;" in (folder / "out" / "report.html").read_text()
    assert "review 0 \\| &lt;b>" in (folder / "out" / "report.md").read_text()


def test_runs_on_the_same_examples_are_compared(folder: Path) -> None:
    """Accuracy 0.75 for mood and 0.5 for base: the second less the first is −0.25. One example tells them apart: p 1."""
    report = gather([read(folder / f"{name}.json") for name in ("mood", "base")], "t", "d")
    [(first, second, rows)] = report.tasks[0].comparisons
    assert (first.label, second.label) == ("mood", "base")
    accuracy = next(row for row in rows if row.metric == "accuracy")
    assert (accuracy.difference.value, accuracy.mcnemar) == (-0.25, 1.0)
    assert "-0.250" in (folder / "out" / "report.html").read_text()


def test_runs_on_other_examples_are_told_apart_with_the_reason(folder: Path, tmp_path: Path) -> None:
    other = results()["base"]
    other["examples"][0]["id"] = "another"
    (tmp_path / "other.json").write_text(json.dumps(other))
    report = gather([read(folder / "mood.json"), read(tmp_path / "other.json")], "t", "d")
    assert report.tasks[0].comparisons == ()
    assert "same examples" in report.tasks[0].not_compared[0][2]


def test_differences_stand_under_their_own_heads_whatever_each_two_runs_share(tmp_path: Path) -> None:
    """The kinds come in another order in each two runs, and the last two have the words of one kind only."""
    results = {
        f"{name}-{kinds}": legal_result(f"{name}-{kinds}", kinds, answer)
        for kinds in ("eq", "qee", "qqqq")
        for name, answer in (("one", "no"), ("two", "six days"))
    }
    for name, result in results.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(result))
    report = gather([read(tmp_path / f"{name}.json") for name in results], "t", "d")
    page = render(report, "report.html", {"task-1": ""})
    table = page.split("Differences on the same examples")[1].split("</table>")[0]
    heads = re.findall(r"<th[^>]*>([^<]*)</th>", table)
    assert len(heads) == len(set(heads))
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)[1:]]
    assert [row[:2] for row in rows] == [[f"one-{kinds}", f"two-{kinds}"] for kinds in ("eq", "qee", "qqqq")]
    for (_, _, compared), row in zip(report.tasks[0].comparisons, rows, strict=True):
        shown = {name: text for name, text in zip(heads[2:], row[2:], strict=True) if text}
        assert shown.keys() == {one.metric for one in compared}
        assert all(shown[one.metric].startswith(f"<b>{signed(one.difference.value)}</b>") for one in compared)


def test_runs_of_the_same_weights_are_called_by_their_files_too(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "again.json").write_text((folder / "mood.json").read_text())
    runs = labelled([read(folder / "mood.json"), read(tmp_path / "again.json"), read(folder / "base.json")])
    assert [run.label for run in runs] == ["mood (mood)", "mood (again)", "base"]


def test_files_of_one_name_in_two_folders_show_each_its_own(tmp_path: Path) -> None:
    answers = {"a": "ppnn", "b": "nnpp"}
    for folder, given in answers.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "qa.json").write_text(json.dumps(run_result("mood", given)))
    report = gather([read(tmp_path / folder / "qa.json") for folder in answers], "t", "d")
    shown = {run.label: {example.verdict for example in examples} for run, examples in report.tasks[0].examples}
    assert shown == {f"mood ({tmp_path}/a/qa)": {"right"}, f"mood ({tmp_path}/b/qa)": {"wrong"}}


def test_right_and_wrong_examples_are_shown_or_the_best_and_the_worst() -> None:
    chosen = chosen_examples(run_result("mood", "ppnp"))
    assert [example.verdict for example in chosen] == ["right", "right", "right", "wrong"]
    graded = {"metrics": {"rouge_l": FIGURE}, "examples": [{"input": n, "rouge_l": n / 10} for n in range(8)]}
    chosen = chosen_examples(graded)
    assert [(example.verdict, example.input) for example in chosen] == [
        ("best", "7"), ("best", "6"), ("best", "5"), ("worst", "0"), ("worst", "1"), ("worst", "2"),
    ]  # fmt: skip


def test_an_attempt_to_give_orders_is_right_where_the_answer_shown_did_not_obey() -> None:
    """The first figure is how often the clean passage was obeyed: the fewer the better."""
    obeyed = {"clean": 0.0, "undefended": 1.0}
    attempts = [{"input": n, "answer": "", **obeyed, "defended": float(n == 2)} for n in range(4)]
    chosen = chosen_examples({"metrics": {"clean": FIGURE}, "examples": attempts})
    assert [(e.verdict, e.input) for e in chosen] == [
        ("right", "0"), ("right", "1"), ("right", "3"), ("wrong", "2"),
    ]  # fmt: skip


def test_cell_is_one_short_line() -> None:
    assert cell("a\n b | c", 20) == "a b \\| c"
    assert cell("x" * 30, 10) == "x" * 9 + "…"


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"kind": "poem"}', '{"kind": "bias", "set": "swaps"}', '{"kind": "comparison"}']
)
def test_file_that_is_no_result_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(EvaluationError, match=r"x\.json: (cannot be read|not a result that can be shown)"):
        read(tmp_path / "x.json")
