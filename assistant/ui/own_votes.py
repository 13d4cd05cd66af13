"""One's own votes: what is kept of a voter, taken out and deleted."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import gradio as gr

from assistant.errors import SwapboardError
from assistant.feedback.ballots import Ranking, Vote
from assistant.feedback.votes import VoteStore
from assistant.ui.history import SAVE_FILE, Updates
from assistant.ui.toast import inform, tell
from assistant.ui.visitor import read_visitor

WHO = (
    "<p>Who voted is a <b>random id that your browser keeps</b>, or the name that an API client sends. It is never an "
    "address, and nothing else is kept about you. Others see the votes themselves, with a pseudonym made from that id, "
    "which nobody can turn back into it.</p><p>If you clear this site’s data, your browser forgets the id: your votes stay, "
    "and nobody can show that they are yours. Take them out or delete them before.</p>"
)


class OwnVotes:
    """Builds its part of the tab inside the current Blocks."""

    def __init__(self, votes: VoteStore) -> None:
        self.votes = votes

    def build(self) -> None:
        gr.HTML(WHO, apply_default_css=False, elem_classes="sb-details", elem_id="own-who")
        self.count = gr.HTML(apply_default_css=False, elem_id="own-count")
        with gr.Row(elem_classes="sb-tools") as self.tools:
            self.save = gr.Button("Save my votes as JSON", size="sm", min_width=180, scale=0)
            self.delete = gr.Button("Delete all my votes", size="sm", min_width=180, scale=0)
        with gr.Group(visible=False, elem_id="own-delete-form") as self.form:
            gr.HTML(
                "<p>Delete everything you have said about answers, earlier votes and thumbs in the chat included, for "
                "good? The answers stay.</p>",
                elem_classes="sb-question",
                apply_default_css=False,
            )
            with gr.Row(elem_classes="sb-tools"):
                self.really_delete = gr.Button("Delete them all", variant="stop", size="sm", min_width=120, scale=0)
                self.keep = gr.Button("Keep them", size="sm", min_width=100, scale=0)
        self.document = gr.JSON(visible=False)

    def connect(self, browser: gr.BrowserState) -> None:
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        self.save.click(self._save, browser, self.document, **quiet).then(
            None, self.document, self.document, js=SAVE_FILE, **quiet
        )
        self.delete.click(lambda: gr.Group(visible=True), None, self.form, **quiet)
        self.keep.click(lambda: gr.Group(visible=False), None, self.form, **quiet)
        self.really_delete.click(self._delete, browser, [*self.outputs], **quiet)

    @property
    def outputs(self) -> list[Any]:
        return [self.count, self.tools, self.form]

    async def show(self, owner: str) -> Updates:
        """How much there is. Raises StoreUnavailable."""
        said = await asyncio.to_thread(self.votes.export_own, owner)
        counting = sum(vote.superseded_at is None for vote in said)
        told = f"You have said {_times(counting)} what you think of an answer or a comparison"
        told += f", and changed your mind {_times(len(said) - counting)}." if len(said) > counting else "."
        return {
            self.count: f"<p>{told if said else 'You have not voted yet.'}</p>",
            self.tools: gr.Row(visible=bool(said)),
            self.form: gr.Group(visible=False),
        }

    async def _save(self, kept: Any) -> dict[str, str] | None:
        try:
            said = await asyncio.to_thread(self.votes.export_own, read_visitor(kept).owner)
        except SwapboardError as error:
            tell(error)
            return None
        text = json.dumps([as_record(vote) for vote in said], ensure_ascii=False, indent=2)
        return {"name": "my-votes.json", "type": "application/json", "text": text}

    async def _delete(self, kept: Any) -> Updates:
        owner = read_visitor(kept).owner
        try:
            count = await asyncio.to_thread(self.votes.delete_own, owner)
            updates = await self.show(owner)
        except SwapboardError as error:
            tell(error, "Your votes were not deleted")
            return {self.form: gr.skip()}
        inform(f"{count} {'vote is' if count == 1 else 'votes are'} deleted.")
        return updates


def as_record(vote: Vote) -> dict[str, Any]:
    """A vote with everything that is kept about it, but for the voter's id, which is the reader's own."""
    return {
        "id": vote.id,
        "created_at": vote.created_at.isoformat(),
        "superseded_at": vote.superseded_at.isoformat() if vote.superseded_at else None,
        "was_blind": vote.was_blind,
        **vote.ballot.model_dump(mode="json"),
        **({"by_place": vote.by_place} if isinstance(vote.ballot, Ranking) else {}),
    }


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
