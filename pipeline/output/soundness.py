"""Checks that a file among the tables is what docpipe writes, before anything in it is believed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import pyarrow as pa
from pydantic import AfterValidator, ConfigDict, TypeAdapter, ValidationError

from pipeline.output.schema import DOCUMENTS, LISTING, PAGE_COUNTS, PART, REVIEWS, TABLES
from pipeline.questions.values import Reading

_SCHEMAS = {
    **TABLES,
    "documents": DOCUMENTS,
    "reviews": REVIEWS,
    "parts": PART,
    "nights": LISTING,
    "cache": PAGE_COUNTS,
}
_TOGETHER = ("parts", "readings", "calibration")  # entries that a published file of answers has, or has none of


def _signature(text: str) -> str:
    try:
        Reading.of_signature(text)
    except TypeError as error:
        raise ValueError(str(error)) from error
    return text


_ONCE = ConfigDict(cache_strings="none")  # ids do not repeat, and would fill the cache for nothing
_ENTRIES: dict[str, TypeAdapter[Any]] = {
    "units": TypeAdapter(list[str], config=_ONCE),
    "pages": TypeAdapter(dict[str, list[int]], config=_ONCE),
    "parts": TypeAdapter(list[str], config=_ONCE),
    "replaces": TypeAdapter(list[str], config=_ONCE),
    "readings": TypeAdapter(dict[str, Annotated[str, AfterValidator(_signature)]]),
}


def check_columns(schema: pa.Schema, name: str) -> None:
    """Check that a file has the columns of its table.

    Args:
        schema: schema of the file.
        name: name of the file in the output folder.

    Raises:
        ValueError: a column is missing, too many or of another type.
    """
    expected = _SCHEMAS[name.partition("/")[0]]
    found = {field.name: field.type for field in schema}
    for field in expected:
        if field.name not in found:
            raise ValueError(f"its column {field.name} is missing")
        if found[field.name] != field.type:
            raise ValueError(f"its column {field.name} is of type {found[field.name]}, expected {field.type}")


def check_footer(footer: Mapping[str, str], name: str) -> None:
    """Check the entries of a footer that are read as JSON.

    Args:
        footer: entries of the footer.
        name: name of the file in the output folder.

    Raises:
        ValueError: an entry is not what docpipe writes.
    """
    for entry, adapter in _ENTRIES.items():
        if entry in footer:
            try:
                adapter.validate_json(footer[entry], strict=True)
            except ValidationError as error:
                raise ValueError(f"entry {entry} of its footer: {error.errors()[0]['msg']}") from error
    if name.startswith("answers/") and "readings" in footer and not footer.keys() >= set(_TOGETHER):
        raise ValueError(f"its footer lacks one of {', '.join(_TOGETHER)}")
