"""Checks what the JSON files of an output folder say, before anything in them is believed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, Field, ValidationError

QUESTION = "question "
"""What the key of a question begins with in ``settings.json``; its id follows."""

Count = Annotated[int, Field(ge=0, le=10**12)]
"""Number of something, small enough to compute with."""

Moment = Annotated[AwareDatetime, Field(ge=datetime(2000, 1, 1, tzinfo=UTC), lt=datetime(3000, 1, 1, tzinfo=UTC))]
"""Time in any time zone, with room for intervals on both sides."""

_Measured = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]


class _ThisRun(BaseModel):
    rows: Count | None = None
    pages_per_s: _Measured | None = None


class _Run(BaseModel):
    """The fields of ``run.json`` that are read again."""

    run_id: str | None = None
    settings: dict[str, Any] | None = None
    counts: dict[str, Count] | None = None
    this_run: _ThisRun | None = None
    interrupted: bool | None = None
    error: str | None = None
    exit_code: Annotated[int, Field(ge=0, le=255)] | None = None
    finished_at: str | None = None
    wall_s: _Measured | None = None


class _Question(BaseModel):
    """What ``settings.json`` keeps of a question, whose text is among its fields."""

    identity: str
    fields: dict[str, Any]


class _Named(BaseModel):
    """What ``settings.json`` keeps of a flag whose content counts."""

    name: str | None
    fingerprint: str | None


def check_run(found: Mapping[str, Any], needed: Collection[str] = ()) -> None:
    """Check the content of ``run.json``, as far as it is read again.

    Args:
        found: content of the file.
        needed: fields that must be there.

    Raises:
        ValueError: a field is missing, or of another type.
    """
    missing = sorted(set(needed) - found.keys())
    if missing:
        raise ValueError(f"it has no {missing[0]}")
    _check(_Run, found)


def check_settings(found: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Check the content of ``settings.json``, as far as it is compared and shown.

    Args:
        found: content of the file.
        given: settings of this run, in the same form, that it is compared with.

    Raises:
        ValueError: an entry is of another type.
    """
    for key, value in found.items():
        if key.startswith(QUESTION):
            _check(_Question, value, key)
            missing = sorted({"text", *given.get(key, {}).get("fields", {})} - value["fields"].keys())
            if missing:
                raise ValueError(f"{key} has no {missing[0]}")
        elif isinstance(given.get(key), Mapping):
            _check(_Named, value, key)


def _check(model: type[BaseModel], value: object, *place: str) -> None:
    try:
        model.model_validate(value, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join([*place, *map(str, first['loc'])])}: {first['msg']}") from error
