"""Summarisation: a text in one to three sentences."""

from __future__ import annotations

from assistant.training.tasks import summarisation
from assistant.training.tasks.summarisation import clean, clean_lines
from assistant.training.tasks.task import Record
from eval.tasks.interface import Measured, Prompt, Task, ask
from eval.tasks.scorers import Text

SYSTEM = "Provide a concise, objective summary of the input text in one or two sentences."
SHOTS = (
    (
        {
            "document": "Training deep networks with very large batches often costs accuracy. We show that the loss "
            "comes from a learning rate that grows too fast in the first epochs, and not from the batch size itself. "
            "With a longer warm-up, batches of 16,000 images reach the accuracy of small ones on two benchmarks, in "
            "a ninth of the time."
        },
        "With a longer warm-up of the learning rate, very large batches train as accurately as small ones and much "
        "faster.",
    ),
    (
        {
            "document": "The council of Ardmouth voted on Tuesday to close the old swimming pool on Quay Street after "
            "engineers found cracks in its roof. Around 300 people visit the pool each week. Councillor Jane Weir "
            "said repairs would cost two million pounds, money that the town does not have. A petition to save the "
            "pool has been signed by 4,000 residents, and swimmers plan to march to the town hall on Saturday."
        },
        "Ardmouth council has voted to close the Quay Street pool because of cracks in its roof. Residents have "
        "signed a petition and plan a march to save it.",
    ),
    (
        {
            "document": "Nora: are you coming to the rehearsal tonight?\nIlya: can't, my train is late again\n"
            "Nora: oh no. we start with your solo!\nIlya: start with the second song, I'll be there by 8\n"
            "Nora: ok, I'll tell Marta"
        },
        "Ilya's train is late, so he will come to the rehearsal by 8 and Nora will start with the second song.",
    ),
)


def document(record: Record) -> str:
    return clean_lines(record["document"])


def sentences(record: Record) -> str:
    return f"Summarise the following text in one or two sentences.\n\n{document(record)}"


def after(record: Record) -> str:
    return f"{document(record)}\n\nSummarize the text above in one sentence."


def headed(record: Record) -> str:
    return f"Text: {document(record)}\n\nSummary of the text in one or two sentences:"


SUMMARISATION = Task(
    summarisation.SUMMARISATION,
    (
        Measured(
            summarisation.DOCUMENT,
            Text(lambda record: [clean(summary) for summary in record["summaries"]]),
            (
                Prompt("system", "prompt", ask(document, system=SYSTEM)),
                Prompt("sentences", "prompt", ask(sentences)),
                Prompt("after", "prompt", ask(after)),
                Prompt("headed", "prompt", ask(headed)),
                Prompt("turns-system", "few-shot", ask(document, SHOTS, system=SYSTEM)),
                Prompt("turns", "few-shot", ask(sentences, SHOTS)),
                Prompt("turns-headed", "few-shot", ask(headed, SHOTS)),
            ),
            max_tokens=128,
            repetition_penalty=1.05,
        ),
    ),
)
