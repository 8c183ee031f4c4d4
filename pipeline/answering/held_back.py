"""Holds rows back until one page of their question has been read, so that no question is skipped on every page."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from pipeline.output.scored import Scored
from pipeline.records import PageAnswer, RenderedBundle, Unit


def may_skip(unit: Unit) -> bool:
    """Tell whether pages may be left out of a unit: of one that was asked of several pages."""
    return len(unit.pages) > 1 or not unit.whole


def with_units(rendered: RenderedBundle, units: Iterable[Unit]) -> RenderedBundle:
    """Return a bundle with other units, and the pages that they need.

    Args:
        rendered: the bundle with its pages.
        units: units on some of its pages.
    """
    bundle = dataclasses.replace(rendered.bundle, units=tuple(units))
    pages = {(unit.document_id, page) for unit in bundle.units for page in unit.read_pages}
    images = tuple(image for image in rendered.images if (image.document_id, image.page) in pages)
    return dataclasses.replace(rendered, bundle=bundle, images=images)


class HeldBack:
    """Holds back the rows of units of which no page has been read yet.

    No row of such a unit is committed before its end, so a unit of which some rows are there has a page that was read.
    The rest of it can therefore be skipped alike, whether or not the run was interrupted in between.

    Args:
        units: units of the bundle, as far as pages may be left out of them.
    """

    def __init__(self, units: Iterable[Unit]) -> None:
        self._held: dict[str, list[PageAnswer]] = {unit.unit_id: [] for unit in units if unit.whole and may_skip(unit)}

    def pass_on(self, rows: Iterable[PageAnswer]) -> list[PageAnswer]:
        """Take rows, and return those that can be committed, with the ones that were held for them.

        Args:
            rows: rows in any order; a row of a page that is held already takes the place of that row.
        """
        passed: list[PageAnswer] = []
        for row in rows:
            held = self._held.get(row.unit_id)
            if held is None:
                passed.append(row)
                continue
            before = next((other for other in held if other.page == row.page), None)
            if before is not None:
                held.remove(before)
                row = dataclasses.replace(row, presence=before.presence)
            held.append(row)
            if _is_read(row):
                passed += self._held.pop(row.unit_id)
        return passed

    def best_pages(self, rendered: RenderedBundle) -> RenderedBundle | None:
        """Return the pages that have to be read after all: the best of each unit without any; ``None`` for none.

        Args:
            rendered: the bundle with its pages.
        """
        best: dict[str, int] = {}
        for unit_id, rows in self._held.items():
            skipped = [(row.presence or 0.0, -row.page) for row in rows if row.status == "skipped" and row.page]
            if skipped:
                best[unit_id] = -max(skipped)[1]
        units = [unit for unit in rendered.bundle.units if unit.unit_id in best]
        if not units:
            return None
        return with_units(rendered, (dataclasses.replace(u, pages=(best[u.unit_id],), whole=False) for u in units))

    def scored(self) -> Scored:
        """Return the presence of the pages that were skipped, by unit and page."""
        found: Scored = {}
        for row in (row for rows in self._held.values() for row in rows):
            if row.status == "skipped" and row.page is not None and row.presence is not None:
                found.setdefault(row.unit_id, {})[row.page] = row.presence
        return found

    def recall(self, rendered: RenderedBundle, scored: Scored) -> RenderedBundle:
        """Hold the rows of pages that were scored before an interruption, and return what is left to read.

        Args:
            rendered: the bundle with its pages.
            scored: what :meth:`scored` returned then.
        """
        units = []
        for unit in rendered.bundle.units:
            held = self._held.get(unit.unit_id)
            known = {page: presence for page, presence in scored.get(unit.unit_id, {}).items() if page in unit.pages}
            if held is None or not known:
                units.append(unit)
                continue
            place = unit.document_id, unit.question_id, unit.unit_id
            held += [PageAnswer(place[0], page, *place[1:], "skipped", presence=one) for page, one in known.items()]
            left = tuple(page for page in unit.pages if page not in known)
            units += [dataclasses.replace(unit, pages=left, whole=False)] if left else []
        bundle = dataclasses.replace(rendered.bundle, units=tuple(units))
        return dataclasses.replace(rendered, bundle=bundle)

    def rest(self) -> list[PageAnswer]:
        """Give out the rows of all units of which no page could be read."""
        rows = [row for held in self._held.values() for row in held]
        self._held = {}
        return rows


def _is_read(row: PageAnswer) -> bool:
    """Tell whether the model was asked and answered."""
    return row.status not in ("skipped", "failed") and row.finish_reason != "blank"
