"""Every task whose examples are asked one by one, by name."""

from __future__ import annotations

from eval.tasks.chat import CHAT
from eval.tasks.legal import LEGAL
from eval.tasks.medical import MEDICAL
from eval.tasks.moderation import MODERATION
from eval.tasks.qa import QA
from eval.tasks.sentiment import SENTIMENT
from eval.tasks.summarisation import SUMMARISATION
from eval.tasks.translation import TRANSLATION

TASKS = {task.name: task for task in (QA, SENTIMENT, SUMMARISATION, LEGAL, MEDICAL, TRANSLATION, MODERATION, CHAT)}
