"""Commits the rows of a bundle, or of some of its pages, as one file; the footer lists which they are."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from pipeline.errors import EngineError
from pipeline.file_names import input_of
from pipeline.output.folder import Folder
from pipeline.output.held import Held
from pipeline.output.schema import COMMITTED, PART
from pipeline.output.tables import read_footers, read_tables, write_table
from pipeline.records import Bundle, PageAnswer
from pipeline.results import BundleResult


def part_id(bundle: Bundle) -> str:
    """Name the part that holds the pages of a bundle's units: the bundle's id, and a hash of units and pages."""
    content = json.dumps(sorted((unit.unit_id, unit.pages) for unit in bundle.units))
    return f"{bundle.bundle_id}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"


def part_name(part: str) -> str:
    """Return the name of the file of a part."""
    return f"parts/{part}.parquet"


def part_ids(folder: Folder) -> list[str]:
    """List the ids of all parts, sorted, also of those that another stands for.

    Args:
        folder: the output folder.

    Raises:
        EngineError: the folder cannot be read.
    """
    return [_id_of(name) for name in folder.names("parts", ".parquet")]


def _id_of(name: str) -> str:
    return name.removeprefix("parts/").removesuffix(".parquet")


def write_part(folder: Folder, result: BundleResult, command: str, run_id: str) -> None:
    """Commit a bundle, or some of its pages; committing the same pages again replaces the file.

    Args:
        folder: the output folder.
        result: rows of the bundle, whose units name the pages.
        command: command that reproduces a failure; ``{input}`` stands for the document, ``{document_id}`` for its id.
        run_id: id of the run that computed the rows.

    Raises:
        EngineError: the result does not hold exactly one row for each page of each unit, or the file system refuses.
    """
    _check(result)
    bundle = result.bundle
    table = pa.Table.from_pylist([_rows(result, command, run_id)], schema=PART)
    footer = Held.by(bundle.units).to_footer()
    write_table(folder, part_name(part_id(bundle)), table, bundle_id=bundle.bundle_id, **footer)


def read_held(folder: Folder, parts: Sequence[str]) -> list[Held]:
    """Read from the footers what some parts hold.

    Args:
        folder: the output folder.
        parts: ids of the parts.

    Raises:
        UsageError: a part is damaged.
        EngineError: a part cannot be read.
    """
    return [Held.from_footer(footer) for footer in read_footers(folder, [part_name(part) for part in parts], "units")]


def read_rows(folder: Folder, parts: Sequence[str], tables: Sequence[str]) -> list[dict[str, pa.Table]]:
    """Read the rows of some parts.

    Args:
        folder: the output folder.
        parts: ids of the parts.
        tables: names of tables, keys of ``COMMITTED``.

    Returns:
        The rows of each part by table.

    Raises:
        UsageError: a part is damaged.
        EngineError: a part cannot be read.
    """
    found = read_tables(folder, [part_name(part) for part in parts], tables)
    return [{table: _of_table(part, table) for table in tables} for part in found]


def _of_table(part: pa.Table, table: str) -> pa.Table:
    rows = part.column(table).combine_chunks().flatten()
    return pa.Table.from_struct_array(rows).cast(COMMITTED[table])


def _rows(result: BundleResult, command: str, run_id: str) -> dict[str, list[dict[str, Any]]]:
    documents = {document.document_id: document for document in result.bundle.documents}
    run = {"bundle_id": result.bundle.bundle_id, "run_id": run_id, "answered_at": datetime.now(UTC)}
    named = {key: {"source": document.source, "document": document.path, **run} for key, document in documents.items()}
    shared = {key: {**named[key], "document_sha256": result.sha256.get(key)} for key in documents}
    commands = {
        key: command.format(input=shlex.quote(input_of(document)), document_id=key)
        for key, document in documents.items()
    }
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
    pages = None if answer.page is None else [answer.page, *answer.further_pages]
    rest = {name: value for name, value in asdict(answer).items() if name not in ("failure", "further_pages")}
    return {**rest, "pages": pages}


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
