"""Says in words which field of an entry of a data set has another layout than expected."""

from __future__ import annotations

import reprlib

from pydantic import ValidationError

_EXPECTED = {
    "missing": "a value",
    "model_type": "an object",
    "dict_type": "an object",
    "list_type": "a list",
    "string_type": "text",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a number",
    "too_short": "at least one entry",
}
_INPUT, _UNIONS = "Input should be ", ("int", "str")


def wrong_field(error: ValidationError) -> str:
    """Say what was expected in the first wrong field, and what was found.

    Args:
        error: what is wrong with an entry.
    """
    first = error.errors()[0]
    place = [str(part) for part in first["loc"] if part not in _UNIONS]
    expected = _EXPECTED.get(first["type"]) or first["msg"].removeprefix(_INPUT)
    found = "nothing" if first["type"] == "missing" else reprlib.repr(first["input"])
    return ": ".join([*([".".join(place)] if place else []), f"expected {expected}, found {found}"])
