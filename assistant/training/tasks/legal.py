"""Legal: questions on policies, and clauses put in plain English."""

from __future__ import annotations

from assistant.messages import PromptTemplate
from assistant.training.tasks.qa import as_in_context, check_question
from assistant.training.tasks.summarisation import check_document, clean
from assistant.training.tasks.task import Kind, Record, Task, each


def longer_answer(record: Record) -> str:
    """Of the accepted answers the one of middle length, of two the longer: annotators of policies mark a word here,
    two lines there."""
    ordered = sorted(set(record["answers"]), key=len)
    return as_in_context(ordered[len(ordered) // 2], record)


POLICY = Kind(
    name="policy",
    fields=("context", "question", "answers"),
    check=check_question,
    forms=(
        lambda r: f"Policy: {r['context']}\n\nQuestion: {r['question']}",
        lambda r: f"{r['context']}\n\n{r['question']}",
        lambda r: f"Our privacy policy says: {r['context']}\n\nAccording to it, {r['question']}",
    ),
    instructions=(
        lambda r: (
            f"Policy: {r['context']}\n\nQuestion: {r['question']} Answer with the words of the policy that say it."
        ),
        lambda r: f"{r['context']}\n\nWhich words of this policy answer the question: {r['question']}",
    ),
    answers=each(longer_answer),
    group=lambda r: r["context"],
    plain_share=0.8,
)

CLAUSE = Kind(
    name="plain-english",
    fields=("document", "summaries"),
    check=check_document,
    forms=(
        lambda r: f"Put this in plain English: {r['document']}",
        lambda r: f"What does this clause mean? {r['document']}",
        lambda r: f"Explain this contract term simply.\n\n{r['document']}",
    ),
    instructions=(
        lambda r: f"Put this clause of a contract in plain English, in one short sentence.\n\n{r['document']}",
        lambda r: f"{r['document']}\n\nWhat does this legal clause mean in plain English?",
    ),
    answers=each(lambda r: clean(r["summaries"][0])),
)

LEGAL = Task(
    name="legal",
    description="Answers questions about policies and contracts, and puts their clauses in plain English.",
    kinds=(POLICY, CLAUSE),
    template=PromptTemplate(
        system="You read policies and contracts: find the words that answer a question, or say a clause in plain English.",
        single_turn=True,
    ),
    card_examples=(
        "Does this confidentiality clause end with the contract? The obligations of this section survive termination for three years.",
        "My employer wants to cut my wages without asking me. Is that allowed?",
        "Do I have to answer when a police officer questions me?",
        "What does this legal phrase mean: jointly and severally liable",
        "How can I get custody of my son?",
        "I bought a used car that broke down the next day, can I return it?",
        "Can somebody use my logo without asking me?",
        "What is the legal difference between theft and robbery?",
        "The other driver hit my bicycle. Can I claim damages?",
        "How do I register a company as a foreigner?",
        "What rights do tenants have when the building is sold?",
        "May a website store my personal data without consent?",
        "Which kind of clause is this? Each party shall keep the terms of this contract secret.",
        "Can a witness refuse to testify in court?",
        "What is the punishment for tax fraud?",
        "How many days of notice must I give before I quit my job?",
        "I received a cease and desist letter, what now?",
        "What does the legal term estoppel mean?",
        "Do I need a solicitor to buy a house?",
        "My neighbour has built a fence on my land, what can I do?",
        "Can my landlord raise the rent in the middle of the lease?",
        "What does this contract clause mean: The Tenant shall indemnify the Owner against all losses arising from misuse.",
        "My employer has not paid my overtime. What can I do about it legally?",
        "What is a power of attorney?",
        "Is it against the law to publish someone's letter without permission?",
        "Classify the following provision of an agreement: This Agreement may not be assigned without the prior written consent of the other party.",
        "Explain the difference between a patent and a trademark.",
        "Who is liable if a guest is injured in my house?",
        "What is the statute of limitations for breach of contract?",
        "How do I contest a parking fine in court?",
        "I was arrested and not told my rights, is the case invalid?",
        "What are grounds for divorce and who gets custody of the children?",
        "Do I have to pay tax on an inheritance under a will?",
    ),
    decoding={"temperature": 0, "max_tokens": 96},
    soft_prompt_text="Read the policy or contract and answer with its own words, or say in plain English what it means.",
)
