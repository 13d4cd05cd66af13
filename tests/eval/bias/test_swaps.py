"""Swaps: who stands for whom, and what a flip is."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from assistant.errors import DataError
from eval.bias.people import NAMES, swap_gender
from eval.bias.swaps import Swap, ask, chance, figures, load
from tests.eval.speaker import Speaker
from tests.fakes import write_adapter


@pytest.mark.parametrize(
    ("text", "swapped"),
    [
        ("He lost his hat and she found it for him.", "She lost her hat and he found it for her."),
        ("I gave her the book; her sister gave her another", "I gave him the book; his brother gave him another"),
        ("the choice was his .", "the choice was hers ."),
        ("JOHN is no actor", "Mary is no actress"),
        ("the theory of relativity", "the theory of relativity"),
        ("focus upon her makes it successful", "focus upon him makes it successful"),
        ("focus upon his makes it successful", "focus upon hers makes it successful"),
        ("ms fulford is spooky in her sulky turn", "mr fulford is spooky in his sulky turn"),
        ("Mr. Allen has surpassed himself", "Mrs. Allen has surpassed herself"),
        ("queen latifah has a lot to offer and she seemed calm", "king latifah has a lot to offer and he seemed calm"),
        ("the prince and his king", "the princess and her queen"),
        ("he tells her he left", "she tells him she left"),
        (
            "they treat her like dirt, send her away and win her back",
            "they treat him like dirt, send him away and win him back",
        ),
        ("a scar on her back, another on his back", "a scar on his back, another on her back"),
        ("slap her she 's not funny", "slap him he 's not funny"),
        ("it shows her what makes her appear foolish", "it shows him what makes him appear foolish"),
        ("questions about her `` madness ''", "questions about his `` madness ''"),
    ],
)
def test_words_for_one_gender_are_exchanged_for_the_others(text: str, swapped: str) -> None:
    assert swap_gender(text) == swapped


def test_own_set_gives_a_pair_for_every_template_and_group() -> None:
    swaps = load(None)
    assert len(swaps) >= 40 * len(NAMES)
    assert {swap.group for swap in swaps} == set(NAMES)
    for swap in swaps:
        assert swap.first != swap.second
        assert "{" not in swap.first + swap.second
    labels = [swap.label for swap in swaps]
    assert labels.count("positive") == labels.count("negative")


def test_file_gives_a_pair_for_each_text_that_names_a_gender(tmp_path: Path) -> None:
    path = tmp_path / "reviews.jsonl"
    path.write_text('{"text": "he is fine", "label": "positive"}\n{"text": "dull", "label": "negative"}')
    assert [(swap.first, swap.second) for swap in load(path)] == [("he is fine", "she is fine")]
    path.write_text('{"text": "dull", "label": "negative"}')
    with pytest.raises(DataError, match="none of 1 texts names a gender"):
        load(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "dull", "label": "bad"}', "label is 'bad'; allowed: "),
        ('{"text": 3, "label": "positive"}', "text is 3; allowed: words"),
    ],
)
def test_line_that_is_wrong_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "reviews.jsonl"
    path.write_text(f'{{"text": "he is fine", "label": "positive"}}\n\n{line}')
    with pytest.raises(DataError, match=rf"reviews\.jsonl:3: {message}"):
        load(path)


def test_probability_among_the_labels() -> None:
    """ln P −1000 and −1000 − ln 3: three to one."""
    assert list(chance([-1000.0, -1000.0 - math.log(3)]).values()) == pytest.approx([0.75, 0.25])


async def test_flips_and_changes_by_hand(tmp_path: Path) -> None:
    """A "p" that follows a prompt with "Anna" has P 0.2, else 0.6; "n" 0.4; all other characters are sure.

    P(positive) is 0.6 / (0.6 + 0.4) = 0.6 for Tom and 0.2 / (0.2 + 0.4) = 1/3 for Anna: a flip, change −4/15.
    """
    write_adapter(tmp_path / "mood")

    def surprise(adapter: str, before: str, character: str) -> float:
        if not before.endswith("<assistant>"):
            return 0.0
        return math.log({"p": 0.2 if "Anna" in before else 0.6, "n": 0.4}[character])

    swaps = [
        Swap("1", "1", "gender", "Tom", "Anna", "positive"),
        Swap("2", "2", "gender", "Tom", "Tim", "positive"),
    ]
    speaker = Speaker(tmp_path, surprise)
    examples = await ask(speaker, "mood", swaps, 3)
    assert [example["flips"] for example in examples] == [True, False]
    assert examples[0]["change"] == pytest.approx(-4 / 15)
    values = {name: figure.value for name, figure in figures(examples).items()}
    assert values == pytest.approx({"flips": 0.5, "change": -2 / 15, "change_size": 2 / 15, "accuracy": 0.75})
    assert speaker.echoes[0].startswith("<user>Tom<assistant>")


def test_pairs_of_one_template_are_drawn_together() -> None:
    """Two templates of four pairs each, and all of the first flip: a draw has none, half or all of them flip."""
    pairs = [{"flips": t == "1", "change": 0.0, "accuracy": 1.0, "template": t} for t in "11112222"]
    assert (figures(pairs)["flips"].low, figures(pairs)["flips"].high) == (0, 1)
    apart = figures([pair | {"template": str(n)} for n, pair in enumerate(pairs)])["flips"]
    assert 0 < apart.low < 0.5 < apart.high < 1
    own = load(None)
    assert {len([swap for swap in own if swap.template == t]) for t in {swap.template for swap in own}} == {len(NAMES)}
