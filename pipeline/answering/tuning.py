"""Keeps what was measured about a machine and a model, so that it is measured once.

The type that a CPU computes in and the rates that `--prune auto` weighs decide what is answered, so the first process
of an output folder settles them for all that follow. The number of lanes only decides how fast.
"""

from __future__ import annotations

import hashlib
import json
import logging
import platform
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Literal, TypeVar

import torch
from platformdirs import user_cache_path
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from glimpseprune.cost.rates import Rates, measure_rates
from glimpseprune.cpu_dtype import cpu_dtype
from glimpseprune.model import GlimpseModel
from pipeline.output.faults import writing
from pipeline.output.store import OutputStore
from pipeline.records import AnswerSettings

_log = logging.getLogger(__name__)
_PLAIN = ConfigDict(extra="forbid", frozen=True)
FOLDER = "tuning"
Stored = TypeVar("Stored", bound=BaseModel)


class StoredRates(BaseModel):
    """Seconds per operation by kind, as files hold them (:class:`glimpseprune.cost.rates.Rates`)."""

    model_config = _PLAIN

    linear: float = Field(gt=0, lt=1)
    attention: float = Field(gt=0, lt=1)
    predictor: float = Field(ge=0, lt=1)
    predictor_token: float = Field(default=0.0, ge=0, lt=1)  # files of earlier versions decide as they did
    layer_run: float = Field(ge=0, lt=3600)


class StoredDtype(BaseModel):
    """Name of the type that a CPU computes in where `--dtype auto` leaves it open."""

    model_config = _PLAIN

    dtype: Literal["float32", "bfloat16"]


class Tuning(BaseModel):
    """What ``docpipe doctor --tune`` found on this machine; ``None`` where it did not look."""

    model_config = _PLAIN

    lane_threads: int | None = Field(default=None, ge=1, le=1024)
    dtype: StoredDtype | None = None
    rates: StoredRates | None = None


def settle_dtype(store: OutputStore, settings: AnswerSettings, device: str, tuned: Tuning) -> str:
    """Return the type of the model in an output folder, as :func:`glimpseprune.load` takes it.

    Args:
        store: the output folder; its first process settles what the settings leave open.
        settings: settings of the answers.
        device: torch device.
        tuned: tuning of this machine.

    Raises:
        UsageError: the folder's file with the type is damaged.
    """
    if not leaves_dtype_open(settings.dtype, device):
        return settings.dtype
    # Answers that stand without this file are of a docpipe that always took float32.
    older = bool(store.folder.names("parts", ".parquet"))
    chosen = StoredDtype(dtype="float32") if older else tuned.dtype
    return _settle(store, "dtype", StoredDtype, lambda: chosen or measured_dtype()).dtype


def settle_rates(store: OutputStore, model: GlimpseModel, tuned: Tuning) -> Rates:
    """Return what operations take, as ``--prune auto`` weighs them in an output folder.

    Args:
        store: the output folder; its first process settles them.
        model: the loaded model.
        tuned: tuning of this machine.

    Raises:
        UsageError: the folder's file with the rates is damaged.
    """
    stored = _settle(store, "rates", StoredRates, lambda: tuned.rates or measured_rates(model))
    return Rates(**stored.model_dump())


def leaves_dtype_open(dtype: str, device: str) -> bool:
    """Tell whether this machine decides the type of a model."""
    return dtype == "auto" and torch.device(device).type == "cpu"


@cache
def measured_dtype() -> StoredDtype:
    """Measure which type suits this CPU, in a second or two, once per process."""
    return StoredDtype.model_validate({"dtype": str(cpu_dtype()).removeprefix("torch.")})


def measured_rates(model: GlimpseModel) -> StoredRates:
    """Measure what operations take, in a few seconds."""
    return StoredRates(**asdict(measure_rates(model)))


def _settle(store: OutputStore, name: str, kind: type[Stored], measure: Callable[[], Stored]) -> Stored:
    file = f"{FOLDER}/{name}.json"
    raw = store.read_settled(file)
    if raw is None:
        raw = store.settle(file, measure().model_dump(mode="json"))
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        wrong = "; ".join(f"{one['loc'][0]}: {one['msg']}" for one in error.errors())
        raise store.damaged(file, wrong) from error


def tuning_file(settings: AnswerSettings, device: str, glimpse_fingerprint: str | None) -> Path:
    """Name the file that holds the tuning of this machine for a model.

    Args:
        settings: settings of the answers, of which model and type count.
        device: torch device.
        glimpse_fingerprint: fingerprint of the add-on; ``None`` for runs without pruning.
    """
    parts = (_machine(device), torch.__version__, settings.model_fingerprint, glimpse_fingerprint, settings.dtype)
    key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
    return user_cache_path("docpipe", appauthor=False) / FOLDER / f"{key}.json"


def read_tuning(file: Path) -> Tuning:
    """Read the tuning of this machine; empty where there is none, or none that can be read, which is logged."""
    try:
        return Tuning.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return Tuning()
    except (OSError, ValidationError) as error:
        _log.warning("%s cannot be used, so defaults are: %s; `docpipe doctor --tune` writes it again", file, error)
        return Tuning()


def write_tuning(file: Path, tuning: Tuning) -> None:
    """Write the tuning of this machine.

    Args:
        file: its file, from :func:`tuning_file`.
        tuning: what was found.

    Raises:
        OutputError: the file cannot be written.
    """
    with writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(tuning.model_dump_json(indent=2) + "\n", encoding="utf-8")


def _machine(device: str) -> str:
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} {_cpu_name()} {torch.backends.cpu.get_cpu_capability()}"


def _cpu_name() -> str:
    """Return the processor's name, as Linux tells it; elsewhere what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
