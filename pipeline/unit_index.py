"""Lists the units of a run in a scratch database, and finds those that have no rows yet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby

import pyarrow as pa

from pipeline.catalog import Catalog
from pipeline.output.completed import Completed
from pipeline.output.current import PLANNED
from pipeline.questions.file import QuestionSet
from pipeline.records import AnswerSettings, Bundle, Document, PageCount, Unit
from pipeline.scratch import portions
from pipeline.units import make_bundles, make_units, planned_rows

_WINDOW = 50_000
_PAGES = PLANNED.field("pages").type
# What parts hold of a divided unit is listed by page; a unit without pages is a document that cannot be opened.
_LEFT = """
    with held as (
        select unit_id, list(distinct page) as pages from completed_pages group by unit_id
    ), missing as (
        select p.*, h.pages is not null as divided,
            case when divided then list_filter(p.pages, lambda page: not list_contains(h.pages, page)) else p.pages
            end as rest
        from planned p anti join completed c using (unit_id) left join held h using (unit_id)
    ), remaining as (
        select * from missing where len(rest) > 0 or len(pages) = 0
    )
"""
_PENDING = f"""
    {_LEFT} select unit_id, document, case when divided then rest end as rest from remaining order by n
"""
_COUNTS = f"""
    {_LEFT}, pages_read as (
        select distinct document, unnest(list_concat(rest, further)) from remaining
    )
    select count(distinct document) as documents, count(*) as units,
        coalesce(sum(greatest(1, len(rest))), 0)::bigint as rows,
        (select count(*) from pages_read) as pages
    from remaining
"""


_UNASKED = "documents d anti join planned p on p.document = d.n"


class UnitIndex:
    """Keeps the ids of all units of a run; a unit itself is made again where it is needed.

    Args:
        catalog: documents of the run, all of them counted.
        questions: questions to ask.
        settings: settings that the answers depend on.
    """

    def __init__(self, catalog: Catalog, questions: QuestionSet, settings: AnswerSettings) -> None:
        self.catalog = catalog
        self.questions = questions
        self.settings = settings
        self.units = 0
        self.rows = 0
        self.asked: set[str] = set()  # ids of questions that have a unit
        self._fill()

    def _fill(self) -> None:
        scratch = self.catalog.scratch
        scratch.create("planned", PLANNED)
        for window in portions(self._numbered(), _WINDOW):
            units = [unit for _, unit in window]
            self.asked.update(unit.question_id for unit in units)
            rows = {
                "n": pa.array(range(self.units, self.units + len(units)), pa.int64()),
                "unit_id": pa.array([unit.unit_id for unit in units], pa.string()),
                "document": pa.array([number for number, _ in window], pa.int64()),
                "pages": pa.array([unit.pages for unit in units], _PAGES),
                "further": pa.array([unit.further for unit in units], _PAGES),
            }
            scratch.add("planned", pa.table(rows, schema=PLANNED))
            self.units += len(units)
            self.rows += planned_rows(units)

    def _numbered(self) -> Iterator[tuple[int, Unit]]:
        """Yield all units with the numbers of their documents."""
        numbers: dict[str, int] = {}

        def counted() -> Iterator[tuple[Document, PageCount]]:
            for number, (document, count) in enumerate(self.catalog):
                numbers.clear()
                numbers[document.document_id] = number
                yield document, count

        for unit in make_units(counted(), self.questions, self.settings):
            yield numbers[unit.document_id], unit

    def unasked(self, most: int) -> tuple[int, list[str]]:
        """Count the documents without a unit, which no question is asked about.

        Args:
            most: most documents to name.

        Returns:
            Their number, and the paths of the first ones.
        """
        scratch = self.catalog.scratch
        number: int = scratch.value(f"select count(*) from {_UNASKED}")
        first = scratch.read(f"select d.path from {_UNASKED} order by d.n limit {most}") if number else ()
        return number, [row["path"] for table in first for row in table.to_pylist()]

    def pending(self, completed: Completed) -> Pending:
        """Find what is left of the units.

        Args:
            completed: what the parts hold, in the same database.
        """
        completed.refresh()
        return Pending(self)

    def left(self) -> Iterator[tuple[Document, list[Unit]]]:
        """Yield the units that lack rows, cut down to their pages without any, by document and in order."""
        rows = (row for table in self.catalog.scratch.read(_PENDING) for row in table.to_pylist())
        documents = enumerate(self.catalog)
        waiting: dict[str, tuple[Document, dict[str, list[int] | None]]] = {}  # those that the units are made of next

        def counted() -> Iterator[tuple[Document, PageCount]]:
            for number, mine in groupby(rows, key=lambda row: row["document"]):
                rest = {row["unit_id"]: row["rest"] for row in mine}
                document, count = next(found for place, found in documents if place == number)
                waiting[document.document_id] = document, rest
                yield document, count

        units = make_units(counted(), self.questions, self.settings)
        for document_id, of_document in groupby(units, key=lambda unit: unit.document_id):
            document, rest = waiting.pop(document_id)
            yield document, [_cut(unit, rest[unit.unit_id]) for unit in of_document if unit.unit_id in rest]


def _cut(unit: Unit, rest: list[int] | None) -> Unit:
    """Cut a divided unit down to the pages without rows."""
    if rest is None or len(rest) == len(unit.pages):
        return unit
    return replace(unit, pages=tuple(rest), whole=False)


class Pending:
    """What was left of the units of a run when it was asked for.

    Attributes:
        documents: number of documents that lack a row.
        units: number of units that lack a row.
        pages: number of pages that lack a row.
        rows: number of missing rows.

    Args:
        index: units of the run.
    """

    def __init__(self, index: UnitIndex) -> None:
        self._index = index
        (found,) = (row for rows in index.catalog.scratch.read(_COUNTS) for row in rows.to_pylist())
        self.documents: int = found["documents"]
        self.units: int = found["units"]
        self.pages: int = found["pages"]
        self.rows: int = found["rows"]

    def by_document(self) -> Iterator[tuple[Document, list[Unit]]]:
        """Yield what is left, by document and in order; what is committed while it is read counts as left."""
        return self._index.left()

    def bundles(self) -> Iterator[Bundle]:
        """Yield the same, packed."""
        index = self._index
        units = (unit for _, units in self.by_document() for unit in units)
        return make_bundles(units, index.catalog, index.questions, index.settings)
