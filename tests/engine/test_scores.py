"""Log-probabilities: those of a mixed batch are those that PEFT computes for each row alone."""

from __future__ import annotations

import functools
import math
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from assistant.engine.scheduler import MOST_SCORED
from assistant.engine.scores import ScoreBook, TokenTexts
from assistant.messages import Decoding, Scored, TokenScore
from tests import tiny
from tests.engine.harness import Answer, Bench

TOP = 4
ADAPTERS = {
    "lora": tiny.lora_config(),
    "head": tiny.lora_config(r=2, target_modules=["q_proj", "lm_head"]),
    "prompt": tiny.soft_config("prompt", 5),
    "ptuning": tiny.soft_config("ptuning", 3),
    "prefix": tiny.soft_config("prefix", 4),
}
PROMPTS = ["Hi", "What is the colour of the sky over the sea at noon?", "x", "A longer prompt, é 日本. " * 4]


@pytest.fixture(scope="module")
def zoo(tmp_path_factory) -> tuple[Path, dict[str | None, Path | None]]:
    root = tmp_path_factory.mktemp("scores")
    base = tiny.write_base(root / "base")
    adapters = {
        name: tiny.write_adapter(root / name, base, config, seed, size=2.0 if config.is_prompt_learning else 0.3)
        for seed, (name, config) in enumerate(ADAPTERS.items())
    }
    return base, {None: None, **adapters}


@functools.cache
def oracle(base: Path, adapter: Path | None, tokens: tuple[int, ...]) -> torch.Tensor:
    """log p(tokens[i] | what is before it) for all of the vocabulary, (tokens - 1, vocabulary)."""
    model = AutoModelForCausalLM.from_pretrained(base)
    if adapter is not None:
        model = PeftModel.from_pretrained(model, adapter)
    ids = torch.tensor([tokens])
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0]
    # A soft prompt's own positions come first; the last place foretells what is not there.
    return logits[-len(tokens) : -1].log_softmax(-1)


def check(scores: list[TokenScore], tokens: list[int], expected: torch.Tensor) -> None:
    assert [score.token_id for score in scores] == tokens
    torch.testing.assert_close(
        torch.tensor([score.logprob for score in scores]),
        expected.gather(-1, torch.tensor(tokens)[:, None])[:, 0],
        atol=2e-4,
        rtol=1e-4,
    )
    best, ids = expected.topk(TOP)
    assert [[top.token_id for top in score.top] for score in scores] == ids.tolist()
    logprobs = torch.tensor([top.logprob for score in scores for top in score.top]).view(len(tokens), TOP)
    torch.testing.assert_close(logprobs, best, atol=2e-4, rtol=1e-4)


def check_row(answer: Answer, base: Path, adapter: Path | None) -> None:
    finished, sequence = answer.finished, answer.sequence
    prompt, tokens = list(sequence.prompt), sequence.tokens
    expected = oracle(base, adapter, tuple(tokens)) if len(tokens) > 1 else torch.empty(0, 257)
    if sequence.echo:
        first, *rest = finished.prompt_scores
        assert (first.token_id, first.logprob, first.top) == (prompt[0], None, ())
        check(rest, prompt[1:], expected[: len(prompt) - 1])
    else:
        assert finished.prompt_scores == ()
    check(list(finished.scores), answer.ids, expected[len(prompt) - 1 :])


@pytest.mark.parametrize("chunk", [5, 500])
def test_the_scores_of_a_mixed_batch_are_those_of_each_row_alone(zoo, chunk):
    base, adapters = zoo
    bench = Bench(base, max_batch=16, slots=16, prefill_chunk=chunk)
    rows = [
        (name, bench.submit(PROMPTS[(i + j) % 4], adapters[name], 6, echo=bool(j), logprobs=TOP))
        for j in range(2)
        for i, name in enumerate(adapters)
    ]
    silent = [bench.submit(PROMPTS[1], folder, 6) for folder in adapters.values()]
    bench.run()
    for name, answer in rows:
        check_row(answer, base, adapters[name])
    for answer, folder in zip(silent, adapters.values(), strict=True):
        assert answer.ids == tiny.peft_answer(base, folder, list(answer.sequence.prompt), 6)
        assert answer.finished.scores == answer.finished.prompt_scores == ()
        assert answer.sequence.scores is None and not any(isinstance(item, Scored) for item in answer.items)
    bench.close()


@pytest.mark.parametrize("name", [None, "lora", "prefix"])
def test_an_echoed_prompt_is_read_again_whatever_the_cache_holds(zoo, name):
    base, adapters = zoo
    bench = Bench(base, prefill_chunk=7)
    first = bench.submit(PROMPTS[3], adapters[name], 3)
    bench.run()
    again = bench.submit(first.sequence.tokens, adapters[name], 3, echo=True, logprobs=TOP)
    bench.run()
    assert again.finished.usage.cached_tokens == 0
    check_row(again, base, adapters[name])
    # Without scores there is nothing to compute again.
    plain = bench.submit(first.sequence.tokens, adapters[name], 3, echo=True)
    bench.run()
    assert plain.finished.usage.cached_tokens > 0 and plain.text == again.text
    bench.close()


@pytest.mark.parametrize("prompt", ["x", PROMPTS[3]])
def test_a_prompt_alone_is_scored_and_nothing_generated(zoo, prompt):
    base, adapters = zoo
    bench = Bench(base, prefill_chunk=9)
    answer = bench.submit(prompt, adapters["lora"], 0, echo=True, logprobs=TOP)
    bench.run()
    assert answer.text == prompt and answer.ids == [] and answer.finished.scores == ()
    assert (answer.finished.finish_reason, answer.finished.usage.completion_tokens) == ("length", 0)
    check_row(answer, base, adapters["lora"])
    bench.close()


def test_scores_are_of_the_model_itself_whatever_the_tokens_are_picked_by(zoo):
    base, _ = zoo
    bench = Bench(base)
    answer = bench.submit("Hello", None, 8, logprobs=TOP, temperature=1.7, top_p=0.8, repetition_penalty=1.8, seed=4)
    bench.run()
    check_row(answer, base, None)
    bench.close()


def test_pieces_carry_the_scores_of_their_tokens_and_add_up(zoo):
    base, _ = zoo
    bench = Bench(base, prefill_chunk=9)
    answer = bench.submit(PROMPTS[3], None, 20, echo=True, logprobs=0)
    bench.run()
    *pieces, finished = answer.items
    assert pieces[0].text == PROMPTS[3] == "".join(score.token for score in finished.prompt_scores)
    assert pieces[0].scores == finished.prompt_scores
    assert tuple(score for piece in pieces[1:] for score in piece.scores) == finished.scores
    assert len(finished.scores) == finished.usage.completion_tokens == 20
    assert all(score.top == () for score in finished.scores)
    bench.close()


def test_few_places_are_scored_in_one_step_however_large_the_chunk(zoo):
    base, _ = zoo
    bench = Bench(base, prefill_chunk=10_000)
    answers = [bench.submit("x" * 200, None, 0, echo=True, logprobs=0) for _ in range(3)]
    other = bench.submit("y" * 300, None, 1)
    bench.step()
    # The first fits whole, the second in part, the third not at all; who asks for no scores is not held back.
    assert [answer.sequence.computed for answer in answers] == [200, MOST_SCORED - 200, 0]
    assert other.sequence.computed == 300
    bench.run()
    assert all(len(answer.finished.prompt_scores) == 200 for answer in answers)
    bench.close()


def test_a_score_is_the_logarithm_of_a_share():
    """Logits log 1, log 2, log 5 are shares of 1/8, 2/8 and 5/8."""
    book = ScoreBook(TokenTexts(tiny.tokenizer()), top=2)
    (score,) = book.read(torch.tensor([[1.0, 2.0, 5.0]]).log(), [1])
    assert score.logprob == pytest.approx(math.log(2 / 8))
    assert [top.token_id for top in score.top] == [2, 1]
    assert score.top[0].logprob == pytest.approx(math.log(5 / 8)) and score.top[1].logprob == score.logprob


def test_no_more_than_twenty_tokens_can_be_asked_for():
    assert Decoding(logprobs=20).logprobs == 20
    with pytest.raises(ValueError, match="less than or equal to 20"):
        Decoding(logprobs=21)


@pytest.mark.parametrize("echo", [False, True])
def test_scores_and_text_of_an_answer_that_goes_on_keep_its_first_space(tmp_path, echo):
    base = tiny.write_base(tmp_path / "base")
    tiny.word_tokenizer().save_pretrained(base)
    bench = Bench(base)
    answer = bench.submit([40, 50, 60], None, 6, echo=echo, continues=True, logprobs=0)
    bench.run()
    bench.close()
    words, (first, *_) = bench.base.tokenizer, answer.finished.scores
    whole, start = words.decode([40, 50, 60, *answer.ids]), len(words.decode([40, 50, 60]))
    assert answer.text == (whole if echo else whole[start:]) and answer.text.endswith(whole[start:])
    assert "".join(score.token for score in answer.finished.scores) == whole[start:] and first.token.startswith(" ")
