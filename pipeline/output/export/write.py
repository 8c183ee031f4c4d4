"""Exports an output folder to a file: its answers, or the sheet of those that a person has to look at."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import cast

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import UsageError
from pipeline.file_names import printable
from pipeline.output.aggregate import OF_ALL_PAGES, to_correct
from pipeline.output.asked import read_asked
from pipeline.output.current import read_current
from pipeline.output.export.base import Exporter, Level, Row
from pipeline.output.export.columns import review_columns, sheet_columns
from pipeline.output.export.registry import find_exporter, formats
from pipeline.output.export.rows import answer_files, count_rows, read_rows
from pipeline.output.faults import whole_file
from pipeline.output.folder import Folder
from pipeline.output.reviews import read_reviews
from pipeline.questions.values import Reading

_MOST_NAMED = 10  # results of documents


def write_export(folder: Folder, to: Path, form: str | None = None, level: str | None = None) -> list[str]:
    """Write the current answers to a file, in the place of what it held.

    Args:
        folder: the output folder of a run.
        to: file to write.
        form: format; ``None`` takes the ending of the file.
        level: ``documents`` or ``pages``; ``None`` for the default of the format.

    Returns:
        What a user has to be told, in lines.

    Raises:
        UsageError: there is no such format or level, the folder holds no answers, or the file cannot hold them.
        OutputError, EngineError: a file cannot be read or written.
    """
    name = form or _ending(to)
    exporter = find_exporter(name)
    wanted = cast(Level, level or exporter.levels[0])
    if wanted not in exporter.levels:
        raise UsageError(f"--level {wanted}: {name} takes {' or '.join(exporter.levels)}")
    rows = count_rows(folder, wanted)
    asked = read_asked(folder)
    _check_size(exporter, rows, name)
    _check_apart(folder, to)
    with whole_file(to) as file:
        notes = exporter.write(file, read_rows(folder, asked, wanted), sheet_columns(wanted))
    return [
        f"{_counted(rows, 'row')} of current answers in {_shown(to)}, one per {wanted.removesuffix('s')} and question",
        *notes,
    ]


def write_review_sheet(folder: Folder, to: Path, form: str | None = None) -> list[str]:
    """Write the answers that need review to a new file, the least confident first, with columns to fill in.

    Behind them are the answers and failed pages that a result of a document needs review for, with its reason.

    Args:
        folder: the output folder of a run.
        to: file to write, which must not exist: it may hold what somebody filled in.
        form: format of a sheet; ``None`` takes the ending of the file.

    Returns:
        What a user has to be told, in lines.

    Raises:
        UsageError: the format is none of a sheet, the folder holds no answers, or the file exists.
        OutputError, EngineError: a file cannot be read or written.
    """
    name = form or _ending(to)
    exporter = find_exporter(name)
    if not exporter.is_sheet:
        sheets = [name for name in formats() if find_exporter(name).is_sheet]
        raise UsageError(f"--format {name}: a sheet to fill in has to be one of {', '.join(sheets)}")
    if os.path.lexists(to):
        raise UsageError(
            f"{_shown(to)} exists, and may hold corrections; take them back with docpipe review, or name a new file"
        )
    answer_files(folder)
    asked = read_asked(folder)
    results = [row for row in read_rows(folder, asked, "documents") if row["status"] == "needs_review"]
    doubtful, further, unseen = _to_review(read_rows(folder, asked, "pages"), results, asked.readings)
    doubtful.sort(key=lambda row: (_certainty(row) is not None, _certainty(row) or 0.0))
    doubtful += further
    _check_size(exporter, len(doubtful), name)
    _check_apart(folder, to)
    with whole_file(to) as file:
        notes = exporter.write(file, doubtful, review_columns(asked.texts))
    if not doubtful:
        empty = f"{_shown(to)} has no rows"
        return [f"no answer of a page to review; {empty}", *unseen] if unseen else [f"nothing to review; {empty}"]
    command = shlex.join(["docpipe", "review", folder.uri, "--import", str(to)])
    return [
        f"{_counted(len(doubtful), 'answer')} to review in {_shown(to)}",
        printable(f"fill in reviewed_answer, then: {command}"),
        *notes,
        *unseen,
    ]


def _to_review(
    rows: Iterable[Row], results: Sequence[Row], readings: Mapping[str, Reading]
) -> tuple[list[Row], list[Row], list[str]]:
    """Find the answers that need review, those that results of documents need review for, and what has neither.

    Args:
        rows: answers of pages.
        results: answers of documents that need review.
        readings: how the answers to each question are aggregated, by its id.
    """
    rules = {_key(row): readings.get(row["question_id"], Reading()).aggregate for row in results}
    groups: dict[tuple[str, str], list[Row]] = {key: [] for key, rule in rules.items() if rule in OF_ALL_PAGES}
    doubtful: list[Row] = []
    for row in rows:
        if row["status"] == "needs_review":
            doubtful.append(row)
        if (key := _key(row)) in groups:
            groups[key].append(row)
    seen = set(map(_key, doubtful))
    further: list[Row] = []
    unseen: list[Row] = []
    for result in results:
        key = _key(result)
        # What a person has said is not asked again: two currencies stay two.
        behind = to_correct(rules[key], groups.get(key, ()))
        behind = [row for row in behind if row["status"] != "needs_review" and not row["reviewed"]]
        further += [{**row, "review_reasons": [result["chosen_by"]]} for row in behind]
        if not behind and key not in seen:
            unseen.append(result)
    return doubtful, further, _told(unseen)


def _key(row: Row) -> tuple[str, str]:
    return row["document_id"], row["question_id"]


def _told(results: Sequence[Row]) -> list[str]:
    """Name results of documents that need review, and say where they stand."""
    if not results:
        return []
    need = "1 result of a document needs" if len(results) == 1 else f"{len(results):,} results of documents need"
    named = [f"  {row['document']}, {row['question_id']}: {row['chosen_by']}" for row in results[:_MOST_NAMED]]
    left = [f"  and {len(results) - _MOST_NAMED:,} more"] if len(results) > _MOST_NAMED else []
    where = "they stand in documents/, and in docpipe export without --review, with the reason in chosen_by"
    return [f"{need} review, though no answer on a page does:", *map(printable, named), *left, where]


def lost_corrections(folder: Folder) -> str | None:
    """Say how many corrections are in no export, as their answers are no longer current.

    Args:
        folder: the output folder of a run.

    Returns:
        What a user has to be told; ``None`` where every correction counts.

    Raises:
        UsageError: the folder holds no answers, or a file is damaged.
        EngineError: a file cannot be read.
    """
    names = answer_files(folder)
    left = {(row["unit_id"], row["page"]) for row in read_reviews(folder).to_pylist()}
    units = pa.array({unit for unit, _ in left}, pa.string())
    for name in names if left else ():
        rows = read_current(folder, name, ("unit_id", "page"))
        there = rows.filter(pc.is_in(rows["unit_id"], value_set=units)).to_pylist()
        left -= {(row["unit_id"], row["page"]) for row in there}
    if not left:
        return None
    belong = "correction belongs to an answer that is" if len(left) == 1 else "corrections belong to answers that are"
    return (
        f"{len(left):,} {belong} no longer current, as document, question or pages have changed; "
        f"{folder.uri.rstrip('/')}/reviews/ keeps what was said"
    )


def _counted(count: int, unit: str) -> str:
    return f"{count:,} {unit}" if count == 1 else f"{count:,} {unit}s"


def _shown(path: Path) -> str:
    return printable(str(path))


def _certainty(row: Row) -> float | None:
    certainty: float | None = row["confidence"]
    return row["confidence_raw"] if certainty is None else certainty


def _ending(to: Path) -> str:
    ending = to.suffix.lower().removeprefix(".")
    if ending not in formats():
        raise UsageError(
            f"--to {_shown(to)}: the format does not follow from its ending; add --format {'|'.join(formats())}"
        )
    return ending


def _check_size(exporter: Exporter, rows: int, name: str) -> None:
    if exporter.most_rows is not None and rows > exporter.most_rows:
        raise UsageError(f"{name} holds {exporter.most_rows:,} rows below its head, found {rows:,}; take csv or jsonl")


def _check_apart(folder: Folder, to: Path) -> None:
    """Refuse a file among the tables, which others read as whole folders."""
    root, parents = os.path.realpath(folder.root), [str(parent) for parent in Path(os.path.realpath(to)).parents]
    if folder.local and root in parents[1:]:
        raise UsageError(
            f"--to {_shown(to)} is inside a folder of {folder.uri} that holds tables only; name a place outside"
        )
