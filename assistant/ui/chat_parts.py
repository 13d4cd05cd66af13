"""What the Chat tab is made of, and where it stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from assistant.messages import AUTO
from assistant.retrieval.records import Collection
from assistant.service import AdapterStatus
from assistant.ui import render
from assistant.ui.controls import RetrievalControls, build_controls
from assistant.ui.history import History
from assistant.ui.rating_panel import RatingPanel
from assistant.ui.reward_panel import RewardPanel
from assistant.ui.visitor import browser_state

WELCOME = """<div class="sb-welcome"><h2>One model, many adapters</h2>
<p>Each message is answered by the adapter that suits it best. Pick one yourself below, or let <b>Auto</b> choose.</p></div>"""


class ChatParts:
    """The components, built inside the current Blocks. `returned` holds a text on its way back to the composer.

    `turn_ids` are those of the exchanges that this page shows, None for one that is not kept: in another tab the
    conversation may be another by now, while events of the chat tell no more than a place.
    """

    def __init__(
        self,
        statuses: Sequence[AdapterStatus],
        collections: Sequence[Collection],
        history: History,
        rating: RatingPanel,
        reward: RewardPanel,
    ) -> None:
        self.browser = browser_state()
        self.returned = gr.Textbox(visible=False)
        self.turn_ids = gr.JSON([], visible=False)
        with gr.Row(elem_id="chat-columns"):
            with gr.Column(elem_id="chat-side", scale=0, min_width=250):
                history.build()
            with gr.Column(elem_id="chat-main", scale=1, min_width=0):
                self.chatbot = gr.Chatbot(
                    show_label=False,
                    elem_id="chat-log",
                    height="100%",
                    layout="bubble",
                    buttons=["copy"],
                    editable="user",
                    placeholder=WELCOME,
                    examples=render.examples(statuses),
                    container=False,
                )
                self.composer = gr.Textbox(
                    show_label=False,
                    placeholder="Ask something (Enter sends)",
                    lines=1,
                    max_lines=8,
                    submit_btn=True,
                    autofocus=True,
                    container=False,
                    elem_id="composer",
                )
                with gr.Row(elem_id="chat-options"):
                    gr.Button("Conversations", size="sm", elem_id="open-drawer", scale=0, min_width=120)
                    self.picker = gr.Dropdown(
                        render.adapter_choices(statuses),
                        value=AUTO,
                        label="Adapter",
                        show_label=False,
                        container=False,
                        allow_custom_value=True,
                        elem_id="adapter-picker",
                        min_width=220,
                    )
                    self.from_documents = gr.Checkbox(
                        label="Answer from documents",
                        value=False,
                        container=False,
                        scale=0,
                        min_width=210,
                        elem_id="from-documents",
                    )
                self.retrieval = RetrievalControls(collections)
                with gr.Accordion("System prompt and decoding", open=False, elem_classes="sb-fold", elem_id="settings"):
                    self.system = gr.Textbox(
                        label="System prompt",
                        info="Stands before the conversation; left empty, the adapter's own is used.",
                        lines=2,
                        max_lines=10,
                        elem_id="system-prompt",
                    )
                    gr.HTML(
                        '<p class="sb-hint">What is left empty below is decided by the adapter that answers.</p>',
                        apply_default_css=False,
                    )
                    self.controls = build_controls()
        rating.build()
        reward.build()
        self.shown: list[Any] = [self.chatbot, self.composer, self.returned, self.browser, self.picker, self.system]
        """Whatever showing a conversation may change."""
        self.shown += [self.turn_ids, history.listing, history.tools, *self.documents, self.retrieval.row]

    @property
    def settings(self) -> list[Any]:
        """What a request is made of beside its text."""
        return [self.picker, self.system, *self.documents, *self.controls]

    @property
    def documents(self) -> list[Any]:
        """What `read_retrieval` takes the values of."""
        return [self.from_documents, self.retrieval.collections, self.retrieval.top_k]
