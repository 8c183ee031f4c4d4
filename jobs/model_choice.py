"""Chooses the model, how it sees a page and how it is asked: what run, plan, eval, demo and train share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from jobs.presets import PresetName, with_preset
from pipeline.errors import UsageError
from pipeline.questions.question import MOST_NEW_TOKENS, valid_prompt

_FLASH = "flash_attention_2"
Seed = Annotated[int, Field(ge=0, lt=1 << 32)]  # what every source of randomness takes


def _known_device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,3})?", name):
        raise ValueError(f"--device {name}: expected auto, cpu, cuda or cuda:N, where N counts the GPUs from 0")
    return name


def _known_prompt(text: str) -> str:
    try:
        return valid_prompt(text)
    except ValueError as error:
        raise ValueError(f"--prompt: {error}, found {text!r}") from error


class ModelChoice(BaseModel):
    """A model, its add-on, its keep rule, the page size and the prompt; fields are the flags with underscores.

    Attributes:
        model: ``nano``, a folder or a hub id.
        glimpse: folder or hub id of the add-on; ``None`` takes the add-on that ships with the model.
        revision: branch, tag or commit of a model on the hub.
        prune: pruning: ``glimpse``, ``auto`` (where it is cheaper) or ``off``; ``None`` prunes if there is an add-on.
        threshold: value of ``sigmoid(score)`` above which tokens are kept; ``None`` takes the add-on's own.
        max_ratio: largest share of an image's tokens to keep, in 0..1.
        min_tokens: smallest number of an image's tokens to keep.
        fallback: ``dense`` asks some questions again without pruning, ``off`` none.
        look_again: ``confidence_raw`` below which an answer is asked for again, on the page at another size; 0
            for never, ``None`` takes the default of the model.
        drop_blank: whether blank paper is hidden from the model; ``None`` takes the default of the model.
        dpi: resolution of the pages, in dots per inch; ``None`` takes the default of the model.
        max_visual_tokens: most visual tokens per page; ``None`` takes the limit of the model.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        dtype: type of the weights.
        attn: attention of the vision tower.
        repetition_penalty: divisor or factor for the logits of earlier tokens, 1 for none; ``None`` takes the
            checkpoint's.
        prompt: words sent to the model for a question that sets none, with ``{text}`` for its text.
        max_new_tokens: longest answer to a question that sets none.
        preset: name of the preset whose values hold for flags that were not given.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    model: str = "nano"
    glimpse: str | None = None
    revision: str | None = None
    prune: Literal["glimpse", "auto", "off"] | None = None
    threshold: float | None = Field(default=None, ge=0, lt=1)
    max_ratio: float | None = Field(default=None, gt=0, le=1)
    min_tokens: int | None = Field(default=None, ge=0)
    fallback: Literal["dense", "off"] = "off"
    look_again: float | None = Field(default=None, ge=0, le=1)
    drop_blank: bool | None = None
    dpi: int | None = Field(default=None, ge=18, le=1200)
    max_visual_tokens: int | None = Field(default=None, ge=1)
    device: Annotated[str, AfterValidator(_known_device)] = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    attn: Literal["auto", "sdpa", "flash_attention_2"] = "auto"
    repetition_penalty: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    prompt: Annotated[str, AfterValidator(_known_prompt)] | None = None
    max_new_tokens: int | None = Field(default=None, ge=1, le=MOST_NEW_TOKENS)
    preset: PresetName | None = None

    fill_in = model_validator(mode="before")(with_preset)

    def flags(self) -> list[str]:
        """Write the values that differ from the defaults as words of a command line."""
        words: list[str] = []
        for name, value in self.model_dump(exclude_defaults=True).items():
            flag = f"--{name.replace('_', '-')}"
            if value is False:
                flag = flag.replace("--", "--no-", 1)
            words += [flag] if isinstance(value, bool) else [flag, str(value)]
        return words


def gather_choice(given: Any) -> Any:
    """Put the flat flags of a model under ``choice``, where settings keep them.

    Args:
        given: fields as a user gives them, flat or already nested.
    """
    if not isinstance(given, Mapping) or "choice" in given:
        return given
    mine = {name: value for name, value in given.items() if name in ModelChoice.model_fields}
    return {**{name: value for name, value in given.items() if name not in mine}, "choice": mine}


def device_of(choice: ModelChoice) -> str:
    """Return the device of a model on this machine, where ``auto`` stands for a GPU if there is one."""
    if choice.device != "auto":
        return choice.device
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def check_attention_here(choice: ModelChoice) -> None:
    """Refuse an attention implementation that cannot run on this machine; see :func:`check_attention`.

    Args:
        choice: model and how it runs.

    Raises:
        UsageError: flash attention was asked for, and cannot run.
    """
    if choice.attn == _FLASH:  # the device takes a second to find
        check_attention(choice, device_of(choice))


def check_attention(choice: ModelChoice, device: str) -> None:
    """Refuse an attention implementation that cannot run, before a model is loaded.

    Args:
        choice: model and how it runs.
        device: ``cpu``, ``cuda`` or ``cuda:N``, where the model will run.

    Raises:
        UsageError: flash attention was asked for, and cannot run.
    """
    if choice.attn != _FLASH:
        return
    found = "--dtype float32" if choice.dtype == "float32" else None
    if device == "cpu":
        found = "a model that runs on the CPU"
    elif find_spec("flash_attn") is None:
        found = "no flash-attn"
    if found is not None:
        raise UsageError(
            f"--attn {_FLASH} needs a GPU, 16-bit weights and the package flash-attn, found {found}; leave --attn out, "
            "or take --attn sdpa"
        )
