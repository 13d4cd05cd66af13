"""Every task that can be trained, by name."""

from __future__ import annotations

from assistant.training.tasks.asking import ASKING
from assistant.training.tasks.legal import LEGAL
from assistant.training.tasks.medical import MEDICAL
from assistant.training.tasks.moderation import MODERATION
from assistant.training.tasks.qa import QA
from assistant.training.tasks.sentiment import SENTIMENT
from assistant.training.tasks.summarisation import SUMMARISATION
from assistant.training.tasks.task import Task
from assistant.training.tasks.translation import TRANSLATION

SINGLE = (QA, SENTIMENT, SUMMARISATION, LEGAL, MEDICAL, MODERATION, TRANSLATION)

INSTRUCT = Task(
    name="instruct",
    description="Follows instructions for all tasks of the other adapters: answering from a passage, judging, "
    "summarising, explaining, translating.",
    kinds=tuple(kind.instructed() for task in SINGLE for kind in task.kinds),
    template=None,
    # It is asked for by name: the router prefers the adapter trained for the one task.
    card_examples=(),
    decoding={"temperature": 0, "max_tokens": 128},
    soft_prompt_text="Follow the instruction exactly and answer as briefly as it asks.",
)

TASKS = {task.name: task for task in (*SINGLE, ASKING, INSTRUCT)}
