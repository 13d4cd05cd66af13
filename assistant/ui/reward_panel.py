"""What a reward adapter makes of an answer of the chat, in a drawer: any link to `#sb-reward/…` opens it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import gradio as gr

from assistant.errors import InvalidRequest, NotFound, SwapboardError
from assistant.feedback.records import Turn
from assistant.feedback.store import Store, shorten
from assistant.messages import Message
from assistant.service import ChatService
from assistant.ui.compare_view import ONLY_DIFFERENCES, reward_text
from assistant.ui.contestants import judges
from assistant.ui.history import Updates
from assistant.ui.markup import one_line
from assistant.ui.toast import tell
from assistant.ui.visitor import read_visitor

LINKS = """
document.addEventListener('click', (event) => {
    const link = event.target.closest('a[href^="#sb-reward/"]');
    if (!link) return;
    event.preventDefault();
    const id = link.getAttribute('href').slice('#sb-reward/'.length);
    trigger('select', {index: id, value: id});
});
"""
EXCERPT = 160

Judged = dict[str, dict[str, Any]]
"""By turn: the question with all before it, the excerpt, and the rewards by judge."""


class RewardPanel:
    """Builds the drawer inside the current Blocks. What was judged before is shown beside, to be compared with."""

    def __init__(self, service: ChatService, store: Store) -> None:
        self.service = service
        self.store = store

    def build(self) -> None:
        self.links = gr.HTML("", elem_id="reward-links", apply_default_css=False, js_on_load=LINKS)
        self.turn = gr.State("")
        self.judged = gr.State({})
        with gr.Column(visible=False, elem_id="reward-drawer", elem_classes="sb-drawer") as self.panel:
            with gr.Row(elem_classes="sb-panel-head"):
                gr.HTML("<h3>Reward of this answer</h3>", elem_classes="sb-heading", apply_default_css=False)
                self.close = gr.Button("Close", size="sm", min_width=80, scale=0, elem_classes="sb-drawer-close")
            self.about = gr.HTML(apply_default_css=False)
            with gr.Row(elem_classes="sb-fields"):
                self.judge = gr.Dropdown([], label="Reward by", elem_id="reward-judge")
            self.told = gr.HTML(apply_default_css=False, elem_id="reward-told")

    def connect(self, browser: gr.BrowserState) -> None:
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        shown = [self.turn, self.judged, self.panel, self.about, self.judge, self.told]
        self.links.select(self._open, [browser, self.judge, self.judged], shown, **quiet)
        self.judge.input(self._pick, [browser, self.turn, self.judge, self.judged], shown, **quiet)
        self.close.click(lambda: gr.Column(visible=False), None, self.panel, **quiet)

    async def _open(self, event: gr.SelectData, kept: Any, judge: str | None, judged: Judged) -> Updates:
        names = judges(await asyncio.to_thread(self.service.adapters))
        judge = judge if judge in names else next(iter(names), None)
        updates = await self._pick(kept, str(event.value), judge, judged)
        return {**updates, self.judge: gr.Dropdown(choices=names, value=judge)} if self.told in updates else updates

    async def _pick(self, kept: Any, turn_id: str, judge: str | None, judged: Judged) -> Updates:
        try:
            if judge is None:
                raise InvalidRequest("there is no reward adapter here any more")
            turn = await asyncio.to_thread(self._turn, kept, turn_id)
            said = tuple(Message.model_validate(message) for message in turn.request["messages"])
            [score] = await self.service.score(judge, [(*said, Message(role="assistant", content=turn.text))])
        except SwapboardError as error:
            tell(error, "This answer was not judged")
            return {self.panel: gr.skip()}
        known = judged.get(turn_id, {})
        answer = shorten(turn.text, EXCERPT)
        about = {"said": [one.model_dump() for one in said], "text": answer}
        judged = {**judged, turn_id: {**about, "rewards": {**known.get("rewards", {}), judge: score}}}
        question = one_line(shorten(turn.user_text, EXCERPT))
        return {
            self.turn: turn_id,
            self.judged: judged,
            self.panel: gr.Column(visible=True),
            self.about: f'<p class="sb-rated"><b>{question}</b><br>{one_line(answer)}</p>',
            self.told: reward_html(judged, turn_id, judge),
        }

    def _turn(self, kept: Any, turn_id: str) -> Turn:
        """The visitor's own answer. Raises NotFound."""
        visitor = read_visitor(kept)
        for turn in self.store.conversation(visitor.conversation, visitor.owner).turns:
            if turn.id == turn_id:
                return turn
        raise NotFound("this answer is not in the conversation any more")


def reward_html(judged: Judged, turn_id: str, judge: str) -> str:
    """The reward of one answer, and those of other answers to the same, highest first."""
    this = judged[turn_id]
    others: Sequence[tuple[float, str]] = sorted(
        (
            (one["rewards"][judge], one["text"])
            for id, one in judged.items()
            if id != turn_id and one["said"] == this["said"] and judge in one["rewards"]
        ),
        reverse=True,
    )
    value = reward_text(this["rewards"][judge])
    figure = f"<div><dt>Reward by {one_line(judge)}</dt><dd>{value}</dd></div>"
    items = "".join(f"<li><b>{reward_text(score)}</b> {one_line(text)}</li>" for score, text in others)
    before = f'<p class="sb-told">Other answers to this, as you had them judged:</p><ul>{items}</ul>' if items else ""
    return f'<dl class="sb-figures sb-scores sb-rewards">{figure}<small>{ONLY_DIFFERENCES}</small></dl>{before}'
