"""Publishes the parts, one per bundle, as the tables that people open.

``answers/`` and ``failures/`` grow by files that hold many parts each. The two files of a group have the same name.
The file in ``answers/`` is written last and makes the group count, so that a crash leaves at most one file without its
partner, which the next call replaces. ``pages/`` and ``documents/`` are one file each, replaced in one step.

A published file is replaced only where the plan makes a row current, or no longer current, or finds its document under
another ``--input``. This comes before new rows, so that an answer is never current beside the one that takes its place.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.output.current import BUNDLES, Plan, read_current, update_marks
from pipeline.output.folder import Folder
from pipeline.output.parts import read_rows
from pipeline.output.schema import COMMITTED, DOCUMENTS, PAGES
from pipeline.output.store import OutputStore
from pipeline.output.summaries import DOCUMENT_COLUMNS, PAGE_COLUMNS, document_table, page_table
from pipeline.output.tables import read_list, read_lists, read_table, read_tables, write_table

PARTS_PER_FILE = 256
ROWS_AT_A_TIME = 1_000_000  # of answers, aggregated to documents in memory
PAGES_FILE = "pages/pages.parquet"
DOCUMENTS_FILE = "documents/documents.parquet"


def publish(store: OutputStore, aggregates: Mapping[str, str], plan: Plan) -> None:
    """Bring all tables up to what the parts hold; published answers are not read from parts again.

    It may be called repeatedly, also while workers commit. A unit can be in two parts if a worker outlived its run; it
    is published from the part that comes first.

    Args:
        store: store of the output folder.
        aggregates: rule of aggregation per question id; ``best`` for questions that are not listed.
        plan: plan of the run; its rows are current, and all others stay but are not.

    Raises:
        UsageError: a file in the folder is damaged.
        EngineError: the file system refuses; the tables are whole, and the next call continues.
    """
    folder, units = store.folder, store.parts()
    groups = _sound_groups(folder, units)
    update_marks(folder, groups, plan)
    published = {bundle for bundles in groups.values() for bundle in bundles}
    pending = sorted(units.keys() - published)
    repeated = _repeated(pending, units, {unit for bundle in published for unit in units[bundle]})
    # Even a run without rows gets tables that can be opened.
    starts = range(0, len(pending), PARTS_PER_FILE) if pending or groups else range(1)
    for start in starts:
        _publish_group(folder, pending[start : start + PARTS_PER_FILE], repeated, plan)
    _publish_pages(folder, units, plan)
    _publish_documents(folder, aggregates)


def _sound_groups(folder: Folder, units: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Return the bundles of each published group by its name; delete groups that lack a file or a part."""
    names = folder.names("answers", ".parquet")
    partners = {_partner(name) for name in folder.names("failures", ".parquet")}
    groups = dict(zip(names, read_lists(folder, names, BUNDLES), strict=True))
    sound = {name: bundles for name, bundles in groups.items() if name in partners and units.keys() >= set(bundles)}
    for name in groups.keys() - sound.keys():
        folder.delete(name)
    for name in partners - sound.keys():
        folder.delete(name.replace("answers/", "failures/", 1))
    return sound


def _partner(failures: str) -> str:
    return failures.replace("failures/", "answers/", 1)


def _repeated(pending: Sequence[str], units: Mapping[str, Sequence[str]], published: set[str]) -> dict[str, pa.Array]:
    """Map each bundle to those of its units that an earlier part holds; bundles without any are left out."""
    seen = set(published)
    repeated = {}
    for bundle in pending:
        known = seen.intersection(units[bundle])
        if known:
            repeated[bundle] = pa.array(sorted(known), pa.string())
        seen.update(units[bundle])
    return repeated


def _publish_group(folder: Folder, bundles: Sequence[str], repeated: Mapping[str, pa.Array], plan: Plan) -> None:
    name = hashlib.sha256("\0".join(bundles).encode()).hexdigest()[:16]
    for table in ("failures", "answers"):
        rows = [
            rows.filter(pc.invert(pc.is_in(rows["unit_id"], repeated[bundle]))) if bundle in repeated else rows
            for bundle, rows in zip(bundles, read_rows(folder, bundles, table), strict=True)
        ]
        order = [(key, "ascending") for key in ("document", "document_id", "page", "question_id")]
        whole = pa.concat_tables([COMMITTED[table].empty_table(), *rows]).sort_by(order)
        write_table(folder, f"{table}/{name}.parquet", plan.marked(whole, table), bundles=json.dumps(bundles))


def _publish_pages(folder: Folder, units: Mapping[str, Sequence[str]], plan: Plan) -> None:
    """Add the pages of new parts to the file, or rebuild it if parts that it holds are gone."""
    known: set[str] = set()
    reports = []
    if PAGES_FILE in folder.names("pages", ".parquet"):
        known = set(read_list(folder, PAGES_FILE, BUNDLES))
        if known <= units.keys():
            reports.append(read_table(folder, PAGES_FILE, COMMITTED["pages"].names))
        else:
            known = set()
    reports.extend(read_rows(folder, sorted(units.keys() - known), "pages"))
    answers = read_tables(folder, folder.names("answers", ".parquet"), PAGE_COLUMNS)
    write_table(
        folder, PAGES_FILE, plan.located(page_table(reports, answers)).cast(PAGES), bundles=json.dumps(sorted(units))
    )


def _publish_documents(folder: Folder, rules: Mapping[str, str]) -> None:
    """Aggregate the current answers, few enough rows at a time that memory does not grow with the documents."""
    names = folder.names("answers", ".parquet")
    ids = [read_current(folder, name, ["document_id"])["document_id"] for name in names]
    chars = 0
    while sum(map(len, ids)) > ROWS_AT_A_TIME * 16**chars:  # a document id is a hash in hexadecimal digits
        chars += 1
    prefixes = {prefix for column in ids for prefix in pc.unique(pc.utf8_slice_codeunits(column, 0, chars)).to_pylist()}
    tables = [DOCUMENTS.empty_table()]
    for prefix in sorted(prefixes):
        read = (read_current(folder, name, DOCUMENT_COLUMNS) for name in names)
        answers = [table.filter(pc.starts_with(table["document_id"], prefix)) for table in read]
        tables.append(document_table(answers, rules))
    write_table(folder, DOCUMENTS_FILE, pa.concat_tables(tables))
