"""The settings of a run: flags over a TOML file over defaults."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.errors import UsageError


class RunSettings(BaseModel):
    """Everything ``docpipe run`` can be told; field names are the flags with underscores."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: tuple[str, ...] = Field(min_length=1)
    questions: str
    output: str
    model: str = "nano"
    glimpse: str | None = None
    prune: Literal["glimpse", "auto", "off"] | None = None
    drop_blank: bool = False
    threshold: float | None = Field(default=None, ge=0, lt=1)
    max_ratio: float | None = Field(default=None, gt=0, le=1)
    min_tokens: int | None = Field(default=None, ge=0)
    dpi: int | None = Field(default=None, ge=18, le=1200)
    max_visual_tokens: int | None = Field(default=None, ge=1)
    actors: int | None = Field(default=None, ge=1)
    gpus_per_actor: float | None = Field(default=None, gt=0, le=1)
    address: str | None = None
    detach: bool = False
    shared_fs: bool = False
    limit: int | None = Field(default=None, ge=1)
    max_failed_share: float = Field(default=0.05, ge=0, le=1)
    deadline: float | None = Field(default=None, gt=0)
    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    attn: Literal["auto", "sdpa", "flash_attention_2"] = "auto"
    seed: int = 0
    quiet: bool = False


def load_settings(config: Path | None, flags: Mapping[str, Any]) -> RunSettings:
    """Merge flags over a TOML file.

    Args:
        config: the file; its keys are those of :class:`RunSettings`, with dashes or underscores. ``None``: flags alone.
        flags: ``None`` and empty lists stand for flags that were not given.

    Raises:
        UsageError: the file cannot be read, a key is unknown, or a value is out of range; one line for each.
    """
    merged: dict[str, Any] = {}
    if config is not None:
        try:
            raw = tomllib.loads(config.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise UsageError(f"--config {config}: {error}") from error
        merged = {key.replace("-", "_"): value for key, value in raw.items()}
        if isinstance(merged.get("input"), str):
            merged["input"] = [merged["input"]]
    merged.update({key: value for key, value in flags.items() if value is not None and value != []})
    try:
        return RunSettings.model_validate(merged)
    except ValidationError as error:
        raise UsageError("\n".join(problem(e) for e in error.errors())) from error


def problem(error: Any) -> str:
    """One entry of a validation error, named by its flag."""
    flag = "--" + "-".join(str(error["loc"][0]).split("_"))
    if error["type"] == "missing":
        return f"{flag} is required"
    if error["type"] == "extra_forbidden":
        return f"unknown key {error['loc'][0]!r} in the configuration file"
    return f"{flag}: {error['msg']}, found {error['input']!r}"
