"""Writes one JSON object per document and line, in the shape of the schema, with a parallel object of citations.

The names are those of LlamaExtract's results: ``data``, and ``extraction_metadata.field_metadata`` with a ``citation``
and a ``confidence`` in the place of each value. Boxes are in points of the page as displayed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Any

from pipeline.output.export.base import Column, Exporter, Row
from pipeline.questions.file import Place


def write(path: Path, rows: Iterable[Row], columns: Sequence[Column]) -> list[str]:
    """Write a file.

    Args:
        path: file to write.
        rows: the rows, those of a document together.
        columns: not used; a record has a shape of its own.
    """
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for _, group in groupby(rows, key=lambda row: row["document_id"]):
            file.write(json.dumps(_record(list(group)), ensure_ascii=False) + "\n")
    return []


def _record(rows: Sequence[Row]) -> dict[str, Any]:
    data: dict[str, Any] = {}
    fields: dict[str, Any] = {}
    for row in rows:
        place = row["place"] or Place(path=(row["question_id"],), kind="any")
        _put(data, place.path, _value(row, place))
        _put(fields, place.path, _citation(row))
    where = {name: rows[0][name] for name in ("document", "document_id", "source")}
    return {**where, "data": data, "extraction_metadata": {"field_metadata": fields}}


def _put(tree: dict[str, Any], path: Sequence[str], value: object) -> None:
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    tree[path[-1]] = value


def _value(row: Row, place: Place) -> Any:
    """Return the value as the property takes it; where there is no place for its currency, an amount stands alone."""
    if row["value"] is None:
        return None
    value = json.loads(row["value"])
    if isinstance(value, list):
        return [_amount(entry, place.items or place.kind) for entry in value]
    return _amount(value, place.kind)


def _amount(value: Any, kind: str | None) -> Any:
    if not isinstance(value, Mapping) or kind in ("object", "any", None):
        return value
    return float(Decimal(value["amount"])) if kind == "number" else value["amount"]


def _citation(row: Row) -> dict[str, Any]:
    found: dict[str, Any] = {
        "citation": _places(row),
        "confidence": row["confidence"],
        "status": row["status"],
        "answer": row["answer"],
        "reviewed": row["reviewed"],
        "review_reasons": row["review_reasons"] or [],
        "value_error": row["value_error"],
    }
    return found | ({} if row["value_currency"] is None else {"currency": row["value_currency"]})


def _places(row: Row) -> list[dict[str, Any]]:
    if row["page"] is None or row["status"] not in ("answered", "needs_review"):
        return []
    boxes: dict[int, list[dict[str, float]]] = {}
    for box in row["evidence"] or ():
        sides = {"x": box["x0"], "y": box["y0"], "w": box["x1"] - box["x0"], "h": box["y1"] - box["y0"]}
        boxes.setdefault(box["page"], []).append(sides)
    sizes = {size["page"]: _size(size) for size in row["sizes"]}
    text = row["evidence_text"]
    return [
        {"page": page, "matching_text": text, "bounding_boxes": boxes.get(page, []), "page_dimensions": sizes[page]}
        for page in boxes or row["pages"]
    ]


def _size(page: Mapping[str, Any]) -> dict[str, float] | None:
    return None if page["width_pt"] is None else {"width": page["width_pt"], "height": page["height_pt"]}


EXPORTER = Exporter(write, levels=("documents",))
