"""Medical: research questions, conclusions, health questions, abbreviations and prescription lines."""

from __future__ import annotations

from assistant.messages import PromptTemplate
from assistant.training.tasks.task import Kind, Record, Task, each, label_outside, words_missing

VERDICTS = ("yes", "no", "maybe")


def _check_research(record: Record) -> str | None:
    return words_missing(record, "context", "question") or label_outside(record, VERDICTS)


RESEARCH = Kind(
    name="research",
    fields=("context", "question", "label"),
    check=_check_research,
    forms=(
        lambda r: f"Abstract: {r['context']}\n\nQuestion: {r['question']}\n\nYes, no or maybe?",
        lambda r: f"{r['question']} Answer yes, no or maybe.\n\n{r['context']}",
        lambda r: f"Study: {r['context']}\n\nDoes it say yes, no or maybe to this: {r['question']}",
    ),
    instructions=(
        lambda r: (
            f"Abstract of a medical study: {r['context']}\n\nQuestion: {r['question']} "
            "Answer the question with one word: yes, no or maybe."
        ),
        lambda r: f"{r['context']}\n\nGoing by this study, yes, no or maybe: {r['question']}",
    ),
    answers=each(lambda r: r["label"]),
    group=lambda r: r["context"],
    label=lambda r: r["label"],
    plain_share=0.8,
)

CONCLUSION = Kind(
    name="conclusion",
    fields=("context", "question", "long_answer"),
    check=lambda r: words_missing(r, "context", "question", "long_answer"),
    forms=(
        lambda r: f"Abstract: {r['context']}\n\nQuestion: {r['question']}\n\nWhat can be concluded?",
        lambda r: f"{r['question']} Conclude from the study.\n\n{r['context']}",
        lambda r: f"Study: {r['context']}\n\nWhat does it conclude on this: {r['question']}",
    ),
    instructions=(
        lambda r: (
            f"Abstract of a medical study: {r['context']}\n\nQuestion: {r['question']} "
            "Write the conclusion of the study."
        ),
        lambda r: f"{r['context']}\n\nWhat does this study conclude on the question: {r['question']}",
    ),
    answers=each(lambda r: " ".join(r["long_answer"].split())),
    group=lambda r: r["context"],
    plain_share=0.8,
)
"""What the authors conclude. A record that has a label too is read as RESEARCH unless its source says
`conclusion=`."""

VERDICT = Kind(
    name="verdict",
    fields=("long_answer", "question", "label"),
    check=lambda r: words_missing(r, "long_answer", "question") or label_outside(r, VERDICTS),
    forms=(
        lambda r: f"Conclusion: {r['long_answer']}\n\nQuestion: {r['question']}\n\nYes, no or maybe?",
        lambda r: f"Abstract: {r['long_answer']}\n\nQuestion: {r['question']}\n\nYes, no or maybe?",
    ),
    instructions=(
        lambda r: (
            f"Conclusion of a medical study: {r['long_answer']}\n\nQuestion: {r['question']} "
            "Answer the question with one word: yes, no or maybe."
        ),
    ),
    answers=each(lambda r: r["label"]),
    # The study may stand among the abstracts, too.
    source=lambda r: r.get("context", ""),
    label=lambda r: r["label"],
    plain_share=0.5,
)
"""What the authors' own conclusion says to the question: easier than their figures, and learnt first."""

HEALTH = Kind(
    name="health",
    fields=("question", "answer"),
    check=lambda r: words_missing(r, "question", "answer"),
    forms=(lambda r: r["question"], lambda r: question(r["question"])),
    instructions=(
        lambda r: f"Answer this health question: {r['question']}",
        lambda r: f"{question(r['question'])} Explain it to a patient.",
    ),
    answers=each(lambda r: " ".join(r["answer"].split())),
)


def question(text: str) -> str:
    """No space before the question mark."""
    return text.replace(" ?", "?").strip()


ABBREVIATION = Kind(
    name="abbreviation",
    fields=("abbreviation", "meaning"),
    check=lambda r: words_missing(r, "abbreviation", "meaning"),
    forms=(
        lambda r: f"What does {r['abbreviation']} stand for in a medical record?",
        lambda r: f"Medical abbreviation: {r['abbreviation']}",
        lambda r: f"What does {r['abbreviation']} mean in my notes from the hospital?",
    ),
    instructions=(
        lambda r: f"What does the medical abbreviation {r['abbreviation']} stand for?",
        lambda r: f"Write out this clinical abbreviation: {r['abbreviation']}",
    ),
    answers=each(lambda r: r["meaning"].strip()),
)

PRESCRIPTION = Kind(
    name="prescription",
    fields=("prescription", "reading"),
    check=lambda r: words_missing(r, "prescription", "reading"),
    forms=(
        lambda r: r["prescription"],
        lambda r: f"What does this prescription say: {r['prescription']}",
        lambda r: f"Read this prescription: {r['prescription']}",
        lambda r: f'My doctor wrote "{r["prescription"]}". What does it mean?',
    ),
    instructions=(
        lambda r: f"Write out this prescription in plain words: {r['prescription']}",
        lambda r: f'A prescription says "{r["prescription"]}". What does it mean?',
    ),
    answers=each(lambda r: r["reading"]),
    plain_share=0.4,
)

MEDICAL = Task(
    name="medical",
    description="Answers questions about health, illness, treatment and medical studies, and reads prescriptions "
    "and clinical abbreviations.",
    kinds=(RESEARCH, CONCLUSION, VERDICT, HEALTH, ABBREVIATION, PRESCRIPTION),
    template=PromptTemplate(system="You answer medical questions and read medical notes.", single_turn=True),
    card_examples=(
        "What does this prescription say: 1 tab po bid pc",
        "amoxicillin 500 mg po tid x 7 d",
        "2 caps po qhs prn",
        "1 gtt ou qid x 5 d",
        "What does the abbreviation CABG stand for?",
        "What does SOB mean in my notes from the hospital?",
        "My ears have been ringing since the concert, will it go away?",
        "What does a raised white blood cell count mean?",
        "How is a urinary tract infection treated?",
        "What are the first signs of measles in a baby?",
        "Is it normal to feel sick after an anaesthetic?",
        "Which exercises help with a stiff neck?",
        "How does insulin work in the body?",
        "What is the difference between a cold and pneumonia?",
        "I fainted this morning and my heart was racing.",
        "Can I take painkillers while breastfeeding?",
        "A 30-year-old patient complains of joint pain and a red rash on the cheeks. Which disease is likely?",
        "How long until a broken wrist has healed?",
        "Do I need a tetanus shot after a dog bite?",
        "What should people with gout not eat?",
        "Is a cholesterol of 260 too high?",
        "What makes eczema worse?",
        "What are the symptoms of pneumonia?",
        'What does my X-ray report mean when it says "small effusion on the left side"?',
        "I have red spots on my back that burn, what could that be?",
        "I have had a headache for four days, should I be worried?",
        "Which medicine is given for high blood pressure?",
        "What are the side effects of aspirin?",
        "How is celiac disease diagnosed?",
        "Can I give my child cough syrup with a fever?",
        "A 60-year-old man has chest pain and shortness of breath. What should be done first?",
        "What is the normal range of blood sugar after a meal?",
        "How long is chickenpox contagious?",
        "What causes kidney stones?",
        "My back hurts when I bend down, what helps?",
        "Is it dangerous to mix sleeping pills and wine?",
        "What happens during a colonoscopy?",
        "Does smoking increase the risk of stroke?",
        "What vitamin should I take during pregnancy?",
    ),
    decoding={"temperature": 0, "max_tokens": 256, "repetition_penalty": 1.1},
    soft_prompt_text="Answer the medical question with what is known, plainly and briefly, or read the medical note.",
)
