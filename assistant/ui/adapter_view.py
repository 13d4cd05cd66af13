"""Adapters → the table, the details and the model card of the Adapters tab. Pure: values in, HTML and Markdown out.

Names, tasks, scores and cards come from uploads: everything is escaped that becomes part of HTML.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby

from assistant.adapter_pool.revisions import Revision
from assistant.catalog import Adapter, Gate, Score
from assistant.service import AdapterStatus
from assistant.ui.markup import one_line, size
from assistant.ui.render import chip

COLUMNS = ("Name", "Task", "Type", "Rank", "Size", "State", "Digest", "Scores")
STATES = {"on disk": "idle", "resident": "good", "broken": "bad"}
MAIN = ("f1", "rouge_l", "accuracy", "chrf", "perplexity", "em")
"""Of the scores on one file of data, the first of these is the one the table tells."""
SHOWN = 3
"""Files of data that the table tells of."""
FRONT_MATTER = re.compile(r"\A---\r?\n.*?\r?\n---\r?\n", re.DOTALL)


def adapter_table(statuses: Sequence[AdapterStatus], selected: str) -> str:
    if not statuses:
        return '<p class="sb-empty">No adapters yet. Upload one below, or train one.</p>'
    head = "".join(f"<th>{column}</th>" for column in COLUMNS)
    return (
        f'<div class="sb-scroll"><table class="sb-table"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(_row(status, selected) for status in statuses)}</tbody></table></div>"
    )


def _row(status: AdapterStatus, selected: str) -> str:
    adapter = status.adapter
    name = one_line(adapter.name)
    cells = (
        f'<button type="button" class="sb-link">{chip(adapter.name)}</button>',
        one_line(adapter.card.task),
        one_line(adapter.type),
        "–" if adapter.rank is None else str(adapter.rank),
        size(adapter.nbytes) if adapter.nbytes else "–",
        state_badge(status),
        f"<code>{one_line(adapter.digest[:12]) or '–'}</code>",
        "<br>".join(_measured(adapter.card.scores)) or "–",
    )
    here = ' class="sb-selected" aria-selected="true"' if adapter.name == selected else ""
    row = "".join(f'<td data-label="{column}">{cell}</td>' for column, cell in zip(COLUMNS, cells, strict=True))
    if adapter.error is not None:
        row += f'<td class="sb-why-broken" data-label="Why">{one_line(adapter.error)}</td>'
    return f'<tr data-pick="{name}"{here}>{row}</tr>'


def state_badge(status: AdapterStatus) -> str:
    pinned = " · pinned" if status.residency and status.residency.pinned else ""
    kind = STATES.get(status.state, "busy")
    tip = f' title="{one_line(status.adapter.error)}"' if status.adapter.error else ""
    return f'<span class="sb-state sb-state-{kind}"{tip}>{one_line(status.state + pinned)}</span>'


def main_scores(scores: Sequence[Score]) -> list[Score]:
    """Of each file of data the score that says most, in the card's order."""
    by_data: dict[str, list[Score]] = {}
    for score in scores:
        by_data.setdefault(score.data, []).append(score)
    rank = {metric: place for place, metric in enumerate(MAIN)}
    return [min(measured, key=lambda score: rank.get(score.metric, len(rank))) for measured in by_data.values()]


def _measured(scores: Sequence[Score]) -> list[str]:
    """Lines of the table; where there are several, each names its data."""
    chosen = main_scores(scores)
    return [
        one_line(score_text(score))
        + (f" <small>{one_line('/'.join(score.data.split('/')[-2:]))}</small>" if len(chosen) > 1 else "")
        for score in chosen[:SHOWN]
    ]


def score_text(score: Score) -> str:
    """One figure in a line: what was measured, its interval, and the base beside it."""
    return f"{score.metric} {_figure(score)}"


def _figure(score: Score) -> str:
    text = f"{score.value:.3g}"
    if score.low is not None and score.high is not None:
        text += f" [{score.low:.3g}, {score.high:.3g}]"
    return text if score.base is None else f"{text}, base {score.base:.3g}"


def adapter_heading(status: AdapterStatus) -> str:
    return f"<h3>{chip(status.adapter.name)} {one_line(status.adapter.card.task)}</h3>"


def adapter_details(status: AdapterStatus) -> str:
    """What the catalogue and the pool know of one adapter, above its model card."""
    adapter, card = status.adapter, status.adapter.card
    rows = [("State", state_badge(status))]
    if status.residency is not None:
        rows.append(
            ("In memory", f"{size(status.residency.nbytes)}, held by {status.residency.leases} running requests")
        )
        if status.residency.error:
            rows.append(("Error", one_line(status.residency.error)))
    rows += [
        ("Type", one_line(adapter.type)),
        ("Virtual tokens" if adapter.is_soft_prompt else "Rank", "–" if adapter.rank is None else str(adapter.rank)),
        ("Size", size(adapter.nbytes)),
        ("Digest", f"<code>{one_line(adapter.digest) or '–'}</code>"),
    ]
    if card.base_name:
        rows.append(("Trained on", one_line(card.base_name)))
    if card.conversion is not None:
        rows.append(
            ("Converted", one_line(f"from {card.conversion.source}, worst layer off by {card.conversion.error:.2%}"))
        )
    for key, value in card.decoding.items():
        rows.append((f"Own {one_line(str(key))}", one_line(str(value))))
    for source, scores in groupby(card.scores, key=_source):
        rows += [("Measured", source), *((one_line(score.metric), one_line(_figure(score))) for score in scores)]
    if card.gate is not None:
        rows.append(("Gate", _gate(card.gate)))
    listed = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in rows)
    about = f"<p>{one_line(card.description)}</p>" if card.description else ""
    broken = f'<p class="sb-refusal">{one_line(adapter.error)}</p>' if adapter.error else ""
    return f'<div class="sb-details">{broken}{about}<dl>{listed}</dl></div>'


def _gate(gate: Gate) -> str:
    aim = gate.aim
    gain = f"{aim.figure} {aim.gain:+.3g} [{aim.low:+.3g}, {aim.high:+.3g}] against {gate.against}"
    told = "; ".join((gate.verdict, gain, *gate.reasons))
    return f"{one_line(told)}<small>{one_line(gate.date)} · <code>{one_line(gate.command)}</code></small>"


def revision_choices(revisions: Sequence[Revision]) -> list[tuple[str, str]]:
    """Kept revisions as (label, digest), newest first."""
    return [(f"{one.digest[:12]}, until {one.replaced_at:%Y-%m-%d %H:%M} UTC", one.digest) for one in revisions]


def _source(score: Score) -> str:
    return f"<small>{one_line(score.data + score.told)}, {one_line(score.date)} · <code>{one_line(score.command)}</code></small>"


def model_card(adapter: Adapter, readme: str | None) -> str:
    """The card as Markdown, without the machine-readable head. Untrusted: to be sanitised where it is shown."""
    if readme is None:
        return "*This adapter came without a model card.*"
    return FRONT_MATTER.sub("", readme, count=1)


def result(text: str, kind: str) -> str:
    """What came of an action; `kind` is "good", "bad" or "busy"."""
    return f'<div class="sb-result sb-result-{kind}" role="status">{one_line(text)}</div>'
