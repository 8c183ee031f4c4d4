"""Commits the finished pages of a bundle as parts, so that little work is lost when a process ends."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Collection, Mapping, Sequence

from pipeline.output.store import OutputStore
from pipeline.records import Bundle, PageAnswer, Unit
from pipeline.results import BundleResult, PageReport

COMMIT_SECONDS = 10.0
"""Age at which finished work is committed with the next page. Where a page takes less than this, a part is written at
least every 20 s."""

_Row = tuple[str, int | None]  # unit id and page; None for a document that cannot be opened


class Commits:
    """Takes the rows of a bundle, mostly page by page, and commits them in one part or several.

    Args:
        store: output folder.
        bundle: the bundle; every page of its units must be added once.
        sha256: hash of the content of each document that was opened, by document id.
        clock: function that returns a time in seconds.
        committed: function that hears of each part once it is written.
    """

    def __init__(
        self,
        store: OutputStore,
        bundle: Bundle,
        sha256: Mapping[str, str],
        clock: Callable[[], float] = time.monotonic,
        committed: Callable[[BundleResult], object] | None = None,
    ) -> None:
        self._store = store
        self._sha256 = dict(sha256)
        self._clock = clock
        self._committed = committed
        self._began = clock()
        self._left = bundle
        self._finished: list[tuple[Sequence[PageAnswer], Sequence[PageReport]]] = []

    def add(self, answers: Sequence[PageAnswer], reports: Sequence[PageReport] = ()) -> None:
        """Add rows of a page, mostly all, or of a document that cannot be opened.

        Args:
            answers: one row per question.
            reports: cost of the page, or of pages that were read together; none for one that could not be rendered, or
                whose cost was added before.
        """
        self._finished.append((answers, reports))  # one step, so that an interruption cannot divide a page

    def due(self) -> bool:
        """Tell whether finished work has waited long enough for a commit."""
        return any(answers for answers, _ in self._finished) and self._clock() - self._began >= COMMIT_SECONDS

    def commit(self) -> None:
        """Commit the finished rows; without any, this does nothing.

        Raises:
            EngineError: a unit has a row twice, or the file system refuses.
        """
        self._commit({(answer.unit_id, answer.page) for answers, _ in self._finished for answer in answers})

    def finish(self) -> None:
        """Commit all that is left of the bundle.

        Raises:
            EngineError: a page of the bundle is missing or has a row twice, or the file system refuses.
        """
        left = {(unit.unit_id, page) for unit in self._left.units for page in (unit.pages or (None,))}
        self._commit(left)

    def _commit(self, rows: Collection[_Row]) -> None:
        answers = tuple(answer for answers, _ in self._finished for answer in answers)
        if not rows and not answers:
            return
        reports = tuple(report for _, reports in self._finished for report in reports)
        part, left = _split(self._left, rows)
        result = BundleResult(part, answers, reports, self._sha256)
        self._store.commit(result)
        # Without a call in between, no interruption can come between the two.
        self._left, self._finished = left, []
        self._began = self._clock()
        if self._committed is not None:
            self._committed(result)


def _split(bundle: Bundle, rows: Collection[_Row]) -> tuple[Bundle, Bundle]:
    """Divide a bundle into some of its rows and the others; a unit with rows on both sides is in both."""
    taken: list[Unit] = []
    left: list[Unit] = []
    for unit in bundle.units:
        inside = tuple(page for page in unit.pages if (unit.unit_id, page) in rows)
        if len(inside) == len(unit.pages) and (inside or (unit.unit_id, None) in rows):
            taken.append(unit)
        elif not inside:
            left.append(unit)
        else:
            outside = tuple(page for page in unit.pages if page not in inside)
            taken.append(dataclasses.replace(unit, pages=inside, whole=False))
            left.append(dataclasses.replace(unit, pages=outside, whole=False))
    return dataclasses.replace(bundle, units=tuple(taken)), dataclasses.replace(bundle, units=tuple(left))
