"""The reader: a document beside whatever is open, at the place that a link pointed at."""

from __future__ import annotations

import asyncio
from typing import Any

import gradio as gr

from assistant.errors import SwapboardError
from assistant.retrieval.library import Library
from assistant.ui import document_view as view

LINKS = """
// Wherever a passage is shown on the page, its link opens the reader, and a citation leads to its passage.
document.addEventListener('click', (event) => {
    if (event.target.closest('#reader .sb-close')) { props.value = ''; return; }
    const link = event.target.closest('a[href^="#sb-"]');
    if (!link) return;
    event.preventDefault();
    const href = link.getAttribute('href');
    if (href.startsWith('#sb-open/')) { trigger('select', {index: href, value: href}); return; }
    const passage = document.getElementById(href.slice(1));
    if (!passage) return;
    passage.open = true;
    passage.scrollIntoView({block: 'nearest', behavior: 'smooth'});
    const text = passage.querySelector('blockquote');
    const cited = text && text.querySelector('mark');
    if (cited) text.scrollTop += cited.getBoundingClientRect().top - text.getBoundingClientRect().top - 8;
    passage.classList.remove('sb-flash');
    void passage.offsetWidth;
    passage.classList.add('sb-flash');
});
document.addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && props.value) props.value = '';
});
watch('value', () => {
    const reading = element.querySelector('.sb-reading');
    if (!reading) return;
    const here = reading.querySelector('mark') || reading.querySelector('.sb-here');
    if (here) here.scrollIntoView({block: 'center'});
    element.querySelector('.sb-close').focus({preventScroll: true});
});
"""


class Reader:
    """Builds the panel inside the current Blocks; any `Place.link` on the page opens it."""

    def __init__(self, library: Library) -> None:
        self.library = library

    def build(self) -> None:
        self.panel = gr.HTML("", elem_id="reader", apply_default_css=False, js_on_load=LINKS)

    def connect(self) -> None:
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        self.panel.select(self._open, None, self.panel, **quiet)

    async def _open(self, event: gr.SelectData) -> str:
        place = view.read_place(str(event.value))
        if place is None:
            return view.missing("the link leads nowhere")
        return await asyncio.to_thread(self._read, place)

    def _read(self, place: view.Place) -> str:
        try:
            document = self.library.document(place.document)
            text, outline = self.library.text(place.document), self.library.outline(place.document)
        except SwapboardError as error:
            return view.missing(str(error))
        return view.reading(document, text, outline, place)
