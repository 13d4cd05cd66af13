"""How the page looks: Gradio's own variables for colours and spacing, and one stylesheet beside this file."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

CSS = Path(__file__).with_name("page.css").read_text(encoding="utf-8")

POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:"
)
"""Model cards and answers are other people's words: an image in them must not tell another server who reads it."""

HEAD = f"""
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="color-scheme" content="light dark">
<script>
// Labels and passages are part of a message on the page, but not of what is copied from it; a citation is its number.
if (navigator.clipboard) {{
    const write = navigator.clipboard.writeText.bind(navigator.clipboard);
    navigator.clipboard.writeText = (text) =>
        write(text.replace(/<div class="sb-label[^]*?<\\/div>\\n?/g, '')
            .replace(/<section class="sb-sources"[^]*?<\\/section>\\n?/g, '')
            .replace(/<a class="sb-cite"[^>]*>(\\d+)<\\/a>/g, '$1').trim());
}}
// On a narrow screen the conversations are a drawer: a choice in it, or a click beside it, closes it.
document.addEventListener('click', (event) => {{
    const columns = document.getElementById('chat-columns');
    if (!columns) return;
    const side = event.target.closest('#chat-side');
    if (event.target.closest('#open-drawer')) columns.dataset.drawer = 'open';
    else if (!side || event.target.closest('[data-pick], #new-conversation')) delete columns.dataset.drawer;
}});
</script>
"""


def page_theme() -> gr.themes.Base:
    """Calm greys with one accent. The fonts are served by the page itself, so it needs no internet."""
    return gr.themes.Base(
        primary_hue=gr.themes.colors.indigo,
        neutral_hue=gr.themes.colors.slate,
        radius_size=gr.themes.sizes.radius_lg,
        spacing_size=gr.themes.sizes.spacing_md,
        text_size=gr.themes.sizes.text_md,
        # The half-bold cut that Gradio carries has only some of the letters.
        font=[gr.themes.LocalFont("IBM Plex Sans", weights=(400, 700)), "ui-sans-serif", "system-ui", "sans-serif"],
    ).set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_950",
        block_background_fill="white",
        block_background_fill_dark="*neutral_900",
        block_border_width="1px",
        block_shadow="none",
        block_shadow_dark="none",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_500",
        button_primary_background_fill_hover_dark="*primary_400",
        button_primary_text_color="white",
        input_background_fill="white",
        input_background_fill_dark="*neutral_900",
    )
