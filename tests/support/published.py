"""Output folders that are published from made-up results, and all that can be read back from them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import fsspec
import pyarrow.parquet as pq

from pipeline.output.current import PARTS, Plan
from pipeline.output.folder import Folder
from pipeline.output.publish import publish
from pipeline.output.schema import ANSWERS, DOCUMENTS, FAILURES, PAGES
from pipeline.output.store import OutputStore
from pipeline.questions.values import Reading
from pipeline.records import Bundle, Failure, Unit
from pipeline.results import BundleResult
from tests.support.bundles import result_of, units_and_bundles

SCHEMAS = {"answers": ANSWERS, "pages": PAGES, "documents": DOCUMENTS, "failures": FAILURES}
KEYS = {
    "answers": ("document_id", "page", "question_id"),
    "pages": ("document_id", "page"),
    "documents": ("document_id", "question_id"),
    "failures": ("document_id", "page", "question_id"),
}
Tables = dict[str, list[dict[str, Any]]]
OF_A_PLACE = {"run_id", "bundle_id", "unit_id", "document_id", "source", "command"} | {
    *("render_ms", "vision_ms", "peak_rss_bytes"),
}
"""Columns that differ between two runs of the same documents in two places."""


def store_at(uri: str, command: str = "docpipe run --input {input}") -> OutputStore:
    return OutputStore(Folder(uri), command, "test-run")


def sql(query: str) -> list[tuple[Any, ...]]:
    return duckdb.connect().execute(query).fetchall()


def everything(store: OutputStore) -> Plan:
    """A plan of all that is committed."""
    done = store.done()
    return Plan.of([Unit(unit_id, "", "", ()) for unit_id in done.units | done.pages.keys()], [])


READINGS = {"total": Reading(), "date": Reading(aggregate="first")}


def published(store: OutputStore, readings: dict[str, Reading] | None = None, plan: Plan | None = None) -> int:
    """Publish, by default with every row current; the number of rows in ``answers``."""
    publish(store, readings or READINGS, plan or everything(store))
    return len(tables(store.folder.uri)["answers"])


def tables(uri: str) -> Tables:
    """Whole tables in the order of their keys, from every visible Parquet file of each folder, without times."""
    fs, root = fsspec.url_to_fs(uri)
    found: Tables = {}
    for name, schema in SCHEMAS.items():
        rows: list[dict[str, Any]] = []
        for path in fs.glob(f"{root}/{name}/*.parquet"):
            with fs.open(path, "rb") as file:
                table = pq.read_table(file)
            assert table.schema.remove_metadata() == schema
            assert table.schema.metadata[b"schema_version"] == b"10"
            for row in table.to_pylist():
                at: datetime = row.pop("answered_at")
                assert at.utcoffset() == timedelta(0)
                rows.append(row)
        found[name] = sorted(rows, key=lambda row: [str(row[key]).zfill(40) for key in KEYS[name]])
        keys = [tuple(row[key] for key in KEYS[name]) for row in rows]
        assert len(keys) == len(set(keys)), f"{name} repeats a row"
    return found


def tables_wherever(uri: str) -> Tables:
    """Whole tables of a run, but for what depends on where its documents lie."""
    return {
        name: sorted(
            ({key: value for key, value in row.items() if key not in OF_A_PLACE} for row in found),
            key=lambda row: json.dumps(row, sort_keys=True, default=str),
        )
        for name, found in tables(uri).items()
    }


def rounded(value: Any) -> Any:
    """Round all floats: which sequences decode together depends on timing, and on some processors so do last digits."""
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return round(value, 4) if isinstance(value, float) else value


def part_times(out: Path) -> dict[str, int]:
    """When each part was written, in ns, by its name."""
    return {path.name: path.stat().st_mtime_ns for path in (out / PARTS).glob("*.parquet")}


def broken_page(bundle: Bundle) -> dict[tuple[str, int], Failure]:
    """The last page of each document but the first of the bundle fails."""
    last = {d.document_id: max(bundle.pages_of(d.document_id), default=None) for d in bundle.documents[1:]}
    timeout = Failure("render", "RenderTimeout", "60 s", 2)
    return {(document_id, page): timeout for document_id, page in last.items() if page is not None}


def results_for(pages: Sequence[int | None]) -> list[BundleResult]:
    return [result_of(bundle, broken_page(bundle)) for bundle in units_and_bundles(pages)[1]]
