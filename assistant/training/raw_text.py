"""Raw text for continued pre-training: every token but the first of a piece is to be predicted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from assistant.errors import DataError
from assistant.prompt import Prompter
from assistant.training.data import Example, json_lines

KIND = "raw"


def raw_examples(paths: Sequence[Path], fields: Sequence[str], prompter: Prompter, max_tokens: int) -> list[Example]:
    """Text files, or JSON lines whose `fields` are joined, cut into pieces of at most `max_tokens` tokens.

    Every document ends with the end-of-turn token; a piece never runs from one document into the next.

    Raises:
        DataError: a file is absent or empty, or a field is missing or no text; names file and line.
    """
    examples = []
    for path in paths:
        found = [
            Example((piece[0],), tuple(piece[1:]), kind=KIND)
            for text in _documents(path, fields)
            for piece in _pieces(text, prompter, max_tokens)
        ]
        if not found:
            raise DataError(f"{path}: empty; allowed: text, or one JSON object per line")
        examples += found
    return examples


def _pieces(text: str, prompter: Prompter, max_tokens: int) -> Iterator[list[int]]:
    ids = [*prompter.encode(text), prompter.tokenizer.eos_token_id]
    for start in range(0, len(ids), max_tokens):
        # One token alone predicts nothing.
        if len(piece := ids[start : start + max_tokens]) > 1:
            yield piece


def _documents(path: Path, fields: Sequence[str]) -> Iterator[str]:
    if path.suffix != ".jsonl":
        try:
            text = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: cannot be read: {error}") from error
        yield from [text] if text else []
        return
    if not fields:
        raise DataError(f"{path}: JSON lines need --raw-fields: which fields hold the text")
    for where, record in json_lines(path):
        for name in fields:
            if not isinstance(record.get(name), str):
                raise DataError(f"{where}: {name} is {record.get(name)!r}; allowed: text")
        yield "\n\n".join(record[name] for name in fields)
