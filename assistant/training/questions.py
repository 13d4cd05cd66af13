"""Makes training questions from passages that have none, or few: one adapter asks, another must agree.

`python -m assistant.training.questions --asker runs/asker --checker adapters/qa --data PATH… --each 6 --out made.jsonl`

The asker (task `asking`) draws pairs of question and answer. A pair is kept where the answer stands in the passage and
the checker (task `qa`) gives it at least a certain probability: round-trip consistency (Alberti et al. 2019,
arXiv:1906.05416). The records are those of task `qa`.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from peft import PeftModel

from assistant.base_model import Base, load_base
from assistant.catalog import CARD_FILE, Card
from assistant.errors import DataError, SettingsError, SwapboardError
from assistant.messages import Message
from assistant.prompt import Prompter
from assistant.settings import load_settings
from assistant.training.data import Example, how_many, json_lines, sample
from assistant.training.mixture import base_losses
from assistant.training.options import finite, positive
from assistant.training.publish import why_not_written, write_whole
from assistant.training.tasks import asking, qa
from assistant.training.tasks.task import Record

log = logging.getLogger(__name__)

FIELDS = ("context", "document")
"""Where passages are looked for in a record."""

LONGEST_ANSWER = 12
"""Words."""


def main(arguments: Sequence[str] | None = None) -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options = parse(arguments)
    try:
        make(options)
    except SwapboardError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m assistant.training.questions", description="Make questions.")
    add = parser.add_argument
    add("--asker", type=Path, required=True, help="adapter of task asking, which draws questions and answers")
    add("--checker", type=Path, required=True, help="adapter of task qa, which has to agree")
    add("--data", nargs="+", required=True, metavar="PATH[#N]", help="JSON lines with passages; with #N, N of them")
    add("--fields", nargs="+", default=FIELDS, help="where the passage is; the first field that a record has")
    add("--each", type=positive(int), default=4, help="pairs drawn for each passage")
    add("--agreement", type=finite, default=0.3, metavar="P", help="probability the checker must give the answer")
    add("--max-tokens", type=positive(int), default=512, help="longer passages are left out")
    add("--batch", type=positive(int), default=64, help="passages drawn for at a time")
    add("--seed", type=int, default=0)
    add("--out", type=Path, required=True, help="JSON lines file to write")
    return parser.parse_args(arguments)


def make(options: argparse.Namespace) -> None:
    """Write the file, whole or not at all.

    Raises:
        DataError: a file cannot be read, or holds no passage that is short enough; or no usable pair was drawn.
        SettingsError: an adapter is of another task or base, the agreement is no probability, or the file cannot be
            written.
    """
    if not 0 <= options.agreement <= 1:
        raise SettingsError(f"--agreement {options.agreement}: allowed are probabilities from 0 to 1")
    # Before anything is drawn: that may take hours, and all of it would be lost.
    if (fault := why_not_written(options.out)) is not None:
        raise SettingsError(f"--out {options.out}: {fault}")
    settings = load_settings()
    base = load_base(settings.base, settings.dtype, settings.data_dir, "auto")
    cards = {"asker": read_card(options.asker, "asking", base), "checker": read_card(options.checker, "qa", base)}
    model = PeftModel.from_pretrained(base.model, str(options.asker), adapter_name="asker")
    model.load_adapter(str(options.checker), adapter_name="checker")
    prompter = Prompter(base.tokenizer)
    passages = read_passages(options.data, options.fields, prompter, options.max_tokens, options.seed)
    torch.manual_seed(options.seed)
    model.set_adapter("asker")
    pairs: dict[tuple[str, str], str] = {}
    for number, part in enumerate(in_batches(passages, options.batch, prompter), start=1):
        for passage, text in draw(model, base, prompter, cards["asker"], part, options.each):
            if (pair := usable(passage, text)) is not None:
                pairs.setdefault((passage, pair[0]), pair[1])
        log.info("batch %d: %d usable pairs so far", number, len(pairs))
    drawn = len(passages) * options.each
    if not pairs:
        raise DataError(
            f"{' '.join(options.data)}: of {drawn} texts drawn none is a question with an answer from its passage; "
            "raise --each, or give an --asker that was trained longer"
        )
    records = [{"context": passage, "question": question, "answers": [a]} for (passage, question), a in pairs.items()]
    model.set_adapter("checker")
    agreed = check(model, base, prompter, cards["checker"], records, options.agreement)
    write(options.out, agreed)
    log.info(
        "%d passages, %d drawn, %d usable, %d agreed upon: %s",
        len(passages),
        drawn,
        len(pairs),
        len(agreed),
        options.out,
    )


def read_card(folder: Path, task: str, base: Base) -> Card:
    """Raises SettingsError where the folder holds no adapter of that task for that base."""
    try:
        content = json.loads((folder / CARD_FILE).read_text(encoding="utf-8"))
        card = Card.model_validate(content)
    except (OSError, ValueError) as error:
        raise SettingsError(f"{folder}: no adapter with a card can be read there: {error}") from error
    if card.task != task:
        raise SettingsError(f"{folder}: its task is {card.task!r}; needed: {task!r}")
    if card.base_digest != base.digest:
        raise SettingsError(f"{folder}: it was made for base {card.base_name}; this is {base.name}")
    return card


def read_passages(
    sources: Sequence[str], fields: Sequence[str], prompter: Prompter, max_tokens: int, seed: int
) -> list[str]:
    """The different passages of the files, those of more than `max_tokens` tokens left out."""
    passages: list[str] = []
    for source in sources:
        place, _, count = source.partition("#")
        wanted = how_many(source, count)
        found: dict[str, None] = {}
        for where, record in json_lines(Path(place)):
            text = next((record[field] for field in fields if isinstance(record.get(field), str)), None)
            if text is None:
                raise DataError(f"{where}: no passage; looked for in {', '.join(fields)}")
            found[text.strip()] = None
        short = [text for text in found if text and len(prompter.encode(text)) <= max_tokens]
        log.info("%s: %d passages, %d longer than %d tokens", place, len(short), len(found) - len(short), max_tokens)
        passages += sample(short, wanted, seed)
    if not passages:
        raise DataError(f"{' '.join(sources)}: no passage of at most {max_tokens} tokens")
    return list(dict.fromkeys(passages))


def in_batches(passages: Sequence[str], size: int, prompter: Prompter) -> Iterator[list[str]]:
    """Passages of like length together."""
    ordered = sorted(passages, key=lambda text: len(prompter.encode(text)))
    for start in range(0, len(ordered), size):
        yield ordered[start : start + size]


@torch.inference_mode()
def draw(
    model: Any, base: Base, prompter: Prompter, card: Card, passages: Sequence[str], each: int
) -> Iterator[tuple[str, str]]:
    """(passage, what the asker wrote), `each` times for each passage."""
    prompts = [prompter.render([Message(role="user", content=text)], card.template) for text in passages]
    width = max(map(len, prompts))
    tokenizer = base.tokenizer
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    ids = torch.tensor([[pad] * (width - len(prompt)) + prompt for prompt in prompts], device=model.device)
    seen = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=model.device)
    decoding = card.decoding
    written = model.generate(
        input_ids=ids,
        attention_mask=seen,
        do_sample=True,
        temperature=decoding.get("temperature", 1.0),
        top_p=decoding.get("top_p", 1.0),
        top_k=0,
        max_new_tokens=decoding.get("max_tokens", 96),
        num_return_sequences=each,
        pad_token_id=pad,
        eos_token_id=sorted(base.stop_ids),
    )
    texts = tokenizer.batch_decode(written[:, width:], skip_special_tokens=True)
    yield from zip([passage for passage in passages for _ in range(each)], texts, strict=True)


def usable(passage: str, text: str) -> tuple[str, str] | None:
    """(question, answer) where the text is such a pair and the answer stands in the passage."""
    pair = asking.read(text)
    if pair is None or pair[1] not in passage or len(pair[1].split()) > LONGEST_ANSWER:
        return None
    return pair


def check(
    model: Any, base: Base, prompter: Prompter, card: Card, records: Sequence[Record], agreement: float
) -> list[Record]:
    """The records whose answer the checker gives with a probability of at least `agreement`."""
    form = qa.PASSAGE.forms[0]
    examples = []
    for record in records:
        turns = (Message(role="user", content=form(record)), Message(role="assistant", content=record["answers"][0]))
        prompt, answer = prompter.render_example(turns, card.template)
        examples.append(Example(tuple(prompt), tuple(answer)))
    pad = cast(int, base.tokenizer.eos_token_id)
    losses = base_losses(model, examples, pad, row_tokens=8192)
    return [
        record
        for record, example, loss in zip(records, examples, losses, strict=True)
        if math.exp(-loss * len(example.answer)) >= agreement
    ]


def write(path: Path, records: Sequence[Record]) -> None:
    """The file is there whole or not at all. Raises SettingsError where it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))
    except OSError as error:
        raise SettingsError(f"--out {path}: cannot be written: {error}") from error


if __name__ == "__main__":
    sys.exit(main())
