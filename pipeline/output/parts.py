"""Commits each bundle as one file, in one step; the footer lists the units that it completes."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from pipeline.errors import EngineError
from pipeline.file_names import input_of
from pipeline.output.folder import Folder
from pipeline.output.schema import PART, TABLES
from pipeline.output.tables import read_tables, write_table
from pipeline.records import BundleResult, PageAnswer

UNITS = "units"


def part_name(bundle_id: str) -> str:
    """Return the name of the file that a bundle is committed to."""
    return f"parts/{bundle_id}.parquet"


def write_part(folder: Folder, result: BundleResult, command: str) -> None:
    """Commit a bundle; committing it again replaces the file.

    Args:
        folder: the output folder.
        result: rows of the bundle.
        command: command that reproduces a failure; ``{input}`` stands for the document.

    Raises:
        EngineError: the result does not hold exactly one row for each page of each unit, or the file system refuses.
    """
    _check(result)
    bundle = result.bundle
    table = pa.Table.from_pylist([_rows(result, command)], schema=PART)
    units = json.dumps([unit.unit_id for unit in bundle.units])
    write_table(folder, part_name(bundle.bundle_id), table, bundle_id=bundle.bundle_id, **{UNITS: units})


def read_rows(folder: Folder, bundle_ids: Sequence[str], table: str) -> list[pa.Table]:
    """Read the rows that some bundles have for one of ``TABLES``, one table per bundle.

    Args:
        folder: the output folder.
        bundle_ids: ids of the bundles.
        table: name of the table, a key of ``TABLES``.

    Raises:
        UsageError: a part is damaged.
        EngineError: a part cannot be read.
    """
    parts = read_tables(folder, [part_name(bundle_id) for bundle_id in bundle_ids], [table])
    rows = (part.column(table).combine_chunks().flatten() for part in parts)
    return [pa.Table.from_struct_array(array).cast(TABLES[table]) for array in rows]


def _rows(result: BundleResult, command: str) -> dict[str, list[dict[str, Any]]]:
    documents = {document.document_id: document for document in result.bundle.documents}
    named = {
        key: {"document": document.path, "bundle_id": result.bundle.bundle_id} for key, document in documents.items()
    }
    shared = {key: {**named[key], "document_sha256": result.sha256.get(key)} for key in documents}
    commands = {key: command.format(input=shlex.quote(input_of(document))) for key, document in documents.items()}
    return {
        "answers": [_without_failure(answer) | shared[answer.document_id] for answer in result.answers],
        "pages": [asdict(page) | shared[page.document_id] for page in result.pages],
        "failures": [
            {**_identity(a), **asdict(a.failure), **named[a.document_id], "command": commands[a.document_id]}
            for a in result.answers
            if a.failure is not None
        ],
    }


def _identity(answer: PageAnswer) -> dict[str, Any]:
    return {name: getattr(answer, name) for name in ("unit_id", "document_id", "page", "question_id")}


def _without_failure(answer: PageAnswer) -> dict[str, Any]:
    return {name: value for name, value in asdict(answer).items() if name != "failure"}


def _check(result: BundleResult) -> None:
    """Refuse a result that would lose or repeat a row, which nothing later could detect."""
    wanted = Counter(
        (unit.document_id, page, unit.question_id, unit.unit_id)
        for unit in result.bundle.units
        for page in (unit.pages or (None,))
    )
    found = Counter((a.document_id, a.page, a.question_id, a.unit_id) for a in result.answers)
    if wanted != found:
        missing, surplus = list((wanted - found).elements()), list((found - wanted).elements())
        raise EngineError(
            f"bundle {result.bundle.bundle_id}: expected one row for each page of each unit; "
            f"found {len(missing)} missing {missing[:3]}, {len(surplus)} too many {surplus[:3]}"
        )
    for answer in result.answers:
        if (answer.status == "failed") != (answer.failure is not None):
            raise EngineError(
                f"bundle {result.bundle.bundle_id}: a failed row and a failure belong together, found status "
                f"{answer.status!r} and failure {answer.failure} on page {answer.page} of {answer.document_id}"
            )
