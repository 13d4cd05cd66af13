"""Answers that are kept as they come, so that a run that was cut off goes on where it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assistant.catalog import Adapter
from assistant.errors import EvaluationError
from assistant.messages import ChatRequest
from assistant.training.tasks.task import Record

Answer = Mapping[str, Any]
"""One answer of one mode, judged: see `eval.comparing.run`."""


class Answers:
    """A JSON lines file. Each answer goes by what was asked of whom and judged by which record; a change of any asks again.

    A change of the code does not: each answer has the `commit` of the code that asked for it.
    """

    def __init__(self, path: Path, commit: str | None) -> None:
        """`commit` is that of the code that asks now. Raises EvaluationError where the file cannot be read, or holds
        something else."""
        self.path, self.commit = path, commit
        self._kept: dict[str, Answer] = {}
        if not path.exists():
            return
        lines = path.read_bytes().split(b"\n")
        # Without its line break the last line was cut off while it was written; its answer is asked for again.
        whole = b"".join(line + b"\n" for line in lines[:-1])
        if lines[-1]:
            path.write_bytes(whole)
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                row = json.loads(line)
                self._kept[row["key"]] = row["answer"]
            except (ValueError, TypeError, KeyError) as error:
                raise EvaluationError(
                    f"{path}:{number}: no answer of a comparison; delete the file to ask anew"
                ) from error

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: str) -> Answer | None:
        return self._kept.get(key)

    def add(self, answers: Mapping[str, Answer]) -> None:
        """Keep them on disk, with the commit."""
        answers = {key: {**answer, "commit": self.commit} for key, answer in answers.items()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            for key, answer in answers.items():
                file.write(json.dumps({"key": key, "answer": answer}, ensure_ascii=False) + "\n")
        self._kept |= answers


def digest(*parts: object) -> str:
    """One name for all of it."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def key_of(request: ChatRequest, section: str, record: Record, base: str, adapter: Adapter | None, corpus: str) -> str:
    """What was asked, of which weights, and of which documents.

    Args:
        record: what the answer is judged by: records with another passage and answer may ask the same question.
        base: digest of the base's weights and of the type they are computed in.
        adapter: who answers, unless it is the base; how its card has it asked counts too.
        corpus: digest of the documents and of the models that search them. The id of their collection is another one
            in every run and does not count.
    """
    asked = request.model_dump(mode="json", exclude={"retrieval": {"collections"}}, exclude_unset=True)
    served = [adapter.digest, adapter.card.model_dump(mode="json", include={"template", "decoding"})] if adapter else []
    # Unset, the number of passages is what it is by default: it counts all the same.
    searched = [corpus, request.retrieval.top_k] if request.retrieval else []
    return digest(section, asked, record, base, served, searched)
