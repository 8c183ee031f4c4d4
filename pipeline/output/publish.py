"""Publishes the parts as the tables that people open.

``answers/`` and ``failures/`` grow by files that hold many parts each. The two files of a group have the same name.
The file in ``answers/`` is written last and makes the group count, so that a crash leaves at most one file without its
partner, which the next call replaces. ``pages/`` and ``documents/`` are one file each, replaced in one step.

A published file is replaced only where the plan makes a row current, or no longer current, or finds its document under
another ``--input``, or where a question has got another type or the model another calibration. This comes before new
rows, so that an answer is never current beside the one that takes its place.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.confidence.calibration import Calibration
from pipeline.output.confident import as_published, footer_of
from pipeline.output.current import PARTS, Plan, document_prefixes, read_current, update_rows
from pipeline.output.folder import Folder
from pipeline.output.held import Held
from pipeline.output.parts import read_rows
from pipeline.output.schema import COMMITTED, DOCUMENTS, PAGES
from pipeline.output.store import OutputStore
from pipeline.output.summaries import DOCUMENT_COLUMNS, PAGE_COLUMNS, document_table, page_table
from pipeline.output.tables import has_our_name, read_footer, read_footers, read_table, read_tables, write_table
from pipeline.questions.values import Reading

PARTS_PER_FILE = 256
ROWS_AT_A_TIME = 1_000_000  # of answers, aggregated to documents in memory
PAGES_FILE = "pages/pages.parquet"
DOCUMENTS_FILE = "documents/documents.parquet"


def check_tables(folder: Folder) -> None:
    """Check that :func:`publish` will be able to read the tables, before any work is spent.

    Args:
        folder: the output folder.

    Raises:
        UsageError: a file among the tables is damaged, or not one of docpipe.
        EngineError: a file cannot be read.
    """
    names = [name for table in ("answers", "failures") for name in folder.names(table, ".parquet")]
    read_footers(folder, [*names, *(name for name in folder.names("pages", ".parquet") if name == PAGES_FILE)], PARTS)


def publish(
    store: OutputStore, readings: Mapping[str, Reading], plan: Plan, calibration: Calibration | None = None
) -> None:
    """Bring all tables up to what the parts hold; published answers are not read from parts again.

    It may be called repeatedly, also while workers commit. If a worker outlived its run, two parts can hold the same
    rows; they are published from the part that comes first.

    Args:
        store: store of the output folder.
        readings: how the answers to each question are read and aggregated, by its id; those to questions that are not
            listed are text, of which the best is taken.
        plan: plan of the run; its rows are current, and all others stay but are not.
        calibration: calibration of the model; ``None`` leaves the confidence null.

    Raises:
        UsageError: a file in the folder is damaged.
        EngineError: the file system refuses; the tables are whole, and the next call continues.
    """
    folder, parts = store.folder, store.parts()
    groups = _sound_groups(folder, parts)
    update_rows(folder, groups, plan, readings, calibration)
    published = {part for group in groups.values() for part in group}
    pending = sorted(parts.keys() - published)
    repeated = _repeated(pending, parts, published)
    # Even a run without rows gets tables that can be opened.
    starts = range(0, len(pending), PARTS_PER_FILE) if pending or groups else range(1)
    for start in starts:
        _publish_group(folder, pending[start : start + PARTS_PER_FILE], repeated, plan, readings, calibration)
    _publish_pages(folder, parts, plan)
    _publish_documents(folder, readings)


def _sound_groups(folder: Folder, parts: Mapping[str, Held]) -> dict[str, list[str]]:
    """Return the parts of each published group by its name; delete all groups if one lacks a file or a part.

    A sound group can lack rows that another group had from a part that came first, so they are made anew together.
    """
    names = folder.names("answers", ".parquet")
    partners = {_partner(name) for name in folder.names("failures", ".parquet")}
    footers = read_footers(folder, names, PARTS)
    groups = {name: json.loads(footer[PARTS]) for name, footer in zip(names, footers, strict=True)}
    sound = {name: group for name, group in groups.items() if name in partners and parts.keys() >= set(group)}
    if len(sound) < len(groups):
        for name in sorted(groups, key=lambda name: name not in sound):  # what is unsound goes last, if at all
            folder.delete(name)
        sound = {}
    for name in filter(has_our_name, partners - sound.keys()):
        folder.delete(name.replace("answers/", "failures/", 1))
    return sound


def _partner(failures: str) -> str:
    return failures.replace("failures/", "answers/", 1)


def _repeated(pending: Sequence[str], parts: Mapping[str, Held], published: Iterable[str]) -> dict[str, Held]:
    """Map each pending part to what an earlier part holds of it too."""
    seen = Held()
    for part in published:
        seen.add(parts[part])
    repeated = {}
    for part in pending:
        repeated[part] = seen.common(parts[part])
        seen.add(parts[part])
    return repeated


def _without(rows: pa.Table, repeated: Held) -> pa.Table:
    """Drop the rows of units and pages that an earlier part holds."""
    rows = rows.filter(pc.invert(pc.is_in(rows["unit_id"], pa.array(sorted(repeated.units), pa.string()))))
    for unit, pages in repeated.pages.items():
        again = pc.and_(pc.equal(rows["unit_id"], unit), pc.is_in(rows["page"], pa.array(sorted(pages), pa.int32())))
        rows = rows.filter(pc.invert(again))
    return rows


def _publish_group(
    folder: Folder,
    parts: Sequence[str],
    repeated: Mapping[str, Held],
    plan: Plan,
    readings: Mapping[str, Reading],
    calibration: Calibration | None,
) -> None:
    name = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    for table in ("failures", "answers"):
        read = zip(parts, read_rows(folder, parts, table), strict=True)
        rows = [_without(table_rows, repeated[part]) for part, table_rows in read]
        order = [(key, "ascending") for key in ("document", "document_id", "page", "question_id")]
        whole = pa.concat_tables([COMMITTED[table].empty_table(), *rows]).sort_by(order)
        metadata = {PARTS: json.dumps(parts)}
        if table == "answers":
            whole = as_published(whole, readings, calibration)
            metadata |= footer_of(whole, readings, calibration)
        write_table(folder, f"{table}/{name}.parquet", plan.marked(whole, table), **metadata)


def _publish_pages(folder: Folder, parts: Mapping[str, Held], plan: Plan) -> None:
    """Add the pages of new parts to the file, or rebuild it if parts that it holds are gone."""
    known: set[str] = set()
    reports = []
    if PAGES_FILE in folder.names("pages", ".parquet"):
        known = set(json.loads(read_footer(folder, PAGES_FILE, PARTS)[PARTS]))
        if known <= parts.keys():
            reports.append(read_table(folder, PAGES_FILE, COMMITTED["pages"].names))
        else:
            known = set()
    reports.extend(read_rows(folder, sorted(parts.keys() - known), "pages"))
    answers = read_tables(folder, folder.names("answers", ".parquet"), PAGE_COLUMNS)
    pages = plan.located(page_table(reports, answers)).cast(PAGES)
    write_table(folder, PAGES_FILE, pages, parts=json.dumps(sorted(parts)))


def _publish_documents(folder: Folder, readings: Mapping[str, Reading]) -> None:
    """Aggregate the current answers, few enough rows at a time that memory does not grow with the documents."""
    names = folder.names("answers", ".parquet")
    tables = [DOCUMENTS.empty_table()]
    for prefix in document_prefixes(folder, names, ROWS_AT_A_TIME):
        read = (read_current(folder, name, DOCUMENT_COLUMNS) for name in names)
        answers = [table.filter(pc.starts_with(table["document_id"], prefix)) for table in read]
        tables.append(document_table(answers, readings))
    write_table(folder, DOCUMENTS_FILE, pa.concat_tables(tables))
