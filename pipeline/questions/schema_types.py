"""Finds out which type of answer a property of a JSON Schema asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from pipeline.questions.schema_source import Node
from pipeline.questions.values import ItemType

SETTINGS = "x-docpipe"
"""Keyword that holds settings of docpipe."""

ASK = "ask"
"""Setting that leaves a property out where it is false."""

LEAVE_OUT = f'leave the property out: "{SETTINGS}": {{"{ASK}": false}}'
"""Advice for a property that cannot be asked for."""

_SEVERAL = {"list": "a list of the values on all pages", "all": "all answers and no value"}
_REFUSED = ("const", "patternProperties", "prefixItems", "not", "if", "dependentSchemas", "$dynamicRef")
_OF_FORMAT = {
    "date": "date",
    "email": "email",
    "idn-email": "email",
    "iban": "iban",
    "vat": "vat",
    "phone": "phone",
    "tel": "phone",
    "money": "money",
}
_NO_TYPE = ("date-time", "time", "duration")
_OF_KIND = {"string": "text", "number": "number", "integer": "integer", "boolean": "boolean", "array": "list"}
_FITTING = {
    "string": {"text", "choice", "date", "money", "iban", "vat", "email", "phone"},
    "number": {"number", "integer", "money"},
    "integer": {"integer"},
    "boolean": {"boolean"},
    "array": {"list"},
    "object": {"money"},
}
"""Types of answers whose values can stand in a property of each kind."""


def simplified(node: Node) -> Node:
    """Follow references, and take ``null`` out of what a property may be.

    Args:
        node: property of the schema.

    Raises:
        ValueError: the property may be of several types, or uses what is not supported.
    """
    node = node.followed()
    for keyword in _REFUSED:
        if keyword in node.content:
            raise ValueError(f"{keyword} is not supported; {LEAVE_OUT}")
    for keyword in ("allOf", "anyOf", "oneOf"):
        if keyword in node.content:
            beside = {key: value for key, value in node.content.items() if key != keyword}
            inner = simplified(_only(node, keyword))
            return Node({**inner.content, **beside}, inner.resolver, inner.refs)
    return node


def _only(node: Node, keyword: str) -> Node:
    """Return the one alternative that is not ``null``; numbers that may be written as text are numbers."""
    options = [node.below(option).followed() for option in node.content[keyword]]
    left = [option for option in options if option.content.get("type") != "null"]
    kinds = [option.content.get("type") for option in left]
    if len(left) == 2 and "number" in kinds and ({"string", "integer"} & {*kinds}):
        return left[kinds.index("number")]  # as pydantic writes a Decimal
    if len(left) != 1:
        raise ValueError(f"{keyword}: expected one type, or one and null, found {len(left)}")
    return left[0]


def kind_of(node: Node) -> str:
    """Return the type that the property has in JSON; ``string`` where nothing says so.

    Args:
        node: property, simplified.

    Raises:
        ValueError: the property may be of several types.
    """
    given = node.content.get("type")
    kinds = [kind for kind in (given if isinstance(given, list) else [given]) if kind not in ("null", None)]
    if len(kinds) > 1:
        raise ValueError(f"type: expected one type, or one and null, found {', '.join(map(str, kinds))}")
    if kinds:
        return str(kinds[0])
    if given is not None:
        raise ValueError("type: 'null' is not supported, since there is nothing to ask for")
    hints = (("properties", "object"), ("items", "array"))
    return next((kind for keyword, kind in hints if keyword in node.content), "string")


def is_group(node: Node, kind: str, settings: Mapping[str, Any]) -> bool:
    """Tell whether a property holds further properties that are asked for one by one.

    Args:
        node: property, simplified.
        kind: its type in JSON.
        settings: its own settings.
    """
    return kind == "object" and (settings.get("type") or node.content.get("format")) != "money"


def answer_fields(node: Node, kind: str, settings: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
    """Find the type of the answer, as fields of a question, and the kind of a list's entries.

    Args:
        node: property, simplified.
        kind: its type in JSON.
        settings: its own settings.

    Raises:
        ValueError: no type of answer fits.
    """
    if kind not in _FITTING:
        raise ValueError(f"type: {kind!r} is not supported")
    choices = _choices(node)
    chosen = settings.get("type") or ("choice" if choices is not None else _of_format(node, kind))
    if isinstance(chosen, str) and chosen not in _FITTING[kind]:
        fitting = ", ".join(sorted(_FITTING[kind]))
        raise ValueError(f"a value of type {chosen} cannot stand in a {kind}; expected {fitting}")
    if chosen == "choice":
        return {"type": chosen} | ({} if choices is None else {"choices": choices}), None
    if chosen != "list":
        return {"type": chosen}, None
    items, entry = _items(node, settings)
    return {"type": "list", "items": items}, entry


def check_aggregate(aggregate: object, kind: str) -> None:
    """Refuse a way to aggregate that makes what cannot stand in a property, whose shape is that of one page's value.

    Args:
        aggregate: the setting of the property, or of an object around it; ``None`` for none.
        kind: type of the property in JSON.

    Raises:
        ValueError: it does not fit.
    """
    if isinstance(aggregate, str) and aggregate in _SEVERAL:
        raise ValueError(
            f"aggregate: {aggregate} makes {_SEVERAL[aggregate]}, which cannot stand in a property of type {kind}; "
            "expected best, first or vote, or for numbers and dates sum, min or max"
        )


def _of_format(node: Node, kind: str) -> str:
    form = node.content.get("format")
    if form in _NO_TYPE and kind == "string":
        raise ValueError(f"format: {form} is not supported; take date, or set type in {SETTINGS}")
    of_format = _OF_FORMAT.get(form) if isinstance(form, str) else None
    return of_format if of_format in _FITTING[kind] else _OF_KIND[kind]


def _choices(node: Node) -> tuple[str, ...] | None:
    if "enum" not in node.content:
        return None
    values = [value for value in node.content["enum"] if value is not None]
    if not all(isinstance(value, str) for value in values):
        raise ValueError("enum: expected texts to choose from; for numbers leave it out")
    return tuple(values)


def _items(node: Node, settings: Mapping[str, Any]) -> tuple[str, str]:
    inner = simplified(node.below(node.content.get("items", {})))
    kind = kind_of(inner)
    if is_group(inner, kind, {"type": settings.get("items")}):
        raise ValueError(
            "an array of objects, such as the lines of an invoice, is not supported, because an answer is one value or "
            "one list of values; ask for each column as an array of its own, or " + LEAVE_OUT
        )
    if kind == "array":
        raise ValueError("an array of arrays is not supported")
    if "enum" in inner.content:
        raise ValueError("an array whose items have an enum is not supported; leave the enum out")
    chosen = settings.get("items") or answer_fields(inner, kind, {})[0]["type"]
    if chosen not in get_args(ItemType):
        raise ValueError(f"items: expected {', '.join(get_args(ItemType))}, found {chosen!r}")
    if chosen not in _FITTING[kind]:
        raise ValueError(f"a value of type {chosen} cannot stand in a {kind}")
    return chosen, kind
