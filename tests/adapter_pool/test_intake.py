"""What may come in by upload, and that a refusal leaves nothing behind."""

from __future__ import annotations

import json
import shutil
import stat
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

from assistant.adapter_pool import convert
from assistant.adapter_pool.intake import Intake
from assistant.adapter_pool.loader import FLOATS, Loader
from assistant.base_model import load_base
from assistant.catalog import CARD_FILE, CONFIG_FILE, README_FILE, WEIGHTS_FILE, Catalog
from assistant.errors import AdapterRejected, UnknownAdapter
from tests import tiny
from tests.engine.harness import Bench

MAX_BYTES = 200_000


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny.write_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def good(base, tmp_path_factory):
    return tiny.write_adapter(tmp_path_factory.mktemp("source") / "good", base, tiny.lora_config(), 1)


@pytest.fixture
def intake(base, tmp_path):
    loaded = load_base(str(base), "float32", tmp_path)
    catalog = Catalog(tmp_path / "adapters")
    yield Intake(catalog, Loader(loaded), lambda: load_base(str(base), "float32", tmp_path).model, MAX_BYTES)
    assert all(not child.name.startswith(".incoming-") for child in catalog.folder.glob("*")), (
        "nothing is left in staging"
    )


def zipped(folder: Path, target: Path, inside: str = "") -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, f"{inside}{file.name}")
    return target


def copy(good: Path, tmp_path: Path) -> Path:
    return shutil.copytree(good, tmp_path / "copy")


def edit(folder: Path, file: str = CONFIG_FILE, **fields: object) -> Path:
    path = folder / file
    path.write_text(json.dumps({**(json.loads(path.read_text()) if path.exists() else {}), **fields}))
    return folder


@pytest.mark.parametrize("inside", ["", "my-adapter/"])
def test_a_zip_becomes_an_adapter(intake, good, tmp_path, inside):
    adapter = intake.admit(zipped(good, tmp_path / "mine.zip", inside))
    assert adapter.name == "mine" and adapter.rank == 4
    assert {file.name for file in adapter.folder.iterdir()} <= {CONFIG_FILE, WEIGHTS_FILE, README_FILE}


def test_a_folder_becomes_an_adapter_under_the_name_asked_for(intake, good):
    assert intake.admit(good, "other").digest == intake.catalog.get("other").digest


def test_a_new_upload_under_the_same_name_is_a_new_revision(intake, base, good, tmp_path):
    first = intake.admit(good, "a")
    second = intake.admit(tiny.write_adapter(tmp_path / "x", base, tiny.lora_config(), 7), "a")
    assert first.digest != second.digest == intake.catalog.get("a").digest


def test_a_refused_revision_leaves_the_old_one_in_place(intake, good, tmp_path):
    first = intake.admit(good, "a")
    with pytest.raises(AdapterRejected):
        intake.admit(edit(copy(good, tmp_path), r=99), "a")
    assert intake.catalog.get("a").digest == first.digest


def test_deleting_removes_broken_folders_too_and_nothing_outside(intake, good):
    intake.admit(good, "a")
    (intake.catalog.folder / "broken").mkdir()
    intake.delete("a")
    intake.delete("broken")
    assert intake.catalog.adapters() == []
    for name in ("a", "..", "../base", ""):
        with pytest.raises(UnknownAdapter):
            intake.delete(name)


def _nan(folder: Path, value: float = float("nan")) -> None:
    tensors = load_file(folder / WEIGHTS_FILE)
    next(iter(tensors.values()))[0, 0] = value
    save_file(tensors, folder / WEIGHTS_FILE)


def _cast(folder: Path, dtype: torch.dtype) -> Path:
    tensors = {key: value.to(dtype) for key, value in load_file(folder / WEIGHTS_FILE).items()}
    save_file(tensors, folder / WEIGHTS_FILE)
    return folder


def _rename(folder: Path, old: str, new: str) -> None:
    tensors = {key.replace(old, new): value for key, value in load_file(folder / WEIGHTS_FILE).items()}
    save_file(tensors, folder / WEIGHTS_FILE)


def _drop(folder: Path, part: str) -> None:
    tensors = {key: value for key, value in load_file(folder / WEIGHTS_FILE).items() if part not in key}
    save_file(tensors, folder / WEIGHTS_FILE)


def _narrow(folder: Path) -> None:
    tensors = {key: value[:, :-1].contiguous() for key, value in load_file(folder / WEIGHTS_FILE).items()}
    save_file(tensors, folder / WEIGHTS_FILE)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (_nan, "NaN or infinite"),
        (lambda f: _nan(f, float("inf")), "NaN or infinite"),
        (lambda f: _nan(_cast(f, torch.float8_e4m3fn)), "NaN or infinite"),
        (lambda f: _nan(_cast(f, torch.float8_e5m2), float("inf")), "NaN or infinite"),
        (lambda f: _cast(f, torch.complex64), "is of torch.complex64; allowed: torch.float64, "),
        (lambda f: _cast(f, torch.int8), "is of torch.int8; allowed"),
        (lambda f: _cast(f, torch.bool), "is of torch.bool; allowed"),
        (lambda f: _rename(f, "q_proj", "query"), "match nothing in base"),
        (lambda f: _rename(f, "base_model.model.", "other."), "no LoRA weight"),
        (lambda f: _rename(f, ".lora_A", ".lora_magnitude_vector"), "no LoRA weight"),
        (lambda f: _drop(f, "lora_B"), "only lora_A"),
        (_narrow, "do not fit"),
        (lambda f: edit(f, r=5), "says rank 5"),
        (lambda f: edit(f, lora_alpha="big"), "alpha 'big'"),
        (lambda f: edit(f, rank_pattern=[1]), "rank_pattern"),
        (lambda f: edit(f, rank_pattern={"(": 8}), "rank_pattern holds '('; allowed: a layer's name"),
        (lambda f: edit(f, alpha_pattern={"([a-z_.0-9]+)+!": 8}), "alpha_pattern holds"),
        (lambda f: edit(f, alpha_pattern={"[z-a]": 8}), "bad character range"),
        (lambda f: edit(f, peft_type="LOHA", target_modules="([a-z_.0-9]+)+!"), "target_modules holds"),
        (lambda f: edit(f, peft_type="LOHA", r="many"), "PEFT cannot convert it"),
        (lambda f: edit(f, lora_alpha=10**400), "too large"),
        (lambda f: edit(f, task_type="SEQ_CLS", modules_to_save=5), "modules_to_save is 5; allowed: a list"),
        (lambda f: (f / CONFIG_FILE).write_text("[" * 100_000), "recursion"),
        (lambda f: edit(f, use_dora=True), "has only lora_A.weight, lora_B.weight; needed: .*lora_magnitude_vector"),
        (lambda f: edit(f, r=0), "says rank 0"),
        (lambda f: edit(f, peft_type="DORA"), "LORA' with use_dora true"),
        (lambda f: edit(f, bias="all"), "bias='all'"),
        (lambda f: edit(f, modules_to_save=["lm_head"]), "modules_to_save"),
        (lambda f: edit(f, init_lora_weights="pissa"), "init_lora_weights='pissa'"),
        (lambda f: edit(f, CARD_FILE, base_digest="0" * 64, base_name="another"), "made for base another"),
        (lambda f: edit(f, CARD_FILE, template={"user": "no input"}), "template"),
        (lambda f: edit(f, peft_type="POLY"), "POLY"),
        (lambda f: edit(f, peft_type="XLORA", adapters={"0": "evil/adapter"}), "XLORA is not served"),
        (lambda f: edit(f, peft_type="NONSENSE"), "'NONSENSE' is no PEFT type; served: LORA"),
        (lambda f: (f / WEIGHTS_FILE).rename(f / "adapter_model.bin"), "pickle"),
        (lambda f: (f / "training_args.bin").write_bytes(b"x"), "pickle"),
        (lambda f: (f / WEIGHTS_FILE).unlink(), "is missing"),
        (lambda f: (f / CONFIG_FILE).unlink(), "is missing"),
        (lambda f: (f / WEIGHTS_FILE).write_bytes(b"not tensors"), "no safetensors"),
        (lambda f: (f / README_FILE).write_bytes(b"x" * (MAX_BYTES + 1)), f"more than {MAX_BYTES} bytes"),
    ],
)
@pytest.mark.timeout(30)
@pytest.mark.parametrize("form", ["zip", "folder"])
def test_what_cannot_be_served_is_refused_and_leaves_nothing(intake, good, tmp_path, damage, reason, form):
    folder = copy(good, tmp_path)
    damage(folder)
    source = zipped(folder, tmp_path / "bad.zip") if form == "zip" else folder
    with pytest.raises(AdapterRejected, match=reason.replace("(", r"\(")):
        intake.admit(source, "bad")
    assert intake.catalog.adapters() == []


@pytest.mark.parametrize(
    "member", ["../evil.json", "/etc/evil", "a/../../evil", "C:\\evil", "..\\evil", "\\\\host\\share\\evil"]
)
def test_a_zip_that_reaches_outside_is_refused(intake, good, tmp_path, member):
    archive = zipped(good, tmp_path / "evil.zip")
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr(member, "x")
    with pytest.raises(AdapterRejected, match="relative paths"):
        intake.admit(archive)
    assert not list(tmp_path.rglob("evil")) and not list(tmp_path.rglob("evil.json"))


def test_a_zip_with_a_symbolic_link_is_refused(intake, good, tmp_path):
    archive = zipped(good, tmp_path / "link.zip")
    link = zipfile.ZipInfo(README_FILE + "x")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr(link, "/etc/passwd")
    with pytest.raises(AdapterRejected, match="symbolic link"):
        intake.admit(archive)


def test_a_folder_with_a_symbolic_link_is_refused(intake, good, tmp_path):
    folder = copy(good, tmp_path)
    (folder / CARD_FILE).symlink_to("/etc/passwd")
    with pytest.raises(AdapterRejected, match="no plain file"):
        intake.admit(folder)


def test_a_zip_bomb_is_cut_off_whatever_size_it_states(intake, good, tmp_path):
    folder = copy(good, tmp_path)
    (folder / README_FILE).write_bytes(b"\0" * 50_000_000)
    archive = zipped(folder, tmp_path / "bomb.zip")
    assert archive.stat().st_size < MAX_BYTES
    with pytest.raises(AdapterRejected, match="unpacks to more than"):
        intake.admit(archive)


def test_a_zip_with_very_many_members_or_none_is_refused(intake, tmp_path):
    many, none, text = tmp_path / "many.zip", tmp_path / "none.zip", tmp_path / "text.zip"
    with zipfile.ZipFile(many, "w") as opened:
        for index in range(1001):
            opened.writestr(f"{index}.txt", "")
    zipfile.ZipFile(none, "w").close()
    text.write_text("hello")
    for archive, reason in ((many, "1001 members"), (none, "is missing"), (text, "cannot be read as a zip")):
        with pytest.raises(AdapterRejected, match=reason):
            intake.admit(archive)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_whose_data_is_damaged_is_refused(intake, good, tmp_path, method):
    bad = tmp_path / "bad.zip"
    with zipfile.ZipFile(bad, "w", method) as archive:
        archive.write(good / WEIGHTS_FILE, WEIGHTS_FILE)
    data = bytearray(bad.read_bytes())
    start = 30 + len(WEIGHTS_FILE)
    data[start : start + 400] = b"\xff" * 400
    bad.write_bytes(data)
    with pytest.raises(AdapterRejected, match="cannot be read as a zip"):
        intake.admit(bad)


@pytest.mark.parametrize("dtype", FLOATS)
def test_weights_are_taken_in_any_floating_type(intake, good, tmp_path, dtype):
    assert intake.admit(_cast(copy(good, tmp_path), dtype), "a").is_usable


@pytest.mark.parametrize(
    "pattern",
    ["q_proj", r"^model\.layers\.\d+\.self_attn\.(q|k)_proj$", r".*\.(q|v)_proj", "[qkv]_proj", "v_proj|q_proj"],
)
def test_patterns_as_people_write_them_are_taken(intake, good, tmp_path, pattern):
    assert intake.admit(edit(copy(good, tmp_path), r=9, rank_pattern={pattern: 4, ".*": 4})).is_usable


@pytest.mark.parametrize("name", ["base", "auto", "../up", "a/b", "", ".hidden", "x" * 65, "né"])
def test_a_name_that_cannot_be_used_is_refused(intake, good, name):
    if name == "":
        assert intake.admit(good, name).name == "good", "an empty name means the source's own"
        return
    with pytest.raises(AdapterRejected, match="allowed are 1 to 64"):
        intake.admit(good, name)


def test_nothing_named_inside_an_upload_is_resolved(intake, good, tmp_path, monkeypatch):
    def no_network(*args, **kwargs):
        raise AssertionError("something was looked up")

    monkeypatch.setattr("huggingface_hub.file_download.hf_hub_download", no_network)
    monkeypatch.setattr("socket.socket.connect", no_network)
    folder = edit(copy(good, tmp_path), base_model_name_or_path="evil/model", auto_mapping={"parent_library": "os"})
    assert intake.admit(folder, "a").is_usable


CONVERTIBLE = {
    "loha": lambda: peft.LoHaConfig(r=2, alpha=4, target_modules=["q_proj", "up_proj"], task_type="CAUSAL_LM"),
    "lokr": lambda: peft.LoKrConfig(r=2, alpha=4, target_modules=["q_proj", "up_proj"], task_type="CAUSAL_LM"),
}


@pytest.mark.parametrize("kind", CONVERTIBLE)
def test_other_types_are_converted_with_the_error_on_the_card(intake, base, tmp_path, kind):
    folder = tiny.write_adapter(tmp_path / kind, base, CONVERTIBLE[kind](), 3)
    adapter = intake.admit(folder)
    conversion = adapter.card.conversion
    assert adapter.type == "LORA" and conversion.source == kind.upper() and 0 <= conversion.error < 0.02
    prompt = tiny.tokenizer()("Hello there")["input_ids"]
    bench = Bench(base)
    answer = bench.submit(prompt, adapter)
    bench.run()
    assert answer.ids == tiny.peft_answer(base, folder, prompt, 12) != tiny.peft_answer(base, None, prompt, 12)
    bench.close()


def test_conversions_take_turns_so_that_one_base_is_in_memory_at_a_time(intake, base, tmp_path, monkeypatch):
    folder = tiny.write_adapter(tmp_path / "loha", base, CONVERTIBLE["loha"](), 3)
    bases, most = [], []
    fresh, convert_one = intake._fresh_base, convert.convert

    def load():
        bases.append(None)
        most.append(len(bases))
        return fresh()

    def convert_and_count(folder, model):
        time.sleep(0.05)
        try:
            return convert_one(folder, model)
        finally:
            bases.pop()

    monkeypatch.setattr(intake, "_fresh_base", load)
    monkeypatch.setattr(convert, "convert", convert_and_count)
    with ThreadPoolExecutor() as threads:
        admitted = list(threads.map(lambda n: intake.admit(folder, f"loha-{n}"), range(3)))
    assert all(adapter.is_usable for adapter in admitted) and most == [1, 1, 1]


def test_a_type_that_peft_cannot_convert_is_refused_by_name(intake, base, tmp_path):
    config = peft.OFTConfig(target_modules=["k_proj", "down_proj"], oft_block_size=4, task_type="CAUSAL_LM")
    folder = tiny.write_adapter(tmp_path / "oft", base, config, 3)
    with pytest.raises(AdapterRejected, match=r"OFT is not served.*LORA, DORA, .*PREFIX_TUNING"):
        intake.admit(folder)


def test_a_reward_adapter_that_would_be_converted_is_refused_for_its_head(intake, base, tmp_path):
    config = peft.LoHaConfig(r=2, alpha=4, target_modules=["q_proj"], task_type="SEQ_CLS")
    tuned = peft.get_peft_model(AutoModelForSequenceClassification.from_pretrained(base, num_labels=1), config)
    tuned.save_pretrained(tmp_path / "loha")
    with pytest.raises(AdapterRejected, match=r"reward adapter of type LOHA .*would lose its head; .*LORA, DORA"):
        intake.admit(tmp_path / "loha")
