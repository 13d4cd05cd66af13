"""Medical: research questions, health questions, abbreviations and prescription lines."""

from __future__ import annotations

from assistant.training.tasks import medical
from assistant.training.tasks.task import Record
from eval.tasks.interface import Measured, Prompt, Task, ask, ask_in_one_message
from eval.tasks.scorers import Label, Span, Text, accepted_missing

RESEARCH_SHOTS = (
    (
        {
            "context": "Two hundred adults with chronic back pain were given yoga classes or a booklet for twelve "
            "weeks. Pain fell by 2.1 points in the yoga group and by 0.4 in the booklet group (p < 0.001).",
            "question": "Does yoga reduce chronic back pain?",
        },
        "yes",
    ),
    (
        {
            "context": "We compared 310 children who took vitamin C every day in winter with 305 who took a placebo. "
            "Each group had 1.9 colds per child (p = 0.94).",
            "question": "Does vitamin C prevent colds in children?",
        },
        "no",
    ),
    (
        {
            "context": "Of 24 patients treated with the new drug 11 improved, against 7 of 23 with the old one "
            "(p = 0.27). The effect was seen in women only, and larger trials are needed.",
            "question": "Is the new drug better than the old one?",
        },
        "maybe",
    ),
)
CONCLUSION_SHOTS = (
    (RESEARCH_SHOTS[0][0], "Yoga classes reduce chronic back pain more than written advice does."),
    (RESEARCH_SHOTS[1][0], "Vitamin C taken every day does not prevent colds in children."),
)
VERDICT_SHOTS = tuple(
    ({"long_answer": conclusion, "question": record["question"]}, label)
    for (record, label), conclusion in zip(
        RESEARCH_SHOTS,
        (
            "Yoga classes reduce chronic back pain more than written advice does.",
            "Vitamin C taken every day does not prevent colds in children.",
            "The new drug may help some patients, but larger trials are needed.",
        ),
        strict=True,
    )
)
HEALTH_SHOTS = (
    (
        {"question": "What causes iron deficiency anaemia?"},
        "Iron deficiency anaemia occurs when the body has too little iron to make healthy red blood cells. The usual "
        "causes are blood loss, for example from heavy periods or a bleeding ulcer, too little iron in the diet, and "
        "diseases of the bowel that keep iron from being absorbed.",
    ),
    (
        {"question": "What are the symptoms of shingles?"},
        "The first sign of shingles is usually burning or tingling pain on one side of the body. A few days later a "
        "rash of small blisters appears in the same place. Some people also have a fever, a headache or feel tired. "
        "The blisters dry out within seven to ten days.",
    ),
)
ABBREVIATION_SHOTS = (
    ({"abbreviation": "BP"}, "blood pressure"),
    ({"abbreviation": "SOB"}, "shortness of breath"),
    ({"abbreviation": "CABG"}, "coronary artery bypass graft"),
    ({"abbreviation": "NKDA"}, "no known drug allergies"),
)
PRESCRIPTION_SHOTS = (
    ({"prescription": "1 cap po bid"}, "1 capsule by mouth twice a day."),
    ({"prescription": "2 gtt os q6h prn"}, "2 drops in the left eye every six hours, as needed."),
    ({"prescription": "1 tsp po tid ac"}, "1 teaspoon by mouth three times a day, before meals."),
    ({"prescription": "ii tab po qd hs x 10 d"}, "2 tablets by mouth once a day, at bedtime, for 10 days."),
)


def one_word(record: Record) -> str:
    return (
        f"Abstract: {record['context']}\n\nQuestion: {record['question']}\n\n"
        "Answer the question with one word: yes, no or maybe."
    )


def verdict(record: Record) -> str:
    return f"{record['context']}\n\n{record['question']}\nAnswer (yes, no or maybe):"


def concluded(record: Record) -> str:
    return (
        f"Conclusion of a study: {record['long_answer']}\n\nQuestion: {record['question']}\n\n"
        "Answer the question with one word: yes, no or maybe."
    )


def sums_up(record: Record) -> str:
    return f"{record['long_answer']}\n\n{record['question']}\nAnswer (yes, no or maybe):"


def conclude(record: Record) -> str:
    return (
        f"Abstract: {record['context']}\n\nQuestion: {record['question']}\n\n"
        "Write the conclusion of the study in one or two sentences."
    )


def concluding(record: Record) -> str:
    return f"{record['context']}\n\n{record['question']}\nConclusion:"


def question(record: Record) -> str:
    return medical.question(record["question"])


def asked_for_a_word(record: Record) -> str:
    return f"{question(record)}\nAnswer the question with one word: yes, no or maybe."


def yes_no_maybe(record: Record) -> str:
    return f"{question(record)}\nYes, no or maybe?"


def asked_to_conclude(record: Record) -> str:
    return f"{question(record)}\nWrite the conclusion of the study in one or two sentences."


def what_follows(record: Record) -> str:
    return f"{question(record)}\nWhat can be concluded?"


def patient(record: Record) -> str:
    return f"Answer this health question for a patient, in a few sentences: {question(record)}"


def stands_for(record: Record) -> str:
    return f"What does the medical abbreviation {record['abbreviation']} stand for? Write the full term only."


def full_term(record: Record) -> str:
    return f"Medical abbreviation: {record['abbreviation']}\nFull term:"


def written_out(record: Record) -> str:
    return f"Write out this prescription in plain words: {record['prescription']}"


def in_words(record: Record) -> str:
    return f"Prescription: {record['prescription']}\nIn plain words:"


TERMS = "Write out the last medical abbreviation, like the others."
LINES = "Write out the last prescription in plain words, like the others."

MEDICAL = Task(
    medical.MEDICAL,
    (
        Measured(
            medical.RESEARCH,
            Label(medical.VERDICTS),
            (
                Prompt("one-word", "prompt", ask(one_word)),
                Prompt("verdict", "prompt", ask(verdict)),
                Prompt("turns-one-word", "few-shot", ask(one_word, RESEARCH_SHOTS)),
                Prompt("turns-verdict", "few-shot", ask(verdict, RESEARCH_SHOTS)),
                Prompt("one-word", "rag", ask(asked_for_a_word)),
                Prompt("plain", "rag", ask(yes_no_maybe)),
            ),
            max_tokens=24,
        ),
        Measured(
            medical.CONCLUSION,
            Text(lambda record: [" ".join(record["long_answer"].split())]),
            (
                Prompt("conclude", "prompt", ask(conclude)),
                Prompt("conclusion", "prompt", ask(concluding)),
                Prompt("turns", "few-shot", ask(conclude, CONCLUSION_SHOTS)),
                Prompt("conclude", "rag", ask(asked_to_conclude)),
                Prompt("plain", "rag", ask(what_follows)),
            ),
            max_tokens=128,
            repetition_penalty=1.1,
        ),
        Measured(
            medical.VERDICT,
            Label(medical.VERDICTS),
            (
                Prompt("one-word", "prompt", ask(concluded)),
                Prompt("verdict", "prompt", ask(sums_up)),
                Prompt("turns-one-word", "few-shot", ask(concluded, VERDICT_SHOTS)),
            ),
            max_tokens=24,
        ),
        Measured(
            medical.HEALTH,
            Text(lambda record: [" ".join(record["answer"].split())]),
            (
                Prompt("question", "prompt", ask(question)),
                Prompt("patient", "prompt", ask(patient)),
                Prompt("turns", "few-shot", ask(question, HEALTH_SHOTS)),
            ),
            max_tokens=256,
            repetition_penalty=1.1,
        ),
        Measured(
            medical.ABBREVIATION,
            # A quarter of the abbreviations in use have several meanings; a record may list them all.
            Span(lambda record: record.get("meanings", [record["meaning"]])),
            (
                Prompt("stands-for", "prompt", ask(stands_for)),
                Prompt("full-term", "prompt", ask(full_term)),
                Prompt("turns-full-term", "few-shot", ask(full_term, ABBREVIATION_SHOTS)),
                Prompt("turns-stands-for", "few-shot", ask(stands_for, ABBREVIATION_SHOTS)),
                Prompt("list", "few-shot", ask_in_one_message(TERMS, full_term, ABBREVIATION_SHOTS)),
            ),
            max_tokens=32,
            check=lambda record: accepted_missing(record, "meanings") if "meanings" in record else None,
        ),
        Measured(
            medical.PRESCRIPTION,
            Span(lambda record: [record["reading"]]),
            (
                Prompt("written-out", "prompt", ask(written_out)),
                Prompt("in-words", "prompt", ask(in_words)),
                Prompt("turns-in-words", "few-shot", ask(in_words, PRESCRIPTION_SHOTS)),
                Prompt("list", "few-shot", ask_in_one_message(LINES, in_words, PRESCRIPTION_SHOTS)),
            ),
            max_tokens=64,
        ),
    ),
)
