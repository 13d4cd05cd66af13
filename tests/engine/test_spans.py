"""Answers held to the spans of a text."""

from __future__ import annotations

import random

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from assistant.engine.sampling import pick, restrict
from assistant.engine.sequence import Sequence
from assistant.engine.spans import MOST_MOVES, SpanConstraint, Vocabulary, word_edges
from assistant.engine.vocabulary import read_vocabulary
from assistant.errors import BaseModelError, InvalidRequest
from assistant.messages import Decoding
from tests import tiny
from tests.engine.harness import Bench

END = 999
TEXT = "Anna's café sold 1,200 cups (at $3.50) in Köln; 日本 too. A cup a day."


def spans(text: str) -> set[str]:
    """Every span by definition: it begins and ends at a visible character and cuts no word."""
    starts, ends = word_edges(text)
    data = text.encode()
    return {data[start:end].decode() for start in starts for end in ends if start < end}


def merging_tokenizer() -> PreTrainedTokenizerFast:
    """Bytes, and some words with and without the space before them, and one token across a word's end."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {c: i for i, c in enumerate(alphabet)}
    merges = [("c", "u"), ("cu", "p"), ("Ġ", "cup"), ("Ġ", "a"), ("0", ")"), ("c", "a"), ("i", "n"), ("Ġ", "in")]
    for pair in merges:
        vocabulary["".join(pair)] = len(vocabulary)
    tokens = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokens.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokens.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokens, eos_token="<|end|>")


def metaspace_tokenizer() -> PreTrainedTokenizerFast:
    """As SentencePiece writes: U+2581 for a space, one before the text too, bytes where a character has no token."""
    pieces = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *"Acupay.,:120dinrobe3", "▁cup", "▁a", "▁A"]
    tokens = Tokenizer(
        models.BPE(
            vocab={piece: i for i, piece in enumerate(pieces)},
            merges=[("▁", "a"), ("▁", "A")],
            byte_fallback=True,
            unk_token="<unk>",
        )
    )
    tokens.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    tokens.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokens, unk_token="<unk>", eos_token="<|end|>")


@pytest.mark.parametrize("make", [tiny.tokenizer, merging_tokenizer, metaspace_tokenizer])
def test_every_walk_ends_at_a_span_and_every_span_can_be_walked(make):
    tokenizer = make()
    vocabulary, stop = read_vocabulary(tokenizer), tokenizer.eos_token_id
    expected = spans(TEXT)
    rng = random.Random(0)
    for limit in (3, 5, 60):
        for _ in range(100):
            constraint, ids = SpanConstraint([TEXT], vocabulary, [stop], limit), []
            while len(ids) < limit:
                token = rng.choice(constraint.allowed(limit - len(ids)))
                if token == stop:
                    break
                ids.append(token)
                constraint.advance(token)
            assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) in expected
    for span in expected:
        constraint = SpanConstraint([TEXT], vocabulary, [stop], 200)
        for token in tokenizer(span, add_special_tokens=False)["input_ids"]:
            assert token in constraint.allowed(1000), span
            constraint.advance(token)
        assert stop in constraint.allowed(1), span


@pytest.mark.parametrize("make", [tiny.tokenizer, merging_tokenizer, metaspace_tokenizer])
def test_no_answer_runs_from_one_text_into_the_next(make):
    tokenizer, texts = make(), ["a cup in", "a cap is"]
    vocabulary, stop = read_vocabulary(tokenizer), tokenizer.eos_token_id
    expected, found, rng = spans(texts[0]) | spans(texts[1]), set(), random.Random(0)
    for _ in range(300):
        constraint, ids = SpanConstraint(texts, vocabulary, [stop], 60), []
        while (token := rng.choice(constraint.allowed(60 - len(ids)))) != stop:
            ids.append(token)
            constraint.advance(token)
        found.add(tokenizer.decode(ids, clean_up_tokenization_spaces=False))
    assert found == expected, "each span of either text, and no other"


def test_a_span_cuts_no_word_and_has_no_blanks_at_its_ends():
    found = spans("Anna's café — 3.5 km")
    assert {"Anna", "Anna's", "s café", "café — 3.5 km", "3.5", "—"} <= found
    assert not {"Ann", "caf", " café", "café ", "cafe"} & found
    assert "é" not in spans("café") and "\u0301" not in spans("cafe\u0301 x")
    assert "本" in spans("日本 too"), "scripts without spaces can be cut at every character"


def test_the_answer_may_begin_with_any_word_though_the_text_has_a_space_before_it():
    tokenizer = merging_tokenizer()
    vocabulary = read_vocabulary(tokenizer)
    in_text, alone = tokenizer("a cup")["input_ids"][-1], tokenizer("cup")["input_ids"][0]
    first = SpanConstraint(["a cup"], vocabulary, [END], 9).allowed(9)
    assert alone in first and in_text not in first and END not in first


def test_a_word_that_the_limit_would_cut_is_not_begun():
    vocabulary = read_vocabulary(tiny.tokenizer())
    letters = {letter: vocabulary.tokens[letter.encode()] for letter in "wordatx "}
    constraint = SpanConstraint(["words at x"], vocabulary, [END], 2)
    assert sorted(constraint.allowed(2)) == sorted([letters["a"], letters["x"]])
    constraint.advance(letters["x"])
    assert constraint.allowed(1) == [END]
    with pytest.raises(InvalidRequest, match="max_tokens 2"):
        SpanConstraint(["words"], vocabulary, [END], 2)


def test_a_text_that_the_tokens_cannot_write_is_refused():
    with pytest.raises(InvalidRequest, match="no word of the message"):
        SpanConstraint(["ab"], Vocabulary({b"x": 1}), [END], 9)


def test_a_text_through_which_very_many_ways_lead_is_refused_before_they_are_all_built():
    dashes = Vocabulary({b"-" * length: length for length in range(1, 65)} | {b"a": 65})
    tried = iter(range(MOST_MOVES))

    class Counting(Vocabulary):
        def matches(self, text, start):
            next(tried)
            return super().matches(text, start)

    with pytest.raises(InvalidRequest, match="more than 200,000 ways; allowed: shorter runs"):
        SpanConstraint(["a", "-" * 60_000], Counting(dashes.tokens), [END], 9)
    assert next(tried) < 4_000
    SpanConstraint(["a" * 60_000, "-" * 2_000], dashes, [END], 9)


def test_a_long_text_may_have_as_many_ways_as_words_have():
    text = "ab " * 30_000
    three = Vocabulary({text[at : at + length].encode(): 3 * at + length for at in range(3) for length in (1, 2, 3)})
    assert SpanConstraint([text], three, [END], 9).allowed(9)


def test_a_tokenizer_whose_tokens_do_not_add_up_to_the_text_is_refused():
    tokens = Tokenizer(models.WordLevel({"probe": 0, "<unk>": 1}, unk_token="<unk>"))
    tokens.pre_tokenizer = pre_tokenizers.Whitespace()
    with pytest.raises(BaseModelError, match="byte-level"):
        read_vocabulary(PreTrainedTokenizerFast(tokenizer_object=tokens, unk_token="<unk>"))


def test_no_other_token_keeps_any_chance():
    logits = torch.tensor([3.0, 1.0, 2.0, 9.0])
    restrict(logits, [2, 1])
    assert logits.softmax(-1).tolist() == pytest.approx([0, 1 / (1 + torch.e), torch.e / (1 + torch.e), 0])


@pytest.mark.parametrize(
    "decoding",
    [{}, {"temperature": 1.5}, {"temperature": 2.0, "top_p": 0.99, "top_k": 40}, {"repetition_penalty": 1.5}],
)
def test_a_constrained_row_answers_with_a_span_and_changes_no_other_answer(tmp_path, decoding):
    base = tiny.write_base(tmp_path / "base")
    lora = tiny.write_adapter(tmp_path / "lora", base, tiny.lora_config(), 1)

    def run(span_of: str | None) -> list:
        bench = Bench(base)
        answers = [
            bench.submit("first", lora, 20, logprobs=3),
            bench.submit("second", lora, 20, span_of=span_of, logprobs=3, seed=1, **decoding),
            bench.submit("third", None, 20, temperature=1.0, seed=5, logprobs=3),
        ]
        bench.run()
        bench.close()
        return answers

    free, held = run(None), run(TEXT)
    assert held[1].text in spans(TEXT) and held[1].ids != free[1].ids
    # Bits of logits differ from run to run, whoever is in the batch; what they decide does not.
    for one, other in ((free[0], held[0]), (free[2], held[2])):
        assert one.ids == other.ids


def test_a_constrained_row_changes_no_bit_of_its_neighbours():
    def sequence(**options: object) -> Sequence:
        constraint = options.pop("constraint", None)
        return Sequence((1,), None, Decoding(seed=1, **options), 9, lambda item: None, constraint=constraint)

    torch.manual_seed(0)
    logits = torch.randn(3, 257)
    held = SpanConstraint(["a cup"], read_vocabulary(tiny.tokenizer()), [256], 9)
    results = []
    for constraint in (None, held):
        rows = logits.clone()
        company = [sequence(temperature=1.0), sequence(temperature=0, constraint=constraint), sequence(temperature=0)]
        results.append((pick(rows, company), rows))
    (free, plain), (picked, masked) = results
    assert torch.equal(plain, logits) and torch.equal(masked[[0, 2]], logits[[0, 2]])
    assert (picked[0], picked[2]) == (free[0], free[2])
    assert picked[1] != free[1] and picked[1] in held.allowed(9)
