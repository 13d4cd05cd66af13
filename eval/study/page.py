"""Results of the study → plots under docs/images and the page docs/study.md."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from assistant.errors import EvaluationError
from eval.metrics.bootstrap import means
from eval.metrics.paired import Difference, paired_bootstrap
from eval.report.plots import errors
from eval.results import check_same_examples, read_result
from eval.study.data import LAST, makeup
from eval.study.plan import BASE_PROMPTS, GENERAL, MIXTURE, PROMPT_EACH, SCALES, UNSEEN, Chapter, Trial, trials

MAIN_METRIC = {
    "qa": "f1",
    "sentiment": "accuracy",
    "summarisation": "rouge_l",
    "policy": "f1",
    "research": "f1",
    "moderation": "f1",
    "plain-english": "rouge_l",
    "perplexity": "perplexity",
    "chat": "accuracy",
}
NAMES = {"f1": "F1", "rouge_l": "ROUGE-L"}
COLUMNS = {kind: NAMES.get(metric, metric) for kind, metric in MAIN_METRIC.items()}
COLUMNS |= dict.fromkeys(("research", "moderation"), "macro F1")
"""What the main figure of a kind is called. Of labels of unequal shares accuracy would praise whoever always says the
commonest."""

QUESTION_CHAPTERS: dict[Chapter, str] = {
    "size": "training examples",
    "epochs": "epochs",
    "batch": "rows of 512 tokens per step",
    "rate": "peak learning rate",
    "scheduler": "scheduler",
    "rank": "LoRA rank",
}


@dataclass(frozen=True)
class Point:
    """One trial's result: `value` on the axis, scores by kind with their intervals, the training report, and when and
    from what code it was trained and measured. `gain` of a question chapter is its F1 less that of the point before."""

    value: str
    scores: dict[str, dict[str, dict[str, float]]]
    training: dict[str, Any] | None
    commits: frozenset[str]
    dates: frozenset[str]
    gain: Difference | None = None

    def score(self, kind: str, metric: str | None = None) -> dict[str, float]:
        return self.scores[kind][metric or MAIN_METRIC[kind]]


def read_points(place: Path) -> dict[Chapter, list[Point]]:
    """What has been measured so far, in the order of the plan.

    Raises:
        EvaluationError: nothing has.
    """
    points: dict[Chapter, list[Point]] = {}
    before: dict[Chapter, Trial] = {}
    for trial in trials(SCALES[place.name]):
        if (result := trial.done(place)) is None:
            continue
        training, measured = result["training"], result["measured"].values()
        steps = [*measured, *([training] if training else [])]
        point = Point(
            trial.value,
            {kind: told["metrics"] for kind, told in result["measured"].items()},
            training["report"] if training else None,
            frozenset(step["commit"] for step in steps),
            frozenset(step["date"] for step in steps),
            gain(place, before[trial.chapter], trial) if trial.chapter in before else None,
        )
        if trial.chapter in QUESTION_CHAPTERS:
            before[trial.chapter] = trial
        points.setdefault(trial.chapter, []).append(point)
    if not points:
        raise EvaluationError(f"{place / 'results'}: no results; run the study first")
    return points


def gain(place: Path, before: Trial, after: Trial) -> Difference:
    """F1 on questions of one trial less that of another. Both answered the same questions, so that the interval of their
    difference is narrower than those of the two side by side.

    Raises:
        EvaluationError: they did not, or the answers are gone.
    """
    first, second = (read_result(trial.answers(place, "qa")) for trial in (before, after))
    check_same_examples(first, second)
    old, new = (means([example["f1"] for example in result["examples"]]) for result in (first, second))
    [difference] = paired_bootstrap(old, new, first["count"])
    return difference


def write_page(place: Path, docs: Path) -> Path:
    """Raises EvaluationError where there are no results."""
    points = read_points(place)
    images = docs / "images"
    images.mkdir(parents=True, exist_ok=True)
    plots = {
        chapter: plot_questions(chapter, points[chapter], images) for chapter in QUESTION_CHAPTERS if chapter in points
    }
    if "method" in points:
        plots["method"] = plot_methods(points["method"], images)
    if "tasks" in points:
        plots["tasks"] = plot_tasks(points["tasks"], images)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    page = environment.get_template("study.md.j2").render(
        scale=SCALES[place.name],
        makeup=makeup(place / "data", SCALES[place.name]),
        last=LAST,
        points=points,
        plots=plots,
        axes=QUESTION_CHAPTERS,
        kinds=(*MIXTURE, UNSEEN),
        columns=(*MIXTURE, UNSEEN, *GENERAL),
        figures=COLUMNS,
        base_prompts=BASE_PROMPTS,
        prompt_each=PROMPT_EACH,
        total=len(trials(SCALES[place.name])),
        done=sum(map(len, points.values())),
        dates=sorted({date for chapter in points.values() for point in chapter for date in point.dates}),
        commits=sorted({commit for chapter in points.values() for point in chapter for commit in point.commits}),
    )
    path = docs / "study.md"
    path.write_text(page, encoding="utf-8")
    return path


def plot_questions(chapter: Chapter, points: Sequence[Point], images: Path) -> str:
    """F1 and exact match against one setting; returns the file's name."""
    figure = Figure(figsize=(6, 3.4), layout="constrained")
    axes = figure.add_subplot()
    for metric, colour in (("f1", "#2563eb"), ("em", "#94a3b8")):
        curve(axes, points, "qa", metric, colour)
    axes.set_xlabel(QUESTION_CHAPTERS[chapter])
    axes.set_ylabel("score, held-out questions")
    axes.set_ylim(bottom=0)
    axes.legend(["F1", "exact match"], frameon=False)
    return save(figure, images / f"study-{chapter}.png")


def curve(axes: Axes, points: Sequence[Point], kind: str, metric: str, colour: str) -> None:
    scores = [point.score(kind, metric) for point in points]
    values = [score["value"] for score in scores]
    axes.errorbar([point.value for point in points], values, yerr=errors(scores), marker="o", capsize=3, color=colour)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.3)


def plot_methods(points: Sequence[Point], images: Path) -> str:
    """Accuracy against trained parameters, a logarithmic axis, with intervals; the base as a line."""
    figure = Figure(figsize=(8, 4.8), layout="constrained")
    axes = figure.add_subplot()
    places: dict[str, tuple[float, float]] = {}
    for point in points:
        score = point.score("sentiment")
        accuracy = score["value"]
        if point.training is None:
            axes.axhline(accuracy, color="#94a3b8", linestyle="--", label="base, few-shot")
            continue
        parameters = point.training["trained_parameters"]
        axes.errorbar(
            parameters, accuracy, yerr=errors([score]), fmt="o", color="#2563eb", ecolor="#bfdbfe", elinewidth=1.5
        )
        places[point.value] = (parameters, accuracy)
    for names, place in neighbours(places):
        axes.annotate(textwrap.fill(", ".join(names), 40), place, xytext=(6, 3), textcoords="offset points", fontsize=8)
    axes.set_xscale("log")
    axes.set_xlabel("trained parameters")
    axes.set_ylabel("accuracy, held-out sentences")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return save(figure, images / "study-method.png")


def neighbours(places: dict[str, tuple[float, float]]) -> list[tuple[list[str], tuple[float, float]]]:
    """Names whose points lie so close that they can only share a label, and where that stands: at the rightmost."""
    groups: list[tuple[list[str], tuple[float, float]]] = []
    for name, (x, y) in sorted(places.items(), key=lambda item: item[1]):
        for number, (names, (x_there, y_there)) in enumerate(groups):
            if math.log10(x / x_there) < 0.35 and abs(y - y_there) < 0.012:
                groups[number] = ([*names, name], (x, max(y, y_there)))
                break
        else:
            groups.append(([name], (x, y)))
    return groups


def plot_tasks(points: Sequence[Point], images: Path) -> str:
    """For every kind: the base, the adapter trained on that kind alone, and the mixtures."""
    figure = Figure(figsize=(8, 3.8), layout="constrained")
    axes = figure.add_subplot()
    kinds = (*MIXTURE, UNSEEN)
    mixed = [point for point in points if not point.value.startswith("only ")]
    alone = {kind: point for kind in kinds for point in points if point.value == f"only {kind}"}
    series = [(point.value, {kind: point for kind in kinds if kind in point.scores}) for point in mixed]
    series.append(("trained on it alone", alone))
    step = 0.8 / len(series)
    for number, (label, by_kind) in enumerate(series):
        axes.bar(
            [kinds.index(kind) + (number + 0.5) * step - 0.4 for kind in by_kind],
            [point.score(kind)["value"] for kind, point in by_kind.items()],
            0.9 * step,
            label=label,
        )
    axes.set_xticks(range(len(kinds)), [f"{kind}\n{COLUMNS[kind]}" for kind in kinds], fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    return save(figure, images / "study-tasks.png")


def save(figure: Figure, path: Path) -> str:
    figure.savefig(path, dpi=130)
    return path.name
