"""Who is compared: two to six rows of mode, adapter and decoding, with sensible sets to start from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from assistant.catalog import Adapter
from assistant.comparison.request import FEWEST, MOST, TUNED, Contestant, Mode
from assistant.errors import InvalidRequest
from assistant.messages import BASE, MOST_DRAWN, BestOf
from assistant.service import AdapterStatus
from assistant.ui.compare_view import MODES
from assistant.ui.controls import CONTROLS, default, read_controls
from assistant.ui.history import Updates

PRESETS: dict[str, tuple[Mode, ...]] = {
    "Prompt vs RAG vs fine-tuned": ("prompt", "rag", "tuned"),
    "Prompt vs fine-tuned": ("prompt", "tuned"),
    "Prompt vs examples vs fine-tuned": ("prompt", "few-shot", "tuned"),
    "RAG vs RAG + fine-tuned": ("rag", "rag-tuned"),
    "All five ways": ("prompt", "few-shot", "rag", "tuned", "rag-tuned"),
}
FIRST = "Prompt vs RAG vs fine-tuned"
MAIN = ("temperature", "max_tokens", "seed")
MORE = ("top_p", "top_k", "repetition_penalty", "stop")
"""What is seen once all settings are asked for."""

SHOWN = (*MAIN, *MORE)
"""The decoding of a row, in order."""

WIDTH = 2 + len(SHOWN) + 2
"""Values in a row: mode, adapter, the decoding, how many answers are drawn, and who judges them."""

NO_ADAPTER = ("base", BASE)
ANSWERING = ("qa", "question answering")


class ContestantPicker:
    """The rows, built inside the current Blocks. All are there from the start; `count` says how many are meant."""

    def build(self, statuses: Sequence[AdapterStatus]) -> None:
        names = usable(statuses)
        starting = preset(FIRST, favourite(statuses)) if names else preset("RAG vs RAG + fine-tuned", None)
        self.count = gr.State(len(starting))
        with gr.Row(elem_classes=["sb-preset", "sb-fields"]):
            self.preset = gr.Dropdown(
                list(PRESETS),
                value=FIRST if names else None,
                label="Start from",
                min_width=220,
                elem_id="compare-preset",
            )
            self.favourite = gr.Dropdown(
                names, value=favourite(statuses), label="Adapter", min_width=160, elem_id="compare-adapter"
            )
            # What it shows and hides is left to the stylesheet, so that it waits for no server.
            self.more = gr.Checkbox(
                label="All settings", interactive=True, min_width=130, scale=0, elem_id="compare-all-settings"
            )
        self.rows: list[Any] = []
        self.mores: list[Any] = []
        self.fields: list[Any] = []
        self.removes: list[Any] = []
        for index in range(MOST):
            one = starting[index] if index < len(starting) else Contestant(mode="prompt")
            self._build_row(index, one, index < len(starting), statuses)
        self.add = gr.Button("Add a column", size="sm", min_width=120, scale=0, elem_id="add-contestant")

    def _build_row(self, index: int, one: Contestant, is_meant: bool, statuses: Sequence[AdapterStatus]) -> None:
        judging = judges(statuses)
        hints = dict(zip(SHOWN, _hints(one.mode, one.adapter, statuses), strict=True))
        with gr.Row(visible=is_meant, elem_classes=["sb-contestant", "sb-fields"]) as row:
            mode = gr.Dropdown(
                [(label, mode) for mode, label in MODES.items()], value=one.mode, label="Way", min_width=150
            )
            adapter = gr.Dropdown(
                _choices(one.mode, usable(statuses)),
                value=one.adapter,
                label="Adapter",
                interactive=one.mode in TUNED,
                # While a comparison is shown again the catalogue may be offered too, for the rows that were there.
                allow_custom_value=True,
                min_width=130,
            )
            main = [_setting(name, hints[name], 90) for name in MAIN]
            best_of = gr.Textbox(label="Best of", placeholder="1", max_lines=1, min_width=70, visible=bool(judging))
            judge = gr.Dropdown(
                list(judging),
                value=next(iter(judging), None),
                label="Judge",
                allow_custom_value=True,
                min_width=110,
                visible=bool(judging),
            )
            remove = gr.Button("✕", size="sm", min_width=36, scale=0, elem_classes="sb-remove-row")
            remove.elem_id = f"remove-contestant-{index}"
        with gr.Row(visible=is_meant, elem_classes=["sb-more", "sb-fields"]) as more:
            further = [_setting(name, hints[name], 110) for name in MORE]
        self.fields += [mode, adapter, *main, *further, best_of, judge]
        self.rows.append(row)
        self.mores.append(more)
        self.removes.append(remove)

    @property
    def inputs(self) -> list[Any]:
        return [self.count, *self.fields]

    @property
    def outputs(self) -> list[Any]:
        return [self.count, self.more, *self.rows, *self.mores, *self.fields, *self.removes, self.add]

    def connect(self, statuses_now: Callable[[], Sequence[AdapterStatus]]) -> None:
        """Wire the events; `statuses_now()` gives the adapters there are."""
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}

        def start_from(name: str | None, adapter: str | None) -> Updates:
            if name not in PRESETS:
                return {self.count: gr.skip()}
            statuses = statuses_now()
            return self.show(values_of(preset(name, adapter or next(iter(usable(statuses)), None))), statuses)

        def add(count: int, *values: Any) -> Updates:
            rows = split(count, values)
            statuses = statuses_now()
            return self.show([*rows, _fresh(rows, usable(statuses))], statuses)

        for field in (self.preset, self.favourite):
            # Only what the user picks: what the page sets itself must not undo a comparison that was opened.
            field.input(start_from, [self.preset, self.favourite], self.outputs, **quiet)
        self.add.click(add, self.inputs, self.outputs, **quiet)
        for index, button in enumerate(self.removes):
            button.click(self._remover(index, statuses_now), self.inputs, self.outputs, **quiet)
        for index in range(MOST):
            mode, adapter, *settings = self.fields[index * WIDTH : (index + 1) * WIDTH - 2]
            mode.input(self._changed(statuses_now), [mode, adapter], [adapter, *settings], **quiet)
            adapter.input(self._changed(statuses_now), [mode, adapter], [adapter, *settings], **quiet)

    def _remover(self, index: int, statuses_now: Callable[[], Sequence[AdapterStatus]]) -> Any:
        def remove(count: int, *values: Any) -> Updates:
            rows = split(count, values)
            return self.show(rows[:index] + rows[index + 1 :], statuses_now())

        return remove

    def _changed(self, statuses_now: Callable[[], Sequence[AdapterStatus]]) -> Any:
        def changed(mode: Mode, adapter: str) -> list[Any]:
            statuses = statuses_now()
            field, picked = _adapter_field(mode, adapter, usable(statuses))
            return [field, *(gr.update(placeholder=hint) for hint in _hints(mode, picked, statuses))]

        return changed

    def show(self, rows: Sequence[Sequence[Any]], statuses: Sequence[AdapterStatus]) -> Updates:
        """The updates that make the picker hold these rows."""
        count, names = len(rows), usable(statuses)
        updates: Updates = {self.count: count, self.add: gr.Button(visible=count < MOST)}
        if any(any(row[2 + len(MAIN) : -2]) for row in rows):
            updates[self.more] = True  # nothing that is asked for is hidden
        for index, (row, more) in enumerate(zip(self.rows, self.mores, strict=True)):
            updates[row] = updates[more] = gr.Row(visible=index < count)
            updates[self.removes[index]] = gr.Button(visible=count > FEWEST)
        draws = any(row[-2] for row in rows)
        for index, (mode, adapter, *decoding, best_of, judge) in enumerate(rows):
            fields = self.fields[index * WIDTH : (index + 1) * WIDTH]
            updates[fields[0]] = mode
            updates[fields[1]], picked = _adapter_field(mode, adapter, names)
            for field, value, hint in zip(fields[2:-2], decoding, _hints(mode, picked, statuses), strict=True):
                updates[field] = gr.update(value=value, placeholder=hint)
            # They are seen where there are reward adapters; where one has gone, what it judged is seen all the same.
            seen: dict[str, Any] = {"visible": True} if draws else {}
            updates[fields[-2]] = gr.update(value=best_of, **seen)
            updates[fields[-1]] = gr.update(**({"value": judge} if judge else {}), **seen)
        return updates

    def offer(self, statuses: Sequence[AdapterStatus], picked: str | None, values: Sequence[Any]) -> Updates:
        """The updates for a catalogue that has changed; what was picked stays picked, even where it has gone."""
        names, judging = usable(statuses), judges(statuses)
        draws = bool(judging) or any(row[-2] for row in split(MOST, values))
        updates: Updates = {self.favourite: gr.Dropdown(choices=names, value=picked or favourite(statuses))}
        for index, (mode, adapter, *_, judge) in enumerate(split(MOST, values)):
            kept = [adapter] if mode in TUNED and adapter not in names else []
            fields = self.fields[index * WIDTH : (index + 1) * WIDTH]
            updates[fields[1]] = gr.Dropdown(choices=_choices(mode, [*names, *kept]))
            updates[fields[-2]] = gr.Textbox(visible=draws)
            updates[fields[-1]] = gr.update(
                choices=[(name, name) for name in judging], value=judge or next(iter(judging), None), visible=draws
            )
        return updates


def split(count: int, values: Sequence[Any]) -> list[list[Any]]:
    """The values of the fields, row by row."""
    return [list(values[index * WIDTH : (index + 1) * WIDTH]) for index in range(count)]


def read_contestants(count: int, values: Sequence[Any]) -> tuple[Contestant, ...]:
    """What the fields say.

    Raises:
        InvalidRequest: a value is not allowed; names the column and what is allowed.
    """
    found = []
    for number, (mode, adapter, *decoding, drawn, judge) in enumerate(split(count, values), 1):
        typed = dict(zip(SHOWN, decoding, strict=True))
        try:
            asked = read_controls([*(typed[control.name] for control in CONTROLS), typed["stop"]])
            if mode in TUNED and (not adapter or adapter == BASE):
                raise InvalidRequest("pick the adapter")
            best_of = read_best_of(drawn, judge)
            answering = adapter if mode in TUNED else BASE
            found.append(Contestant(mode=mode, adapter=answering, decoding=asked, best_of=best_of))
        except InvalidRequest as error:
            raise InvalidRequest(f"Column {number}, {MODES[mode]}: {error}") from error
    return tuple(found)


def read_best_of(drawn: str | None, judge: str | None) -> BestOf | None:
    """None where one answer is drawn, which nobody judges.

    Raises:
        InvalidRequest: it is no number of answers that is allowed, or nobody judges them.
    """
    typed = (drawn or "").strip()
    if typed in ("", "1"):
        return None
    if not typed.isdecimal() or not 2 <= int(typed) <= MOST_DRAWN:
        raise InvalidRequest(f"Best of: {typed!r} is not allowed (1 to {MOST_DRAWN} answers)")
    if not judge:
        raise InvalidRequest("Best of: pick the judge, a reward adapter")
    return BestOf(n=int(typed), judge=judge)


def values_of(contestants: Sequence[Contestant]) -> list[list[Any]]:
    """The values of the fields that say these contestants."""
    rows = []
    for one in contestants:
        asked = one.decoding.model_dump(exclude_unset=True, exclude_none=True)
        if "stop" in asked:
            asked["stop"] = "\n".join(asked["stop"])
        drawn, judge = (str(one.best_of.n), one.best_of.judge) if one.best_of else ("", "")
        rows.append([one.mode, one.adapter, *(str(asked.get(name, "")) for name in SHOWN), drawn, judge])
    return rows


def preset(name: str, adapter: str | None) -> tuple[Contestant, ...]:
    """The contestants of a set; without an adapter, only those of its ways that need none."""
    ways = [mode for mode in PRESETS[name] if adapter or mode not in TUNED]
    if len(ways) < FEWEST:
        ways = ["prompt", "rag"]
    return tuple(Contestant(mode=mode, adapter=(adapter or BASE) if mode in TUNED else BASE) for mode in ways)


def usable(statuses: Sequence[AdapterStatus]) -> list[str]:
    """Adapters that can answer: one that gives rewards cannot."""
    return [one.adapter.name for one in statuses if one.adapter.is_usable and not one.adapter.is_reward]


def judges(statuses: Sequence[AdapterStatus]) -> list[str]:
    """Adapters that can judge answers."""
    return [one.adapter.name for one in statuses if one.adapter.is_usable and one.adapter.is_reward]


def favourite(statuses: Sequence[AdapterStatus]) -> str | None:
    """The adapter a newcomer starts with: one that answers questions, where there is one."""
    names = usable(statuses)
    answering = [
        one.adapter.name for one in statuses if one.adapter.name in names and one.adapter.card.task in ANSWERING
    ]
    return next(iter([*answering, *names]), None)


def _choices(mode: Mode, names: Sequence[str]) -> list[tuple[str, str]]:
    return [(name, name) for name in names] if mode in TUNED else [NO_ADAPTER]


def _adapter_field(mode: Mode, adapter: str | None, names: Sequence[str]) -> tuple[Any, str]:
    """The update of the field, and who answers then."""
    if mode not in TUNED:
        return gr.Dropdown(choices=[NO_ADAPTER], value=BASE, interactive=False), BASE
    picked = adapter if adapter and adapter != BASE else next(iter(names), None)
    kept = [picked] if picked and picked not in names else []
    return gr.Dropdown(choices=_choices(mode, [*names, *kept]), value=picked, interactive=True), picked or BASE


def _setting(name: str, hint: str, width: int) -> gr.Textbox:
    if name == "stop":
        return gr.Textbox(label="Stop at, one a line", placeholder=hint, lines=1, max_lines=8, min_width=width)
    label = next(control.label for control in CONTROLS if control.name == name)
    return gr.Textbox(label=label, placeholder=hint, max_lines=1, min_width=width)


def _hints(mode: Mode, adapter: str, statuses: Sequence[AdapterStatus]) -> list[str]:
    """What holds where each of `SHOWN` is left empty: the answering adapter's own, where its card has one."""
    known: dict[str, Adapter] = {one.adapter.name: one.adapter for one in statuses}
    answering = known.get(adapter) if mode in TUNED else None
    return ["none" if name == "stop" else default(name, answering) for name in SHOWN]


def _fresh(rows: Sequence[Sequence[Any]], names: Sequence[str]) -> list[Any]:
    """A row more: the first way that is not there yet."""
    taken = {row[0] for row in rows}
    ways: list[Mode] = [mode for mode in MODES if mode not in taken and (names or mode not in TUNED)]
    mode = ways[0] if ways else "prompt"
    picked = next((row[1] for row in rows if row[0] in TUNED), next(iter(names), BASE))
    return [mode, picked if mode in TUNED else BASE, *("" for _ in SHOWN), "", ""]
