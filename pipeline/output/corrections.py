"""Takes back a review sheet: checks every correction in it, and adds those that are new."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import UsageError
from pipeline.file_names import printable
from pipeline.output.asked import read_asked
from pipeline.output.export.columns import COMMENT, REVIEWED, REVIEWER, ROW, on_one_line
from pipeline.output.export.formulas import armed
from pipeline.output.export.rows import answer_files
from pipeline.output.folder import Folder
from pipeline.output.lock import OutputLock
from pipeline.output.reviews import add_reviews, read_reviews
from pipeline.output.sheets import Entry, Formula, read_sheet
from pipeline.output.tables import read_table
from pipeline.questions.no_answer import person_says_no_answer
from pipeline.questions.values import Parsed, Reading
from pipeline.questions.yaml_text import joined

_ROW = re.compile(r"p([1-9][0-9]{0,8})-([0-9a-f]{8,64})")
_COLUMNS = ("unit_id", "page", "document_id", "document", "question_id", "answer", "is_current")
_FAULT = re.compile(r"#[A-ZÄÖÜ][A-ZÄÖÜ0-9_/]*[!?]|#N/A|#NV|#GETTING_DATA|#{3,}|Err:[0-9]{3}")
"""What spreadsheets write in the place of a result that they do not have."""

_NUMBERS = ("number", "integer", "money")
_EXAMPLES = 3  # of what to write instead; many currencies share a sign
_DIGITS = 15  # of a number in a workbook; further ones are noise
_Key = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a sheet.

    Attributes:
        added: number of new corrections.
        known: number of rows that say what is known already.
        empty: number of rows without a reviewed answer.
        commented: number of these that have a comment, which is not kept.
    """

    added: int
    known: int
    empty: int
    commented: int


def take_corrections(folder: Folder, sheet: Path, reviewer: str) -> Taken:
    """Add the corrections of a sheet, all of them or none; taking a sheet twice changes nothing.

    Args:
        folder: the output folder of a run.
        sheet: the sheet, as a spreadsheet saved it.
        reviewer: who made the corrections, where the sheet does not say.

    Raises:
        UsageError: a correction belongs to no current answer, or stands for no value; the message has a line for each.
        OutputError, EngineError: the file system refuses.
    """
    answer_files(folder)  # a folder of something else gets no lock
    with OutputLock(folder):
        reading = _Sheet(folder, sheet, reviewer)
        if reading.problems:
            lines = joined(
                f"{printable(str(sheet))}: line {line}: {problem}" for line, problem in sorted(reading.problems)
            )
            raise UsageError(f"{lines}\nnothing was taken; correct these lines, or take them out")
        known = {(row["unit_id"], row["page"]): row for row in read_reviews(folder).to_pylist()}
        new = [row for key, row in reading.rows.items() if not _same(row, known.get(key), key in reading.signed)]
        if new:
            add_reviews(folder, new)
    return Taken(len(new), len(reading.rows) - len(new), reading.empty, reading.commented)


def _same(row: Mapping[str, Any], known: Mapping[str, Any] | None, is_signed: bool) -> bool:
    """Tell whether a row is known; another person who signed it confirms it, another who takes it back does not."""
    names = (REVIEWED, COMMENT, REVIEWER) if is_signed else (REVIEWED, COMMENT)
    return known is not None and all(row[name] == known[name] for name in names)


class _Sheet:
    """The corrections of a sheet, and the lines with something wrong."""

    def __init__(self, folder: Folder, sheet: Path, reviewer: str) -> None:
        self.rows: dict[_Key, dict[str, Any]] = {}
        self.signed: set[_Key] = set()  # where the sheet itself says who it was
        self.problems: list[tuple[int, str]] = []
        self.empty = self.commented = 0
        self._lines: dict[_Key, int] = {}
        self._readings = read_asked(folder).readings
        given: dict[_Key, tuple[int, dict[str, Entry]]] = {}
        for line, cells in read_sheet(sheet, (ROW, REVIEWED)):
            key = self._key_of(line, cells)
            if key is not None:
                self._remember(given, key, line, cells)
        answers = {(row["unit_id"], row["page"]): row for row in _answers(folder, {unit for unit, _ in given})}
        for key, (line, cells) in given.items():
            if _text(cells.get(REVIEWER)):
                self.signed.add(key)
            try:
                self.rows[key] = self._correction(answers.get(key), cells, reviewer)
            except ValueError as error:
                self.problems.append((line, str(error)))

    def _key_of(self, line: int, cells: Mapping[str, Entry]) -> _Key | None:
        if _text(cells.get(REVIEWED)) == "":
            self.empty += 1
            self.commented += _text(cells.get(COMMENT)) != ""
            return None
        named = _ROW.fullmatch(_text(cells.get(ROW)))
        if named is None:
            found = _text(cells.get(ROW))
            self.problems.append((line, f"row: expected what docpipe export --review wrote there, found {found!r:.60}"))
            return None
        return named[2], int(named[1])

    def _remember(
        self, given: dict[_Key, tuple[int, dict[str, Entry]]], key: _Key, line: int, cells: dict[str, Entry]
    ) -> None:
        if key in given and _text(given[key][1].get(REVIEWED)) != _text(cells.get(REVIEWED)):
            self.problems.append((line, f"the same row is on line {given[key][0]} with another answer"))
            return
        given[key] = (line, cells)

    def _correction(
        self, answer: Mapping[str, Any] | None, cells: Mapping[str, Entry], reviewer: str
    ) -> dict[str, Any]:
        if answer is None:
            raise ValueError("row: belongs to no answer of this folder; was the sheet written from another one?")
        if not answer["is_current"]:
            raise ValueError("row: is no longer current: document, question or pages have changed; export a new sheet")
        reading = self._readings.get(answer["question_id"], Reading())
        reviewed = _as_text(cells[REVIEWED], reading)
        if reviewed == _text(on_one_line(answer["answer"])):
            reviewed = answer["answer"]  # confirmed as the sheet shows it, which is without its line ends
        elif _FAULT.fullmatch(reviewed):
            told = f"found {reviewed}, by which a spreadsheet tells of an error"
            raise ValueError(f"{REVIEWED}: expected an answer, {told}")
        if not person_says_no_answer(reviewed):
            parsed = reading.value_of(reviewed)
            if parsed.error is not None:
                hint = _what_to_write(parsed, reading)
                raise ValueError(f"{REVIEWED}: {parsed.error}{hint}; n/a says that the page does not say")
        kept = {name: answer[name] for name in _COLUMNS if name != "is_current"}
        comment = _text(cells.get(COMMENT)) or None
        return {**kept, REVIEWED: reviewed, COMMENT: comment, REVIEWER: _text(cells.get(REVIEWER)) or reviewer}


def _answers(folder: Folder, units: set[str]) -> Iterator[dict[str, Any]]:
    wanted = pa.array(sorted(units), pa.string())
    for name in folder.names("answers", ".parquet"):
        rows = read_table(folder, name, _COLUMNS)
        yield from rows.filter(pc.is_in(rows["unit_id"], value_set=wanted)).to_pylist()


def _text(entry: Entry) -> str:
    return "" if entry is None else armed(str(entry)).strip()


def _what_to_write(parsed: Parsed, reading: Reading) -> str:
    """Say how a person can tell which of several things is meant, with examples that are sure to be taken."""
    taken = [text for text in parsed.instead if reading.value_of(text).error is None]
    return f"; write which it is, such as {' or '.join(taken[:_EXAMPLES])}" if taken else ""


def _as_text(entry: Entry, reading: Reading) -> str:
    """Write a cell as the documents would, since a workbook may hold a number or a date where text was typed."""
    if isinstance(entry, Formula):
        raise ValueError(f"{REVIEWED}: {entry!s:.60} is a formula without a result; write the result in its place")
    if isinstance(entry, bool):
        return str(entry).upper()  # as a spreadsheet shows it
    if isinstance(entry, int | float):
        return _number_text(entry, reading)
    return entry.isoformat() if isinstance(entry, date) else _text(entry)


def _number_text(entry: float, reading: Reading) -> str:
    """Write a number so that the reading gives that number; in a workbook it has only one meaning."""
    number = Decimal(entry) if isinstance(entry, int) else Decimal(format(entry, f".{_DIGITS}g"))
    text = format(number, "f")
    is_number = (reading.items or reading.kind) in _NUMBERS
    if reading.locale is not None:
        from pipeline.questions.parsing.locales import customs_of

        text = text.replace(".", customs_of(reading.locale).decimal)
    elif is_number and len(text.partition(".")[2]) == 3:
        text += "0"  # three digits could be a group
    if reading.kind in _NUMBERS:
        value = reading.value_of(text).value
        if value is None or value.number != number:
            raise ValueError(f"{REVIEWED}: the number {number:f} has no place in an answer of type {reading.kind}")
    return text
