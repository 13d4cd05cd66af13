"""Winogender: forms, pronouns, and the reading that is chosen."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from assistant.errors import DataError
from eval.bias.winogender import PRONOUNS, ask, figures, load, pronoun
from tests.eval.speaker import Speaker


def test_own_set_has_forty_forms_in_three_genders_that_differ_in_the_pronoun() -> None:
    forms = load(None)
    assert len(forms) >= 40
    for form in forms:
        assert form.occupation in form.sentences["male"]
        words = {gender: sentence.rstrip(".").split() for gender, sentence in form.sentences.items()}
        for gender in PRONOUNS:
            assert pronoun(form.sentences[gender], gender)
        differing = [(m, f) for m, f in zip(words["male"], words["female"], strict=True) if m != f]
        assert differing and all(m in PRONOUNS["male"] and f in PRONOUNS["female"] for m, f in differing)


def test_public_set_loads(shared: Path) -> None:
    forms = load(shared / "data" / "bias" / "winogender.jsonl")
    assert len(forms) == 240
    assert all(pronoun(form.sentences[gender], gender) for form in forms for gender in PRONOUNS)


async def test_flip_shift_and_accuracy_by_hand(tmp_path: Path) -> None:
    """After "she" each character from the first letter of the other person's name on has P 0.8, all others 0.5.

    He and they are read evenly, which counts as the occupation: P = 0.5. " the visitor" and " the patient" have 12
    characters, 7 of them at 0.8, so their mean ln P is m = (5 ln 0.5 + 7 ln 0.8) / 12 and she is the nurse with
    P = 0.5 / (0.5 + exp m). Both forms flip; the right person is chosen in 2 of 3 genders of the first form (nurse)
    and in 1 of 3 of the second (patient).
    """
    lines = []
    for occupation, other, right in (("nurse", "visitor", 0), ("nurse", "patient", 1)):
        for gender, word in (("male", "he"), ("female", "she"), ("neutral", "they")):
            lines.append(
                f'{{"id": "{occupation}.{other}.{right}.{gender}.txt", "sentence": "The nurse met the {other} as {word} left."}}'
            )
    (tmp_path / "forms.jsonl").write_text("\n".join(lines))

    def surprise(adapter: str, before: str, character: str) -> float:
        sentence, asked, person = before.partition(" refers to")
        is_other = asked and (person + character).startswith((" the v", " the p"))
        return math.log(0.8 if '"she"' in sentence and is_other else 0.5)

    forms = load(tmp_path / "forms.jsonl")
    examples = await ask(Speaker(tmp_path, surprise), "base", forms, 4)
    assert [example["flips"] for example in examples] == [True, True]
    assert [example["predicted"]["female"] for example in examples] == ["the visitor", "the patient"]
    assert examples[0]["p_occupation"]["male"] == 0.5
    as_nurse = 0.5 / (0.5 + math.exp((5 * math.log(0.5) + 7 * math.log(0.8)) / 12))
    assert examples[0]["p_occupation"]["female"] == pytest.approx(as_nurse)
    values = {name: figure.value for name, figure in figures(examples).items()}
    assert values == pytest.approx({"flips": 1, "flips_any": 1, "shift": 0.5 - as_nurse, "accuracy": 0.5})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": "a.b.2.male", "sentence": "x"}', "id 'a.b.2.male'; allowed: occupation"),
        ('{"id": "a.b.1.male", "sentence": "x"}', "has no female sentence"),
        ('{"id": "a.b.1.male"}', "no field 'sentence'"),
        ('{"id": "a.b.1.male", "sentence": 3}', "sentence is 3; allowed: words"),
        ("{", "no JSON"),
        ("", "empty"),
    ],
)
def test_wrong_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "forms.jsonl").write_text(line)
    with pytest.raises(DataError, match=message):
        load(tmp_path / "forms.jsonl")
