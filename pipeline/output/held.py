"""Keeps account of which units and pages have rows, from the footers of the parts."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.records import Unit


@dataclass(slots=True)
class Held:
    """Lists units and pages that have rows: those of one part, or of many.

    Attributes:
        units: ids of units that have all their rows.
        pages: pages that have rows, by the id of a unit that is divided among several parts.
    """

    units: set[str] = field(default_factory=set)
    pages: dict[str, set[int]] = field(default_factory=dict)

    @classmethod
    def by(cls, units: Iterable[Unit]) -> Held:
        """List what a part holds that answers these units."""
        held = cls()
        for unit in units:
            if unit.whole:
                held.units.add(unit.unit_id)
            else:
                held.pages[unit.unit_id] = set(unit.pages)
        return held

    @classmethod
    def from_footer(cls, footer: Mapping[str, str]) -> Held:
        """Read back the result of :meth:`to_footer`; pages are absent where no unit is divided."""
        pages = {unit: set(pages) for unit, pages in json.loads(footer.get("pages", "{}")).items()}
        return cls(set(json.loads(footer["units"])), pages)

    def to_footer(self) -> dict[str, str]:
        """Write this as text for a footer; the pages of a whole unit are not listed."""
        footer = {"units": json.dumps(sorted(self.units))}
        if self.pages:
            footer["pages"] = json.dumps({unit: sorted(pages) for unit, pages in sorted(self.pages.items())})
        return footer

    def add(self, other: Held) -> None:
        """Take in what ``other`` holds."""
        self.units |= other.units
        for unit, pages in other.pages.items():
            self.pages.setdefault(unit, set()).update(pages)

    def common(self, other: Held) -> Held:
        """Return what of ``other`` is held here too; a unit listed as whole stands for all that ``other`` has of it."""
        both = Held(self.units & (other.units | other.pages.keys()))
        for unit in other.units - both.units:
            if unit in self.pages:
                both.pages[unit] = set(self.pages[unit])
        for unit in other.pages.keys() - both.units:
            pages = other.pages[unit] & self.pages.get(unit, set())
            if pages:
                both.pages[unit] = pages
        return both

    def without(self, rows: pa.Table) -> pa.Table:
        """Drop the rows of the units and pages that are held.

        Args:
            rows: rows with ``unit_id`` and ``page``.
        """
        rows = rows.filter(pc.invert(pc.is_in(rows["unit_id"], pa.array(sorted(self.units), pa.string()))))
        for unit, pages in self.pages.items():
            of_unit = pc.equal(rows["unit_id"], unit)
            again = pc.and_(of_unit, pc.is_in(rows["page"], pa.array(sorted(pages), pa.int32())))
            rows = rows.filter(pc.invert(again))
        return rows

    def left(self, units: Iterable[Unit]) -> list[Unit]:
        """List what is left of some units: those that lack rows, cut down to their pages without any."""
        return [left for left in map(self.left_of, units) if left is not None]

    def left_of(self, unit: Unit) -> Unit | None:
        """Cut a unit down to its pages without rows; ``None`` if it has all its rows."""
        if unit.unit_id in self.units:
            return None
        done = self.pages.get(unit.unit_id, set())
        left = tuple(page for page in unit.pages if page not in done)
        if len(left) == len(unit.pages):
            return unit
        return dataclasses.replace(unit, pages=left, whole=False) if left else None
