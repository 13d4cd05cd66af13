"""The mean of adapters: of their changes of the base, on a card that names them all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file

from assistant.adapter_pool.loader import Loader
from assistant.catalog import content_digest, read_adapter
from assistant.training import run, soup
from tests.training.harness import command, tiny_base

LAYER = "model.layers.0.self_attn.q_proj"


@pytest.fixture
def pair(place: Path) -> Path:
    """Two trainings that differ in their seed."""
    for seed in (0, 1):
        assert run.main(command(out=f"parts/s{seed}/tiny", seed=seed, epochs=3, validation=0)) == 0
    return place


def change(folder: Path, base: Path) -> torch.Tensor:
    model = PeftModel.from_pretrained(tiny_base(base).model, str(folder))
    return model.get_submodule(f"base_model.model.{LAYER}").get_delta_weight("default").detach()


def test_the_mean_is_that_of_the_changes(pair: Path) -> None:
    assert soup.main(["--adapters", "parts/s0/tiny", "parts/s1/tiny", "--rank", "4", "--out", "adapters/mean"]) == 0
    changes = [change(Path("parts") / name / "tiny", pair) for name in ("s0", "s1")]
    assert not torch.allclose(*changes, atol=1e-3)
    torch.testing.assert_close(change(Path("adapters/mean"), pair), sum(changes) / 2, rtol=2e-3, atol=2e-4)
    Loader(tiny_base(pair)).load(read_adapter(pair / "adapters" / "mean"))


def test_a_lower_rank_keeps_what_is_largest(pair: Path) -> None:
    assert soup.main(["--adapters", "parts/s0/tiny", "parts/s1/tiny", "--out", "adapters/mean"]) == 0
    wanted = sum(change(Path("parts") / name / "tiny", pair) for name in ("s0", "s1")) / 2
    tail = torch.linalg.svdvals(wanted)[2:].square().sum().sqrt()
    found = change(Path("adapters/mean"), pair)
    assert torch.linalg.norm(found - wanted).item() == pytest.approx(tail.item(), rel=0.05, abs=1e-3)
    weights = load_file("adapters/mean/adapter_model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float16}


def test_the_card_tells_of_every_adapter_in_it(pair: Path) -> None:
    assert soup.main(["--adapters", "parts/s0/tiny", "parts/s1/tiny", "--out", "adapters/mean"]) == 0
    training = json.loads(Path("adapters/mean/card.json").read_text())["training"]
    told = training["command"].splitlines()
    assert [line.split()[2] for line in told] == ["assistant.training.run"] * 2 + ["assistant.training.soup"]
    assert "--seed 0" in told[0] and "--seed 1" in told[1]
    assert training["ingredients"] == [content_digest(Path("parts") / name / "tiny") for name in ("s0", "s1")]
    assert training["report"]["averaged"] == 2
    assert {path.name for path in Path("adapters/mean").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "card.json",
        "README.md",
    }
    assert "assistant.training.soup" in Path("adapters/mean/README.md").read_text()


def test_what_does_not_go_together_is_named(pair: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = "parts/s0/tiny"

    def refused(*others: str) -> str:
        assert soup.main(["--adapters", first, *others, "--out", "adapters/mean"]) == 1
        assert not Path("adapters/mean").exists()
        return capsys.readouterr().err

    assert "a mean is of two adapters or more" in refused()
    assert "parts/none: no adapter that was trained here can be read there" in refused("parts/none")
    assert run.main(command("ia3", out="parts/ia3", validation=0)) == 0
    assert "parts/ia3: its type is IA3; allowed: LORA" in refused("parts/ia3")
    config = Path("parts/s1/tiny/adapter_config.json")
    causal = config.read_text()
    config.write_text(json.dumps({**json.loads(causal), "task_type": "SEQ_CLS"}))
    assert "parts/s1/tiny: it is a reward adapter" in refused("parts/s1/tiny")
    config.write_text(causal)
    card = json.loads(Path("parts/s1/tiny/card.json").read_text())
    Path("parts/s1/tiny/card.json").write_text(json.dumps({**card, "task": "qa"}))
    assert "parts/s1/tiny: task is 'qa'; of parts/s0/tiny it is 'sentiment'" in refused("parts/s1/tiny")
    Path("parts/s1/tiny/card.json").write_text(json.dumps({**card, "base_digest": "0" * 64}))
    assert "parts/s1/tiny: it was made for base" in refused("parts/s1/tiny")


def test_a_weight_that_is_not_finite_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        soup.main(["--adapters", "parts/s0/tiny", "parts/s1/tiny", "--out", "adapters/mean", "--weight", "inf"])
    assert "--weight: inf: allowed are finite numbers" in capsys.readouterr().err


def test_adapters_of_several_tasks_are_summed_for_one(pair: Path) -> None:
    card = json.loads(Path("parts/s1/tiny/card.json").read_text())
    training = {**card["training"], "data": "other.jsonl", "data_note": "theirs"}
    Path("parts/s1/tiny/card.json").write_text(json.dumps({**card, "task": "qa", "training": training}))
    told = ["--adapters", "parts/s0/tiny", "parts/s1/tiny", "--rank", "4", "--out", "adapters/sum"]
    assert soup.main([*told, "--task", "instruct", "--weight", "0.8"]) == 0
    changes = [change(Path("parts") / name / "tiny", pair) for name in ("s0", "s1")]
    torch.testing.assert_close(change(Path("adapters/sum"), pair), 0.8 * sum(changes), rtol=2e-3, atol=4e-4)
    made = json.loads(Path("adapters/sum/card.json").read_text())
    assert (made["task"], made["template"], made["examples"]) == ("instruct", None, [])
    # Of both data, and no loss, which would be one training's.
    told = made["training"]
    assert told["data"] == "reviews.jsonl other.jsonl" and told["data_note"] == "source not stated; theirs"
    assert told["report"]["train_examples"] == 2 * card["training"]["report"]["train_examples"]
    assert not {"train_loss", "validation_loss"} & told["report"].keys()
    assert made["decoding"] == {"temperature": 0, "max_tokens": 128}
    assert "```text\nuser: {input}\n```" in Path("adapters/sum/README.md").read_text()
    Loader(tiny_base(pair)).load(read_adapter(pair / "adapters" / "sum"))


def test_rslora_and_converted_adapters_keep_their_change(place: Path) -> None:
    for recipe, rank in (("rslora", 2), ("loha", 2)):
        for seed in (0, 1):
            out = f"parts/{recipe}{seed}/tiny"
            assert run.main(command(recipe, out=out, rank=rank, seed=seed, epochs=3, validation=0)) == 0
        told = ["--adapters", f"parts/{recipe}0/tiny", f"parts/{recipe}1/tiny", "--rank", "16"]
        assert soup.main([*told, "--out", f"adapters/{recipe}"]) == 0
        changes = [change(Path(f"parts/{recipe}{seed}/tiny"), place) for seed in (0, 1)]
        torch.testing.assert_close(change(Path(f"adapters/{recipe}"), place), sum(changes) / 2, rtol=5e-3, atol=5e-4)
        card = json.loads(Path(f"adapters/{recipe}/card.json").read_text())
        assert card["conversion"] is None
    # Its config says 1, the largest rank of a layer is what is kept.
    assert soup.main([*told[:3], "--out", "adapters/most"]) == 0
    assert read_adapter(place / "adapters/most").rank == read_adapter(place / "parts/loha0/tiny").rank > 1
    # One of each kind: the card names both recipes.
    assert soup.main([*told[:1], "parts/rslora0/tiny", "parts/loha0/tiny", *told[3:], "--out", "adapters/both"]) == 0
    changes = [change(Path(f"parts/{recipe}0/tiny"), place) for recipe in ("rslora", "loha")]
    torch.testing.assert_close(change(Path("adapters/both"), place), sum(changes) / 2, rtol=5e-3, atol=5e-4)
    card = json.loads(Path("adapters/both/card.json").read_text())
    assert card["training"]["hyperparameters"]["recipe"] == "rslora, loha"
    assert "tags: [rslora, loha, sentiment]" in Path("adapters/both/README.md").read_text()
