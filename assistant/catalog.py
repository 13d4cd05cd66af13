"""The catalogue: which adapters lie in the adapters folder, and what their files say of them.

Reads headers and JSON only; weights are the loader's. Torch is never imported here.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from safetensors import SafetensorError, safe_open

from assistant.errors import AdapterBroken, AdapterRejected, UnknownAdapter
from assistant.messages import AUTO, BASE, Decoding, PromptTemplate

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
CARD_FILE = "card.json"
README_FILE = "README.md"

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
RESERVED = (BASE, AUTO)

LORA = "LORA"
# PEFT saves DoRA as LORA with use_dora; here it has a name of its own.
DORA = "DORA"
ADALORA = "ADALORA"
# Ours, in folders like PEFT's: bias-only tuning (Ben Zaken et al. 2021) and bottleneck adapters (Houlsby et al. 2019).
BITFIT = "BITFIT"
BOTTLENECK = "BOTTLENECK"
SOFT_PROMPTS = ("PROMPT_TUNING", "P_TUNING", "MULTITASK_PROMPT_TUNING", "PREFIX_TUNING")
REWARD_TASK = "SEQ_CLS"
"""PEFT's task_type of an adapter that ends in a head of one score: a reward model."""

SERVED_TYPES = (LORA, DORA, ADALORA, "IA3", BITFIT, "BEFT", BOTTLENECK, *SOFT_PROMPTS)


class Score(BaseModel):
    """One measured figure. `base` is the base's own figure on the same data; `low`/`high` a 95 % interval.

    `date` and `commit` are when it was measured and of which code, `base_date` and `base_commit` the same of `base`:
    None where there is no base, and for scores that were recorded before these were told.
    `count` is how many records were measured and `mode` how they were asked, see `eval.run`; None for scores that were
    recorded before these were told, and `mode` for measurements that have none. `constraint` is what answers were held
    to beyond the card's own decoding, `base_constraint` what the base's were where that is something else: "span", or
    "nothing"; None where it is the same, and for scores that were recorded before this was told.
    """

    model_config = ConfigDict(frozen=True)

    metric: str
    value: float
    data: str
    command: str
    date: str
    commit: str | None = None
    low: float | None = None
    high: float | None = None
    base: float | None = None
    base_date: str | None = None
    base_commit: str | None = None
    count: int | None = None
    mode: str | None = None
    constraint: str | None = None
    base_constraint: str | None = None

    def has_measured_as(self, other: Score) -> bool:
        """Whether it can be compared: the same figure of as many records of the same data, asked alike. What one of
        them does not tell is not held against it."""
        told = ((self.count, other.count), (self.mode, other.mode))
        return (self.metric, self.data, self.constraint) == (other.metric, other.data, other.constraint) and all(
            None in pair or pair[0] == pair[1] for pair in told
        )

    @property
    def told(self) -> str:
        """What stands behind the data: how many records, and how they were asked where that is not as users ask."""
        parts = (
            None if self.count is None else f"{self.count:,}",
            self.mode if self.mode != "tuned" else None,
            self.constraint and f"held to {self.constraint}",
        )
        listed = ", ".join(part for part in parts if part)
        return f" ({listed})" if listed else ""


class Conversion(BaseModel):
    """How an adapter of another type became a LoRA. `error` is the relative Frobenius error of its worst layer."""

    model_config = ConfigDict(frozen=True)

    source: str
    error: float
    mean_error: float


class Gained(BaseModel):
    """A figure of an adapter beside that of the one it was held against, on the same examples.

    `gain` is the difference, turned so that above 0 is better; `low`/`high` its 95 % interval, `p` two-sided.
    """

    model_config = ConfigDict(frozen=True)

    figure: str
    data: str
    count: int
    against: float
    candidate: float
    gain: float
    low: float
    high: float
    p: float


class Gate(BaseModel):
    """Whether an adapter may be offered to users: what `eval.gate` found. `reasons` are those against it."""

    model_config = ConfigDict(frozen=True)

    verdict: Literal["passed", "failed"]
    against: str
    against_digest: str | None
    aim: Gained
    harness: tuple[Gained, ...]
    margin: float | None
    reasons: tuple[str, ...]
    command: str
    date: str
    commit: str | None = None


class Card(BaseModel):
    """`card.json`: what the PEFT files do not say. `decoding` holds defaults a request may override."""

    model_config = ConfigDict(frozen=True)

    task: str = "unknown"
    description: str = ""
    examples: tuple[str, ...] = ()
    template: PromptTemplate | None = None
    decoding: dict[str, Any] = Field(default_factory=dict)
    base_name: str | None = None
    base_digest: str | None = None
    scores: tuple[Score, ...] = ()
    conversion: Conversion | None = None
    gate: Gate | None = None

    @field_validator("decoding")
    @classmethod
    def _check_decoding(cls, decoding: dict[str, Any]) -> dict[str, Any]:
        Decoding.model_validate(decoding)
        return decoding


@dataclass(frozen=True)
class Adapter:
    """One folder of the catalogue. `digest` identifies the content of config and weights, not the name.

    `error` says why the folder cannot be used; the fields after it are then only what could be read. `rank` is None
    for types that have none; the largest of any layer; for AdaLoRA the mean that ranks were pruned to, for bottlenecks
    their width. One that `is_reward` scores answers and writes none.
    """

    name: str
    folder: Path
    error: str | None = None
    type: str = "?"
    rank: int | None = None
    nbytes: int = 0
    digest: str = ""
    card: Card = field(default_factory=Card)
    is_reward: bool = False

    @property
    def is_usable(self) -> bool:
        return self.error is None

    @property
    def is_soft_prompt(self) -> bool:
        """Then `rank` is the number of its virtual tokens."""
        return self.type in SOFT_PROMPTS

    @property
    def virtual_tokens(self) -> int:
        """How many tokens of the context it takes for itself."""
        return (self.rank or 0) if self.is_soft_prompt else 0


class Catalog:
    """All adapters of one folder. Thread-safe; a folder is read again only when its files changed.

    With `base`, the (name, digest) of the base that is served, an adapter whose card says that it was made for another
    one cannot be used.
    """

    def __init__(self, folder: Path, base: tuple[str, str] | None = None) -> None:
        self.folder = folder
        self._base = base
        self._seen: dict[str, tuple[tuple[Any, ...], Adapter]] = {}
        self._lock = threading.Lock()

    def adapters(self) -> list[Adapter]:
        """Every folder, broken ones included, by name."""
        if not self.folder.is_dir():
            return []
        names = sorted(
            child.name for child in self.folder.iterdir() if child.is_dir() and not child.name.startswith((".", "_"))
        )
        with self._lock:
            for gone in self._seen.keys() - set(names):
                del self._seen[gone]
        return [self._read(name) for name in names]

    def get(self, name: str) -> Adapter:
        """The adapter of that name.

        Raises:
            UnknownAdapter: no such folder; lists near matches.
            AdapterBroken: the folder cannot be used; says why.
        """
        if not NAME.fullmatch(name) or not (self.folder / name).is_dir():
            names = [adapter.name for adapter in self.adapters()]
            near = difflib.get_close_matches(name, [*names, *RESERVED], n=3, cutoff=0.5)
            hint = f"; near matches: {', '.join(near)}" if near else ""
            raise UnknownAdapter(f"no adapter named {name!r}{hint}; known: {', '.join([*RESERVED, *names[:50]])}")
        adapter = self._read(name)
        if adapter.error is not None:
            raise AdapterBroken(f"adapter {name!r} cannot be used: {adapter.error}")
        return adapter

    def _read(self, name: str) -> Adapter:
        folder = self.folder / name
        signature = tuple(_signature(folder / file) for file in (CONFIG_FILE, WEIGHTS_FILE, CARD_FILE))
        with self._lock:
            seen = self._seen.get(name)
        if seen is not None and seen[0] == signature:
            return seen[1]
        adapter = read_adapter(folder)
        if adapter.is_usable and self._base is not None:
            adapter = replace(adapter, error=unfit(adapter.card, self._base))
        with self._lock:
            self._seen[name] = (signature, adapter)
        return adapter


def unfit(card: Card, base: tuple[str, str]) -> str | None:
    """Why an adapter does not fit the base of this (name, digest): its card names another. None where it may fit."""
    name, digest = base
    if card.base_digest is None or card.base_digest == digest:
        return None
    return f"it was made for base {card.base_name or '?'} ({card.base_digest[:12]}); this is {name} ({digest[:12]})"


def check_name(name: str) -> None:
    """Raises AdapterRejected where `name` cannot name an adapter."""
    if not NAME.fullmatch(name) or name in RESERVED:
        raise AdapterRejected(
            f"adapter name {name!r}: allowed are 1 to 64 letters, digits, '.', '_' and '-', "
            f"beginning with a letter or digit, and neither {BASE!r} nor {AUTO!r}"
        )


def read_adapter(folder: Path) -> Adapter:
    """Read one folder; what is wrong with it becomes its `error`."""
    name = folder.name
    try:
        config = json.loads(_text(folder, CONFIG_FILE))
        kind = kind_of(config)
        weights = folder / WEIGHTS_FILE
        if not weights.is_file():
            pickles = [path.name for path in sorted(folder.iterdir()) if path.suffix in (".bin", ".pt", ".pth", ".pkl")]
            found = f"; found {', '.join(pickles)}: only safetensors is read" if pickles else ""
            raise AdapterBroken(f"{WEIGHTS_FILE} is missing{found}")
        try:
            with safe_open(weights, framework="numpy") as file:
                if not list(file.keys()):
                    raise AdapterBroken(f"{WEIGHTS_FILE} holds no tensors")
        except SafetensorError as error:
            raise AdapterBroken(f"{WEIGHTS_FILE} is no safetensors file: {error}") from error
        size = "num_virtual_tokens" if kind in SOFT_PROMPTS else "target_r" if kind == ADALORA else "r"
        rank = config.get(size)
        if size == "r" and isinstance(rank, int):
            # What PEFT converts has a rank of its own for every layer, and 1 beside it.
            own = config.get("rank_pattern")
            ranks = own.values() if isinstance(own, dict) else ()
            rank = max([rank, *(value for value in ranks if isinstance(value, int))])
        adapter = Adapter(
            name=name,
            folder=folder,
            type=kind,
            rank=rank if isinstance(rank, int) else None,
            nbytes=weights.stat().st_size,
            digest=content_digest(folder),
            card=read_card(folder),
            is_reward=config.get("task_type") == REWARD_TASK,
        )
        check_name(name)
    except (AdapterBroken, AdapterRejected, OSError, ValueError, RecursionError) as error:
        return Adapter(name=name, folder=folder, error=str(error))
    if kind not in SERVED_TYPES:
        served = ", ".join(SERVED_TYPES)
        return replace(
            adapter,
            error=f"{kind} is not served as it is (served: {served}); upload it to have it converted to LORA where PEFT can",
        )
    return adapter


def kind_of(config: Any) -> str:
    """The type of adapter a config describes, one of `SERVED_TYPES` or another of PEFT's.

    Raises:
        AdapterBroken: it names none.
    """
    if not isinstance(config, dict) or not isinstance(config.get("peft_type"), str):
        raise AdapterBroken(f"{CONFIG_FILE} names no peft_type")
    kind: str = config["peft_type"]
    if kind == DORA:
        raise AdapterBroken(f"peft_type {DORA!r} is no PEFT type; PEFT saves DoRA as {LORA!r} with use_dora true")
    return DORA if kind == LORA and config.get("use_dora") else kind


def read_card(folder: Path) -> Card:
    """Raises AdapterBroken where card.json is malformed; an absent card is an empty one."""
    if not (folder / CARD_FILE).is_file():
        return Card()
    try:
        return Card.model_validate_json(_text(folder, CARD_FILE))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        raise AdapterBroken(f"{CARD_FILE}: {where}: {first['msg']}") from error


def add_to_card(folder: Path, field_name: str, value: object) -> None:
    """Set one field of card.json and leave the others, known to us or not, as they are."""
    path = folder / CARD_FILE
    card = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    path.write_text(json.dumps({**card, field_name: value}, indent=2) + "\n", encoding="utf-8")


def content_digest(folder: Path) -> str:
    """SHA-256 over config and weights, in hex: the identity of a revision."""
    digest = hashlib.sha256()
    for file in (CONFIG_FILE, WEIGHTS_FILE):
        with (folder / file).open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _text(folder: Path, file: str) -> str:
    try:
        return (folder / file).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise AdapterBroken(f"{file} is missing") from error
    except UnicodeDecodeError as error:
        raise AdapterBroken(f"{file} is not UTF-8 text") from error


def _signature(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
