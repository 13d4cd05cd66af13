"""Tokenizer → what each token writes, in bytes."""

from __future__ import annotations

import re

from transformers import PreTrainedTokenizerBase
from transformers.convert_slow_tokenizer import bytes_to_unicode

from assistant.engine.spans import Vocabulary
from assistant.errors import BaseModelError

PROBE = "A naïve 日本 probe, 12:30."
BYTE = re.compile(r"<0x([0-9A-F]{2})>")


def read_vocabulary(tokenizer: PreTrainedTokenizerBase) -> Vocabulary:
    """Every token but the special and added ones.

    Raises:
        BaseModelError: the tokens do not write what the tokenizer reads.
    """
    decoder = repr(getattr(tokenizer, "backend_tokenizer", tokenizer).decoder)
    # A byte-level tokenizer spells each byte as one printable character, others a space as U+2581.
    spelling = {character: byte for byte, character in bytes_to_unicode().items()} if "ByteLevel" in decoder else None
    added = set(tokenizer.added_tokens_decoder)
    written = {id: _bytes(token, spelling) for token, id in tokenizer.get_vocab().items() if id not in added}
    probe = b"".join(written.get(id, b"") for id in tokenizer(PROBE, add_special_tokens=False)["input_ids"])
    if probe not in (PROBE.encode(), b" " + PROBE.encode()):
        raise BaseModelError(
            f"{type(tokenizer).__name__} writes {probe!r} for {PROBE!r}; "
            "allowed for span constraints: byte-level tokenizers, and those with byte fallback"
        )
    tokens: dict[bytes, int | None] = {}
    # Of two tokens that write the same, the one that is no mere byte is what the tokenizer itself would take.
    names = {id: token for token, id in tokenizer.get_vocab().items()}
    for id in sorted(written, key=lambda id: BYTE.fullmatch(names[id]) is not None):
        data = written[id]
        for end in range(1, len(data)):
            tokens.setdefault(data[:end], None)
        if data and tokens.get(data) is None:
            tokens[data] = id
    return Vocabulary(tokens, leads_with_space=probe[:1] == b" ")


def _bytes(token: str, spelling: dict[str, int] | None) -> bytes:
    if spelling is not None:
        return bytes(spelling[character] for character in token)
    if byte := BYTE.fullmatch(token):
        return bytes([int(byte[1], 16)])
    return token.replace("\u2581", " ").encode()
