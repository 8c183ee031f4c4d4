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
from collections.abc import Iterable, Iterator, Mapping, Sequence

import pyarrow as pa

from pipeline.confidence.calibration import Calibration
from pipeline.output.completed import LiveParts
from pipeline.output.confident import as_published, footer_of
from pipeline.output.current import PARTS, TABLES_OF_GROUP, Plan, partner, read_current, update_rows
from pipeline.output.folder import Folder
from pipeline.output.held import Held
from pipeline.output.parts import read_rows
from pipeline.output.schema import COMMITTED, DOCUMENTS, PAGES
from pipeline.output.store import OutputStore
from pipeline.output.summaries import DOCUMENT_COLUMNS, PAGE_COLUMNS, PageRows, document_table
from pipeline.output.tables import (
    has_our_name,
    read_batches,
    read_footer,
    read_footers,
    read_table,
    write_batches,
    write_table,
)
from pipeline.questions.values import Reading
from pipeline.sorting import bounds_of, in_order

PARTS_PER_FILE = 256
ROWS_PER_FILE = 65_536  # of answers, unless one part has more
ROWS_AT_A_TIME = 100_000  # of answers, aggregated to documents in memory
_PARTS_AT_A_TIME = 32
_ROWS_TO_COPY = 20_000
_Group = dict[str, dict[str, pa.Table]]  # rows of each table, by the id of the part that has them
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
    folder, completed = store.folder, store.completed(plan.scratch)
    live = completed.refresh()
    groups = _sound_groups(folder, live)
    update_rows(folder, groups, plan, readings, calibration)
    pending = live.missing({part for group in groups.values() for part in group})
    repeated = completed.repeated(pending)
    plan.expect(pending)
    pages = _pages_before(folder, live, pending, plan)
    # Even a run without rows gets tables that can be opened.
    for group in _groups(folder, pending, live) if pending or groups else [{}]:
        _publish_group(folder, group, repeated, plan, readings, calibration)
        pages.add_reports([of_part["pages"] for of_part in group.values()])
    _publish_pages(folder, live, pages)
    _publish_documents(folder, readings)


def _groups(folder: Folder, pending: Sequence[str], live: LiveParts) -> Iterator[_Group]:
    """Read parts, and divide them into those of one file each."""
    group: _Group = {}
    size = rows = 0
    for parts in _few(pending, live):
        for part, of_part in zip(parts, read_rows(folder, parts, tuple(COMMITTED)), strict=True):
            more, more_rows = _size_of(part, live), len(of_part["answers"])
            if group and (size + more > PARTS_PER_FILE or rows + more_rows > ROWS_PER_FILE):
                yield group
                group, size, rows = {}, 0, 0
            group[part] = of_part
            size, rows = size + more, rows + more_rows
    if group:
        yield group


def _few(parts: Iterable[str], live: LiveParts) -> Iterator[list[str]]:
    """Take parts a few at a time; one that stands for others counts as many."""
    few: list[str] = []
    size = 0
    for part in parts:
        if few and size + _size_of(part, live) > _PARTS_AT_A_TIME:
            yield few
            few, size = [], 0
        few.append(part)
        size += _size_of(part, live)
    if few:
        yield few


def _size_of(part: str, live: LiveParts) -> int:
    """Return the number of parts that one stands for."""
    return max(1, len(live.replaces[part]))


def _sound_groups(folder: Folder, live: LiveParts) -> dict[str, list[str]]:
    """Return the parts of each published group by its name; delete all groups if one lacks a file or a part.

    A sound group can lack rows that another group had from a part that came first, so they are made anew together.
    """
    names = folder.names("answers", ".parquet")
    partners = {_in_answers(name) for name in folder.names("failures", ".parquet")}
    footers = read_footers(folder, names, PARTS)
    groups = {name: json.loads(footer[PARTS]) for name, footer in zip(names, footers, strict=True)}
    sound = {name: group for name, group in groups.items() if name in partners and live.stand_for(group)}
    if len(sound) < len(groups):
        for name in sorted(groups, key=lambda name: name not in sound):  # what is unsound goes last, if at all
            folder.delete(name)
        sound = {}
    for name in filter(has_our_name, partners - sound.keys()):
        folder.delete(partner(name, "failures"))
    return sound


def _in_answers(failures: str) -> str:
    return failures.replace("failures/", "answers/", 1)


def _publish_group(
    folder: Folder,
    group: _Group,
    repeated: Mapping[str, Held],
    plan: Plan,
    readings: Mapping[str, Reading],
    calibration: Calibration | None,
) -> None:
    name = hashlib.sha256("\0".join(group).encode()).hexdigest()[:16]
    for table in TABLES_OF_GROUP:
        read = {part: found[table] for part, found in group.items()}
        rows = [repeated[part].without(found) if part in repeated else found for part, found in read.items()]
        order = [(key, "ascending") for key in ("document", "document_id", "page", "question_id")]
        whole = pa.concat_tables([COMMITTED[table].empty_table(), *rows]).sort_by(order)
        metadata = {PARTS: json.dumps(list(group))}
        if table == "answers":
            whole = as_published(whole, readings, calibration)
            metadata |= footer_of(whole, readings, calibration)
        write_table(folder, f"{table}/{name}.parquet", plan.marked(whole, table), **metadata)
        plan.marks(f"{table}/{name}.parquet")


def _pages_before(folder: Folder, live: LiveParts, pending: Sequence[str], plan: Plan) -> PageRows:
    """Gather the pages of all parts but those that are about to be published, mostly from the file that has them."""
    rows = PageRows(plan.scratch)
    known: set[str] = set()
    if PAGES_FILE in folder.names("pages", ".parquet"):
        named = json.loads(read_footer(folder, PAGES_FILE, PARTS)[PARTS])
        if live.stand_for(named):
            known.update(named)
            for batch in read_batches(folder, PAGES_FILE, COMMITTED["pages"].names, _ROWS_TO_COPY):
                rows.add_reports([batch])
    published = set(live.missing(known)).difference(pending)  # after a crash, or where the file was deleted
    for parts in _few(sorted(published), live):
        rows.add_reports([of_part["pages"] for of_part in read_rows(folder, parts, ["pages"])])
    return rows


def _publish_pages(folder: Folder, live: LiveParts, rows: PageRows) -> None:
    for name in folder.names("answers", ".parquet"):
        rows.add_answers(read_table(folder, name, PAGE_COLUMNS))
    write_batches(folder, PAGES_FILE, PAGES, rows.read(), parts=json.dumps(sorted(live.replaces)))
    rows.drop()


def _publish_documents(folder: Folder, readings: Mapping[str, Reading]) -> None:
    """Aggregate the current answers, few enough rows at a time that memory does not grow with the documents."""
    names = folder.names("answers", ".parquet")
    bounds = bounds_of((read_current(folder, name, ["document"])["document"] for name in names), ROWS_AT_A_TIME)
    answers = (read_current(folder, name, DOCUMENT_COLUMNS) for name in names)
    sorted_answers = in_order(answers, bounds, ("document", "document_id", "question_id", "page"))
    write_batches(folder, DOCUMENTS_FILE, DOCUMENTS, (document_table(rows, readings) for rows in sorted_answers))
