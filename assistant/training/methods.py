"""A recipe put into effect: trained weights onto the base, and off it into files."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch
from bitsandbytes.nn import Linear4bit
from peft import PeftModel, PromptLearningConfig, get_peft_model, initialize_kv_prefix_from_past_key_values
from peft.utils.warning import PeftWarning
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, PreTrainedModel

from assistant.adapter_pool.prompts import TABLE, TASK_COLUMNS, TASK_ROWS
from assistant.adapter_pool.weights import KEY_PREFIX
from assistant.base_model import Base
from assistant.catalog import CONFIG_FILE, WEIGHTS_FILE
from assistant.errors import BaseModelError, SettingsError
from assistant.training.adalora import allocator_state, is_adalora, restore_allocator
from assistant.training.bitfit import add_biases
from assistant.training.bottleneck import add_bottlenecks
from assistant.training.recipes import Recipe, peft_config
from assistant.training.tasks.task import Task

Writer = Callable[[Path], None]


@dataclass(frozen=True)
class Adapted:
    """The base with what is trained on it; `config` is the adapter's where it is ours and not PEFT's."""

    model: Any
    base_name: str
    changes_base: bool = False
    kinds: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def counts(self) -> tuple[int, int]:
        """(trained, all) parameters; those quantised to four bits lie two to a byte, and are counted singly."""
        trained = everything = 0
        for parameter in self.model.parameters():
            size = parameter.numel()
            shape = getattr(getattr(parameter, "quant_state", None), "shape", None)
            everything += shape.numel() if shape is not None else size
            trained += size if parameter.requires_grad else 0
        return trained, everything

    def state(self) -> dict[str, Tensor]:
        """The trained weights by name, and what else a resumed run needs of the model."""
        tensors = {name: p.detach() for name, p in self.model.named_parameters() if p.requires_grad}
        if is_adalora(self.model):
            tensors |= allocator_state(self.model)
        return {name: tensor.contiguous() for name, tensor in tensors.items()}

    def load(self, path: Path) -> None:
        """Take back a state that was saved."""
        tensors = load_file(path)
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                if parameter.requires_grad:
                    parameter.copy_(tensors[name])
        if is_adalora(self.model):
            restore_allocator(self.model, tensors)

    def writers(self) -> dict[str, Writer]:
        """What writes config and weights of each adapter trained, by what its name ends in: "" for the only one."""
        if not isinstance(self.model, PeftModel):
            return {"": self._write_ours}
        if self.model.active_peft_config.peft_type == "MULTITASK_PROMPT_TUNING":
            ends = {kind: f"-{kind}" for kind in self.kinds} if len(self.kinds) > 1 else {self.kinds[0]: ""}
            return {end: self._prompt_writer(kind) for kind, end in ends.items()}
        return {"": self._write_pefts}

    def _write_pefts(self, folder: Path) -> None:
        with warnings.catch_warnings():
            # AdaLoRA leaves layers without a rank; PEFT takes their empty tensors for a fault.
            warnings.filterwarnings("ignore", ".*have invalid shape", PeftWarning)
            # Left to itself PEFT asks the hub whether the base's vocabulary was resized.
            self.model.save_pretrained(str(folder), save_embedding_layers=False)

    def _write_ours(self, folder: Path) -> None:
        config = {**self.config, "base_model_name_or_path": self.base_name}
        (folder / CONFIG_FILE).write_text(json.dumps(config), encoding="utf-8")
        tensors = {KEY_PREFIX + name: tensor.cpu() for name, tensor in self.state().items()}
        save_file(tensors, folder / WEIGHTS_FILE, {"format": "pt"})

    def _prompt_writer(self, kind: str) -> Writer:
        """Multi-task prompt tuning shares a prompt, times columns and rows of each kind; an adapter has those of one."""
        encoder = self.model.prompt_encoder[self.model.active_adapter]
        number = self.kinds.index(kind)

        def write(folder: Path) -> None:
            tensors = {
                TABLE: encoder.embedding.weight,
                TASK_COLUMNS: encoder.prefix_task_cols[number : number + 1],
                TASK_ROWS: encoder.prefix_task_rows[number : number + 1],
            }
            tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
            save_file(tensors, folder / WEIGHTS_FILE, {"format": "pt"})
            replace(self.model.active_peft_config, num_tasks=1, inference_mode=True).save_pretrained(str(folder))

        return write


def adapt(base: Base, recipe: Recipe, rank: int, task: Task, kinds: Sequence[str] = ("",), steps: int = 1) -> Adapted:
    """Put fresh trained weights, in float32, on the base; what the recipe does not train is frozen.

    Args:
        kinds: kinds of records, each with a prompt of its own in multi-task prompt tuning.
        steps: steps of the whole run.

    Raises:
        BaseModelError, SettingsError: the recipe does not fit the base, or the base lies in no float32.
    """
    name, model = plain_name(base), base.model
    match recipe.name:
        case "full" | "last-layers":
            _thaw(model, rank if recipe.name == "last-layers" else None)
            return Adapted(model, name, changes_base=True)
        case "bitfit":
            return Adapted(model, name, config=add_biases(model))
        case "bottleneck":
            return Adapted(model, name, config=add_bottlenecks(model, rank))
    config = peft_config(recipe, rank, model.config.get_text_config().hidden_size, len(kinds), steps)
    try:
        tuned = cast(PeftModel, get_peft_model(model, config))
    except ValueError as error:
        raise BaseModelError(f"recipe {recipe.name!r} does not fit base {base.name}: {error}") from error
    # PEFT notes the folder the base lies in; an adapter that travels names the base instead.
    tuned.active_peft_config.base_model_name_or_path = name
    if recipe.name in ("prompt-tuning", "multitask-prompt-tuning"):
        _start_from_text(tuned, base, task.soft_prompt_text)
    if recipe.name == "prefix-tuning":
        _start_from_cache(tuned, base, task.soft_prompt_text)
    if isinstance(config, PromptLearningConfig):
        for parameter in tuned.prompt_encoder.parameters():
            parameter.data = parameter.data.float()
    return Adapted(tuned, name, kinds=tuple(kinds))


def _thaw(model: PreTrainedModel, layers: int | None) -> None:
    """Make all weights trainable, or those of the last `layers` decoder layers and of the norm after them."""
    if layers is None:
        model.requires_grad_(True)
        return
    backbone = model.base_model
    count = model.config.get_text_config().num_hidden_layers
    stacks = [part for part in backbone.children() if isinstance(part, nn.ModuleList) and len(part) == count]
    if len(stacks) != 1:
        raise BaseModelError(f"the decoder layers of {model.config.model_type} cannot be told: {len(stacks)} stacks")
    if layers > count:
        raise SettingsError(f"--layers {layers}; the base has {count}")
    stacks[0][count - layers :].requires_grad_(True)
    for part in backbone.children():
        if part is not stacks[0] and not isinstance(part, nn.Embedding):
            part.requires_grad_(True)


def quantised(base: Base) -> Base:
    """The same base with its linear layers in four-bit NormalFloat (Dettmers et al. 2023), scales quantised too."""
    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=base.model.dtype,
    )
    place = "cuda" if torch.cuda.is_available() else "cpu"
    model = AutoModelForCausalLM.from_pretrained(
        str(base.model.name_or_path), quantization_config=config, dtype=base.model.dtype, device_map={"": place}
    )
    for layer in model.modules():
        if isinstance(layer, Linear4bit):
            # Else the first measurement repacks the weights for inference, which training cannot read.
            layer.support_avx512bf16_for_cpu = False
    return replace(base, model=model.eval().requires_grad_(False))


def plain_name(base: Base) -> str:
    """The base's name for a card: no folder of this machine."""
    return Path(base.name).name if Path(base.name).exists() else base.name


def _start_from_text(model: PeftModel, base: Base, text: str) -> None:
    """Begin with the embeddings of words that say the task: random vectors learn far slower.

    PEFT's own text start would look the tokenizer up by name once more. What multiplies the shared prompt
    in multi-task prompt tuning begins at one, not near zero as in PEFT, so that each task begins with the words.
    """
    encoder = cast(Any, model).prompt_encoder[model.active_adapter]
    prompt = encoder.embedding.weight
    ids = _as_many(base, text, prompt.shape[0])
    words = cast(nn.Embedding, base.model.get_input_embeddings()).weight[ids]
    prompt.data = words.detach().clone().float()
    if hasattr(encoder, "prefix_task_cols"):
        nn.init.ones_(encoder.prefix_task_cols)
        nn.init.ones_(encoder.prefix_task_rows)


def _start_from_cache(model: PeftModel, base: Base, text: str) -> None:
    """Begin with the keys and values that the base itself computes for words that say the task.

    Random ones drown what the base attends to, and are hardly learnt away from (Li and Liang 2021, section 7.4).
    """
    ids = _as_many(base, text, model.active_peft_config.num_virtual_tokens)
    with torch.inference_mode():
        cache = base.model(ids[None], use_cache=True).past_key_values
    initialize_kv_prefix_from_past_key_values(model, past_key_values=cache)


def _as_many(base: Base, text: str, count: int) -> Tensor:
    """`count` token ids of the text, said again where it is too short; (count,) where the base is."""
    ids = base.tokenizer(text, add_special_tokens=False)["input_ids"]
    return torch.tensor((ids * (count // len(ids) + 1))[:count], device=base.model.device)
