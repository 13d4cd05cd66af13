"""The Compare tab: one question in several ways at once, open or blind; votes; sets of questions; earlier ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import gradio as gr

from assistant.comparison.batch import Batches
from assistant.comparison.request import MOST, Setup
from assistant.errors import InvalidRequest, NotFound, SwapboardError
from assistant.feedback.votes import VoteStore
from assistant.ui import compare_view as view
from assistant.ui.batches import BatchPanel
from assistant.ui.board import Board, from_record
from assistant.ui.compare_parts import CompareParts
from assistant.ui.contestants import ContestantPicker, judges, read_contestants, values_of
from assistant.ui.history import Updates
from assistant.ui.live import Views
from assistant.ui.live_comparison import LiveComparison, LiveComparisons
from assistant.ui.pick_list import PICK
from assistant.ui.presence import Presence
from assistant.ui.setup import SharedSetup, read_references, read_setup, write_references
from assistant.ui.toast import inform, tell
from assistant.ui.verdicts import Verdicts
from assistant.ui.visitor import STORAGE_KEY, read_visitor

OPENED_KEY, BATCH_KEY = "swapboard-compare", "swapboard-batch"
"""Under these names the browser keeps which comparison and which batch are open."""


class CompareTab:
    """Builds the tab inside the current Blocks and answers its events."""

    def __init__(self, batches: Batches, votes: VoteStore) -> None:
        self.comparator = batches.comparator
        self.service = self.comparator.service
        self.store = self.comparator.store
        self.live = LiveComparisons(self.comparator)
        self.views = Views()
        self.presence = Presence(self.live.stop)
        self.picker = ContestantPicker()
        self.setup = SharedSetup()
        self.parts = CompareParts()
        self.verdicts = Verdicts(self.store, votes, self.parts)
        self.batches = BatchPanel(batches)

    def build_memory(self) -> None:
        """What the browser keeps: to be built outside of the tabs, since one that is not open yet remembers nothing."""
        self.opened = gr.BrowserState("", storage_key=OPENED_KEY, secret=STORAGE_KEY)
        self.ended = gr.State("")
        self.batches.opened = gr.BrowserState("", storage_key=BATCH_KEY, secret=STORAGE_KEY)

    def build(self) -> None:
        with gr.Accordion("Who answers", open=True, elem_id="compare-who") as self.who:
            statuses = self.service.adapters()
            self.picker.build(statuses)
            self.setup.build(self.service.library.collections(), judges(statuses))
        with gr.Tabs(elem_id="compare-kinds") as self.kinds:
            with gr.Tab("One question", id="one"):
                self.parts.build()
            with gr.Tab("A set of questions", id="set"):
                self.batches.build()
            with gr.Tab("Earlier comparisons", id="earlier") as self.earlier:
                self.listing = gr.HTML(elem_id="comparisons", apply_default_css=False, js_on_load=PICK)

    def connect(self, page: gr.Blocks, tab: gr.Tab, browser: gr.BrowserState) -> None:
        self.browser = browser
        parts = self.parts
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        asked = [parts.question, parts.reference, parts.blind, *self.setup.fields, *self.picker.inputs]
        restored = [*self.setup.outputs, *self.picker.outputs, parts.reference, parts.blind, self.kinds]
        whole = [self.opened, self.who, *parts.answers, *parts.verdicts]
        # While answers come, every update costs the browser work for each output, so these events have few.
        stream = [browser, self.opened, self.who, self.ended, *parts.answers]
        last = (self._finish, [browser, self.ended], [self.ended, parts.after, *parts.verdicts])
        parts.question.submit(self._ask, [browser, *asked], stream, **quiet).then(*last, **quiet)
        parts.question.stop(self._stop, browser, None, **quiet)
        opening = [
            page.load(self._load, [browser, self.opened], [*whole, *restored], **quiet),
            self.listing.select(self._open_earlier, browser, [*whole, *restored], **quiet),
            # A row of a set is a comparison like any other.
            self.batches.rows.select(self._open_earlier, browser, [*whole, *restored], **quiet),
        ]
        for event in opening:
            event.then(self._resume, [browser, self.opened], stream, **quiet).then(*last, **quiet)
        page.unload(self._leave)
        self.earlier.select(self._list, [browser, self.opened], self.listing, **quiet)
        tab.select(
            self._offer,
            [self.picker.favourite, *self.picker.inputs],
            [*self.picker.outputs, self.picker.favourite, self.setup.reward_by],
            **quiet,
        )
        # Only what the user picks: what the page sets itself is what the answers were judged by.
        self.setup.reward_by.input(
            self._judge, [browser, self.opened, self.setup.reward_by], [parts.question, *parts.columns], **quiet
        )
        self.setup.connect()
        self.picker.connect(self.service.adapters)
        setup = [*self.setup.fields, *self.picker.inputs]
        self.batches.connect(page, browser, setup, self._read_setup)
        self.verdicts.connect(browser, self.opened, whole, self._settled)

    # Events ---------------------------------------------------------------------------------------

    async def _load(self, kept: Any, opened: Any, request: gr.Request) -> Updates:
        """Show again what was open, or is being answered."""
        owner = read_visitor(kept).owner
        self.presence.enter(str(request.session_hash), owner)
        live = self.live.find(owner)
        if live is not None:
            # The box first: an update of it later on brings its Stop.
            return {**self._restored(live.now), self.opened: live.now.id or ""}
        if isinstance(opened, str) and opened:
            return await self._open(owner, opened, request)
        return {self.parts.question: gr.skip()}

    async def _resume(self, kept: Any, opened: Any, request: gr.Request) -> AsyncIterator[Updates]:
        """Go on showing the comparison that is open, where it is still being answered."""
        owner = read_visitor(kept).owner
        live = self.live.find(owner)
        if live is None or (live.now.id or "") != (opened or ""):
            # A handler that yields nothing would empty every field it may change.
            yield {self.parts.question: gr.skip()}
            return
        async for updates in self._follow(owner, live, request):
            yield updates

    async def _finish(self, kept: Any, ended: str) -> Updates:
        """What comes after the answers, once they are all there."""
        if not ended:
            return {self.ended: gr.skip()}
        owner = read_visitor(kept).owner
        try:
            board = from_record(await asyncio.to_thread(self.store.comparison, ended, owner))
            settled = await asyncio.to_thread(self.verdicts.settled, owner, board)
        except SwapboardError as error:
            tell(error, "The vote cannot be shown")
            return {self.ended: ""}
        return {self.ended: "", self.parts.after: gr.Column(visible=True), **self.verdicts.blank(), **settled}

    async def _leave(self, request: gr.Request) -> None:
        self.views.drop(str(request.session_hash))
        self.presence.leave(str(request.session_hash))

    async def _ask(
        self,
        request: gr.Request,
        kept: Any,
        question: str,
        reference: str,
        blind: bool,
        *setup: Any,
    ) -> AsyncIterator[Updates]:
        visitor = read_visitor(kept)
        try:
            if not (question or "").strip():
                raise InvalidRequest("Write a question first.")
            asked = self._read_setup(blind, *setup).ask(question, read_references(reference))
            await self.comparator.check(asked)
            live = self.live.start(asked, visitor.owner)
        except SwapboardError as error:
            tell(error, "Not sent")
            yield {self.parts.question: gr.skip()}
            return
        self.presence.enter(str(request.session_hash), visitor.owner)
        yield {self.who: gr.Accordion(open=False), self.browser: visitor.kept}
        async for updates in self._follow(visitor.owner, live, request):
            yield updates

    def _read_setup(self, blind: bool, *values: Any) -> Setup:
        """The set-up that the fields make. Raises InvalidRequest."""
        shared, (count, *fields) = values[: len(self.setup.fields)], values[len(self.setup.fields) :]
        return read_setup(read_contestants(count, fields), blind, shared)

    async def _stop(self, kept: Any) -> None:
        await self.live.stop(read_visitor(kept).owner)

    async def _open_earlier(self, kept: Any, request: gr.Request, event: gr.SelectData) -> Updates:
        owner, picked = read_visitor(kept).owner, str(event.value)
        live = self.live.find(owner)
        if live is not None and live.now.id == picked:
            updates = {**self._restored(live.now), self.opened: picked}
        else:
            updates = await self._open(owner, picked, request)
        return {**updates, self.kinds: gr.Tabs(selected="one")}

    async def _list(self, kept: Any, opened: Any) -> str:
        try:
            comparisons = await asyncio.to_thread(self.store.comparisons, read_visitor(kept).owner)
        except SwapboardError as error:
            tell(error, "Earlier comparisons cannot be shown")
            return ""
        return view.comparison_list(comparisons, str(opened or ""))

    async def _offer(self, picked: str | None, count: int, *values: Any) -> Updates:
        """The adapters there are when the tab is opened."""
        statuses = await asyncio.to_thread(self.service.adapters)
        return {**self.picker.offer(statuses, picked, values), **self.setup.offer(judges(statuses))}

    async def _judge(self, kept: Any, opened: Any, judge: str | None) -> Updates:
        """Show what a judge who has just been picked makes of the answers that stand there."""
        owner, untouched = read_visitor(kept).owner, {self.parts.question: gr.skip()}
        live = self.live.find(owner)
        if not opened or (live is not None and live.now.id == opened):
            return untouched
        try:
            record = await asyncio.to_thread(self.store.comparison, str(opened), owner)
            if record.is_hidden:
                inform("They come with the names, and stand under the answers to the next question.", "Rewards")
                return untouched
            if judge:
                record = await self.comparator.judge(record.id, owner, judge)
        except NotFound:
            return untouched
        except SwapboardError as error:
            tell(error, "The answers were not judged")
            return untouched
        board = from_record(record)
        return await self._answers(board if judge else board.rewarded({}))

    # Showing --------------------------------------------------------------------------------------

    async def _follow(self, owner: str, live: LiveComparison, request: gr.Request) -> AsyncIterator[Updates]:
        """Show a comparison while it is answered, then what was kept of it."""
        is_ours = self.views.take(str(request.session_hash))
        shown: list[str | None] = [""] * MOST
        board, is_kept = live.now, False
        yield {
            self.parts.question: gr.Textbox(submit_btn=False, stop_btn=True),
            self.parts.after: gr.Column(visible=False),
            **dict.fromkeys(self.parts.columns[len(board.columns) :], ""),
        }
        async for board in live.changes():
            if not is_ours():
                return
            updates = self.parts.show_columns(board, {}, shown)
            if board.id is not None and not is_kept:
                is_kept = True
                updates[self.opened] = board.id
            if updates:
                yield updates
        if board.error is not None:
            tell(board.error, "The comparison was not completed")
        try:
            if board.id is not None:
                board = from_record(await asyncio.to_thread(self.store.comparison, board.id, owner))
            updates = {**await self._answers(board), self.ended: board.id or ""}
        except SwapboardError as error:
            tell(error, "The answers cannot be shown as they were kept")
            updates = {self.parts.question: gr.Textbox(submit_btn=True, stop_btn=False)}
        if is_ours():
            yield updates

    async def _open(self, owner: str, comparison_id: str, request: gr.Request) -> Updates:
        """Show a comparison that is over, and make the fields say what it was asked with."""
        self.views.take(str(request.session_hash))
        try:
            board = from_record(await asyncio.to_thread(self.store.comparison, comparison_id, owner))
            shown = await self._settled(owner, board)
        except NotFound:
            return {self.opened: ""}
        except SwapboardError as error:
            tell(error, "The comparison cannot be shown")
            return {self.parts.question: gr.skip()}
        box = gr.Textbox(value=board.request.question, submit_btn=True, stop_btn=False)
        opened = {self.opened: comparison_id, self.parts.question: box}
        return {**self._restored(board), **self.verdicts.blank(), **shown, **opened}

    async def _answers(self, board: Board) -> Updates:
        """The columns of a comparison that is over. Their scores are computed beside the event loop."""
        scores = await asyncio.to_thread(lambda: board.scores)
        return {
            self.parts.question: gr.Textbox(submit_btn=True, stop_btn=False),
            **self.parts.show_columns(board, scores, [*(None for _ in range(MOST))]),
        }

    async def _settled(self, owner: str, board: Board) -> Updates:
        """Columns and votes of a comparison that is over. Raises StoreUnavailable."""
        verdicts = await asyncio.to_thread(self.verdicts.settled, owner, board)
        return {**await self._answers(board), self.parts.after: gr.Column(visible=board.is_over), **verdicts}

    def _restored(self, board: Board) -> Updates:
        """The fields as they were when this was asked."""
        request = board.request
        return {
            self.who: gr.Accordion(open=False),
            self.parts.question: gr.Textbox(value=request.question),
            self.parts.reference: write_references(request.references),
            self.parts.blind: request.blind,
            **self.setup.show(request),
            **self.picker.show(values_of(request.contestants), self.service.adapters()),
        }
