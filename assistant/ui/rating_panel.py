"""The rating of one answer, in a drawer beside whatever is open: any link to `#sb-rate/…` opens it."""

from __future__ import annotations

import asyncio
from typing import Any

import gradio as gr

from assistant.errors import InvalidRequest, SwapboardError
from assistant.feedback.store import Store, shorten
from assistant.feedback.votes import Rating, Vote, VoteStore
from assistant.ui.compare_view import moment
from assistant.ui.history import Updates
from assistant.ui.markup import one_line
from assistant.ui.rating import EMPTY, RatingForm, is_empty, rating_values, read_rating, summary
from assistant.ui.toast import tell
from assistant.ui.visitor import read_visitor

LINKS = """
document.addEventListener('click', (event) => {
    const link = event.target.closest('a[href^="#sb-rate/"]');
    if (!link) return;
    event.preventDefault();
    const id = link.getAttribute('href').slice('#sb-rate/'.length);
    trigger('select', {index: id, value: id});
});
document.addEventListener('keydown', (event) => {
    // In a field, Escape is the field's own: it closes a list of choices. Another tab may have left a drawer open, too.
    if (event.key !== 'Escape' || event.target.closest('input, textarea')) return;
    [...document.querySelectorAll('.sb-drawer .sb-drawer-close')].find((button) => button.checkVisibility())?.click();
});
"""
EXCERPT = 160
SHARED = "With the question and what was said before, your rating can be read by everyone who uses this server."


class RatingPanel:
    """Builds the drawer inside the current Blocks. What was typed for one answer is kept while another is rated."""

    def __init__(self, store: Store, votes: VoteStore) -> None:
        self.store = store
        self.votes = votes

    def build(self) -> None:
        self.links = gr.HTML("", elem_id="rate-links", apply_default_css=False, js_on_load=LINKS)
        self.rated = gr.State()
        self.drafts = gr.State({})
        with gr.Column(visible=False, elem_id="rating-drawer", elem_classes="sb-drawer") as self.panel:
            with gr.Row(elem_classes="sb-panel-head"):
                gr.HTML("<h3>Rate this answer</h3>", elem_classes="sb-heading", apply_default_css=False)
                self.close = gr.Button("Close", size="sm", min_width=80, scale=0, elem_classes="sb-drawer-close")
            self.about = gr.HTML(apply_default_css=False)
            self.form = RatingForm()
            self.form.build()
            with gr.Row(elem_classes="sb-tools"):
                self.save = gr.Button("Save the rating", variant="primary", size="sm", min_width=120, scale=0)
                self.clear = gr.Button("Clear", size="sm", min_width=80, scale=0)
            self.note = gr.HTML(apply_default_css=False, elem_id="rating-note")
            gr.HTML(f'<p class="sb-hint">{SHARED}</p>', apply_default_css=False)

    def connect(self, browser: gr.BrowserState, after: Any, inputs: list[Any], outputs: list[Any]) -> None:
        """`after` is called with `inputs` once a rating was saved, and gives updates of `outputs`."""
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        form = [self.rated, self.drafts, *self.form.fields]
        shown = [*form, self.panel, self.about, self.note]
        self.links.select(self._open, [browser, *form], shown, **quiet)
        self.save.click(self._save, [browser, *form], shown, **quiet).then(after, inputs, outputs, **quiet)
        self.clear.click(lambda: list(EMPTY), None, self.form.fields, **quiet)
        self.close.click(self._close, form, shown, **quiet)

    async def _open(
        self, event: gr.SelectData, kept: Any, rated: str | None, drafts: dict[str, Any], *rest: Any
    ) -> Updates:
        turn_id, owner = str(event.value), read_visitor(kept).owner
        drafts = {**drafts, rated: list(rest)} if rated and not is_empty(rest) else drafts
        try:
            turn = await asyncio.to_thread(self.store.turn, turn_id)
            history = await asyncio.to_thread(self.votes.history, owner, turn_id)
        except SwapboardError as error:
            tell(error, "This answer cannot be rated")
            return {self.panel: gr.skip()}
        said = history[-1].ballot if history else None
        values = drafts.get(turn_id) or rating_values(said if isinstance(said, Rating) else None)
        about = f"<b>{one_line(shorten(turn.user_text, EXCERPT))}</b><br>{one_line(shorten(turn.text, EXCERPT))}"
        return {
            self.rated: turn_id,
            self.drafts: drafts,
            self.panel: gr.Column(visible=True),
            self.about: f'<p class="sb-rated">{about}</p>',
            self.note: kept_note(history),
            **dict(zip(self.form.fields, values, strict=True)),
        }

    async def _save(self, kept: Any, rated: str | None, drafts: dict[str, Any], *values: Any) -> Updates:
        owner = read_visitor(kept).owner
        try:
            if not rated:
                raise InvalidRequest("pick the answer first")
            await asyncio.to_thread(self.votes.rate, owner, read_rating(rated, values))
        except SwapboardError as error:
            tell(error, "Your rating was not saved")
            told = one_line(f"Your rating was not saved: {error}")
            return {self.note: f'<p class="sb-refusal" role="alert">{told}</p>'}
        drafts = {turn_id: draft for turn_id, draft in drafts.items() if turn_id != rated}
        try:
            note = kept_note(await asyncio.to_thread(self.votes.history, owner, rated))
        except SwapboardError:
            note = '<p class="sb-vote" role="status">Your rating is saved.</p>'
        return {self.drafts: drafts, self.note: note}

    def _close(self, rated: str | None, drafts: dict[str, Any], *values: Any) -> Updates:
        if rated and not is_empty(values):
            drafts = {**drafts, rated: list(values)}
        return {self.panel: gr.Column(visible=False), self.rated: None, self.drafts: drafts}


def kept_note(history: list[Vote]) -> str:
    """What is kept of the visitor's ratings of one answer; `history` is oldest first."""
    if not history or not isinstance(last := history[-1].ballot, Rating):
        return ""
    told = "Your rating is taken back." if last.is_empty else f"Saved: {summary(last)}. Save again to change it."
    earlier = "".join(f"<li>{moment(vote.created_at)}: {one_line(_told(vote))}</li>" for vote in reversed(history[:-1]))
    before = (
        f"<details><summary>Said before ({len(history) - 1})</summary><ul>{earlier}</ul></details>" if earlier else ""
    )
    return f'<p class="sb-vote" role="status">{one_line(told)}</p>{before}'


def _told(vote: Vote) -> str:
    rating = vote.ballot
    return summary(rating) or "taken back" if isinstance(rating, Rating) else ""
