"""Legal: questions on policies, and clauses put in plain English."""

from __future__ import annotations

from assistant.training.tasks import legal
from assistant.training.tasks.summarisation import clean
from assistant.training.tasks.task import Record
from eval.tasks.interface import Measured, Prompt, Task, ask
from eval.tasks.qa import briefly, question
from eval.tasks.scorers import Span, Text

POLICY_SHOTS = (
    (
        {
            "context": "When you open an account we ask for your name, your e-mail address and your date of birth. "
            "We keep this information for as long as the account is open.",
            "question": "What information do you collect from me?",
        },
        "your name, your e-mail address and your date of birth",
    ),
    (
        {
            "context": "Our partners may place cookies on your device to show you advertisements that suit your "
            "interests. You can refuse these cookies in the settings of your browser.",
            "question": "Why do third parties receive data about me?",
        },
        "to show you advertisements that suit your interests",
    ),
    (
        {
            "context": "Payments are processed over an encrypted connection, and only trained staff can see your "
            "orders. No method of transmission is perfectly safe.",
            "question": "Is my data encrypted?",
        },
        "encrypted connection",
    ),
)
CLAUSE_SHOTS = (
    (
        {
            "document": "we reserve the right to modify or discontinue the service or any part thereof at any time "
            "with or without notice to you and shall not be liable for any such modification or discontinuance."
        },
        "this service can be changed or ended at any time without notice.",
    ),
    (
        {
            "document": "by posting material on the site you grant the company a perpetual irrevocable royalty free "
            "licence to use copy adapt and publish that material in any medium."
        },
        "the service can use anything you post for ever and without paying you.",
    ),
    (
        {
            "document": "you may terminate your account at any time by written notice to us upon which all personal "
            "data relating to you shall be erased within thirty days."
        },
        "you can close your account at any time and your data is deleted within 30 days.",
    ),
)


def plain(record: Record) -> str:
    return f"Policy: {record['context']}\n\nQuestion: {record['question']}"


def quote(record: Record) -> str:
    task = "Answer the question with a few words copied from the policy. Do not write a sentence."
    return f"{task}\n\n{plain(record)}\n\nAnswer:"


def words(record: Record) -> str:
    return f"{plain(record)}\n\nThe words of the policy that answer the question:"


def simply(record: Record) -> str:
    return f"Put this clause of a contract in plain English, in one short sentence.\n\n{record['document']}"


def meaning(record: Record) -> str:
    return f"Clause: {record['document']}\n\nWhat it means for the user, in one short and simple sentence:"


LEGAL = Task(
    legal.LEGAL,
    (
        Measured(
            legal.POLICY,
            Span(lambda record: record["answers"]),
            (
                Prompt("quote", "prompt", ask(quote)),
                Prompt("words", "prompt", ask(words)),
                Prompt("turns-quote", "few-shot", ask(quote, POLICY_SHOTS)),
                Prompt("turns-words", "few-shot", ask(words, POLICY_SHOTS)),
                Prompt("turns", "few-shot", ask(plain, POLICY_SHOTS)),
                Prompt("briefly", "rag", ask(briefly)),
                Prompt("plain", "rag", ask(question)),
            ),
            max_tokens=64,
        ),
        Measured(
            legal.CLAUSE,
            Text(lambda record: [clean(summary) for summary in record["summaries"]]),
            (
                Prompt("simply", "prompt", ask(simply)),
                Prompt("meaning", "prompt", ask(meaning)),
                Prompt("turns-meaning", "few-shot", ask(meaning, CLAUSE_SHOTS)),
                Prompt("turns", "few-shot", ask(simply, CLAUSE_SHOTS)),
            ),
            max_tokens=96,
        ),
    ),
)
