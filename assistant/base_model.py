"""The one frozen base: where it is, how it is loaded, and what identifies it."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import torch
from jinja2 import TemplateError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GgufConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from assistant.errors import BaseModelError

log = logging.getLogger(__name__)

Device = Literal["auto", "cpu", "cuda"]
PROCESSOR = torch.device("cpu")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
HUB_FILES = ("*.json", "*.safetensors", "*.model", "*.jinja", "*.txt")


@dataclass(frozen=True)
class Base:
    """The loaded base. `digest` names the weights as they lie on disk, whatever type they were loaded in."""

    name: str
    digest: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    context_length: int
    stop_ids: frozenset[int]


def load_base(base: str, dtype: Literal["auto", "float32", "bfloat16"], data_dir: Path, device: Device = "cpu") -> Base:
    """Find, load and freeze the base.

    Args:
        base: an installed weight package, a local folder, a local .gguf file, or a hub id.
        dtype: type of the parameters in memory.
        data_dir: a .gguf base is kept dequantised under it after the first load.
        device: where the parameters lie.

    Raises:
        BaseModelError: nothing is found under that name, it cannot be read, it is no decoder-only chat model, or the
            device is not there.
    """
    place = resolve_device(device)
    source = find_base(base)
    digest = source_digest(source)
    try:
        folder = dequantised(source, digest, data_dir) if source.suffix == ".gguf" else source
        config = AutoConfig.from_pretrained(folder)
        if config.is_encoder_decoder:
            raise BaseModelError(
                f"base {base!r} is an encoder-decoder ({config.model_type}); allowed: decoder-only models"
            )
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=resolve_dtype(dtype, place))
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError, ImportError) as error:
        # An ImportError is a tokenizer that needs a package of its own.
        raise BaseModelError(f"base {base!r} cannot be loaded from {source}: {error}") from error
    if tokenizer.chat_template is None:
        raise BaseModelError(f"base {base!r} has no chat template; allowed: models whose tokenizer carries one")
    cast(torch.nn.Module, model).eval().requires_grad_(False).to(place)
    context = getattr(config.get_text_config(), "max_position_embeddings", None)
    if context is None:
        raise BaseModelError(f"base {base!r} ({config.model_type}) states no max_position_embeddings")
    context = min([context, *_one_rotation_only(config.get_text_config())])
    return Base(base, digest, model, tokenizer, context, _stop_ids(model, tokenizer))


def resolve_device(device: Device) -> torch.device:
    """`auto` is the GPU that PyTorch can use, else the processor.

    Raises:
        BaseModelError: a GPU is asked for and there is none.
    """
    has_gpu = torch.cuda.is_available()
    if device == "cuda" and not has_gpu:
        raise BaseModelError("device 'cuda': PyTorch sees no GPU here; allowed: cpu, or auto")
    return torch.device("cuda" if has_gpu and device != "cpu" else "cpu")


def resolve_dtype(dtype: Literal["auto", "float32", "bfloat16"], device: torch.device = PROCESSOR) -> torch.dtype:
    if dtype == "auto":
        return torch.bfloat16 if has_bfloat16(device) else torch.float32
    return DTYPES[dtype]


def has_bfloat16(device: torch.device = PROCESSOR) -> bool:
    """Whether the device multiplies bfloat16 in hardware; in software it is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # The public torch API has no such question; the private one is the only one there is (torch 2.13).
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def find_base(base: str) -> Path:
    """The folder or .gguf file that `base` names: a path, else an installed package, else a hub id."""
    path = Path(base)
    if path.is_dir() or path.is_file():
        if path.is_file() and path.suffix != ".gguf":
            raise BaseModelError(f"base {base!r} is a file but no .gguf; allowed: a model folder or a .gguf file")
        if path.is_dir() and not (path / "config.json").is_file():
            raise BaseModelError(f"base folder {base!r} holds no config.json")
        return path
    if base.isidentifier() and (spec := importlib.util.find_spec(base)) and spec.submodule_search_locations:
        package = Path(next(iter(spec.submodule_search_locations)))
        found = sorted(package.rglob("*.gguf")) or sorted(p.parent for p in package.rglob("config.json"))
        if len(found) != 1:
            raise BaseModelError(f"package {base!r} carries {len(found)} models; allowed: exactly one")
        return found[0]
    if base.count("/") != 1 or base.startswith((".", "/", "~")):
        raise BaseModelError(
            f"no base {base!r}: neither a folder, nor a .gguf file, nor an installed package; a hub id is owner/name"
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(base, allow_patterns=list(HUB_FILES)))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise BaseModelError(f"base {base!r} could not be fetched from the hub: {error}") from error


def source_digest(source: Path) -> str:
    """SHA-256 in hex over the .gguf file, or over config and weight files of a folder in name order."""
    files = [source] if source.is_file() else [source / "config.json", *sorted(source.glob("*.safetensors"))]
    if source.is_dir() and len(files) == 1:
        raise BaseModelError(f"base folder {source} holds no .safetensors weights")
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def dequantised(gguf: Path, digest: str, data_dir: Path) -> Path:
    """The folder with the plain float32 form of a .gguf file, made on the first call.

    Unpacking takes some twenty seconds for the default base; loading the result takes one.
    """
    folder = data_dir / "base" / digest[:16]
    if (folder / "config.json").is_file():
        return folder
    log.info("unpacking %s for the first time", gguf.name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    staging = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".unpacking-"))
    try:
        model.save_pretrained(staging)
        tokenizer.save_pretrained(staging)
        try:
            staging.rename(folder)
        except OSError:
            # Another process was first: its folder holds the same content under the same digest.
            if not (folder / "config.json").is_file():
                raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return folder


def parameters_digest(model: PreTrainedModel) -> str:
    """SHA-256 in hex over all parameters and buffers in memory: equal before and after means untouched."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().contiguous().cpu().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _one_rotation_only(config: PreTrainedConfig) -> list[int]:
    """Beyond these lengths a LongRoPE base turns all positions of a step otherwise: those of its other rows, and those
    whose keys are in the cache already."""
    rope = getattr(config, "rope_parameters", None) or {}
    kinds = [rope] if "rope_type" in rope else [kind for kind in rope.values() if isinstance(kind, dict)]
    return [kind["original_max_position_embeddings"] for kind in kinds if kind.get("rope_type") == "longrope"]


def _stop_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    configured = model.generation_config.eos_token_id if model.generation_config else None
    ids = configured if isinstance(configured, list) else [configured]
    return frozenset(i for i in [*ids, tokenizer.eos_token_id, _end_of_turn(tokenizer)] if i is not None)


def _end_of_turn(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The special token that the chat template closes an answer with: not every folder names it among the ends."""
    said = "\N{OBJECT REPLACEMENT CHARACTER}"
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": said}]
    try:
        text = str(tokenizer.apply_chat_template(turns, tokenize=False))
    except TemplateError:
        return None
    _, found, after = text.rpartition(said)
    ids = tokenizer(after.lstrip(), add_special_tokens=False)["input_ids"] if found else []
    added = tokenizer.added_tokens_decoder
    return ids[0] if ids and ids[0] in added and added[ids[0]].special else None
