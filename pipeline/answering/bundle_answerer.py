"""Answers bundles and commits their rows. A loop or an actor calls it; it knows no engine."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from pipeline.answering.commits import Commits
from pipeline.answering.held_back import HeldBack, may_skip, with_units
from pipeline.answering.look_ahead import look_ahead
from pipeline.answering.open_page import PageOutcome, PreparedPage
from pipeline.answering.page_groups import PageGroup, not_read, page_groups, units_about
from pipeline.answering.rows import answered_rows, blank_rows, failed_rows, report_of, reports_of, unopened_rows
from pipeline.errors import PageError
from pipeline.output.attempts import Attempt, Markers
from pipeline.output.held import Held
from pipeline.output.scored import forget_scored, read_scored, write_scored
from pipeline.output.store import OutputStore
from pipeline.pages.renderer import decode_image
from pipeline.records import Bundle, Failure, PageAnswer, Receipt, RenderedBundle
from pipeline.results import BundleResult, PageReport

if TYPE_CHECKING:
    from pipeline.answering.page_answerer import PageAnswerer

_MOST_CHARACTERS = 500  # of a message, which may hold tensors
_TOO_LARGE = "the answers do not fit into the device's memory, one at a time; lower --dpi or --max-visual-tokens"


class BundleAnswerer:
    """Answers every question of a bundle, commits the rows in one part or several, and returns a receipt.

    A page that cannot be answered becomes failed rows. An exception that is not a :class:`PageError` is not caught on
    the first attempt: it leaves a marker, and the next attempt then takes the pages that are not committed yet one by
    one. A page that raises one there becomes failed rows, too. Where memory is too short for pages together, the same
    attempt takes the others one by one.

    Args:
        page_answerer: the loaded model.
        store: output folder where bundles are committed.
        markers: notes on disk of the bundles being worked on, for attempts after a crash.
        clock: function that returns a time in seconds, by which finished pages are committed.

    Attributes:
        pages_done: number of pages done so far, in all bundles; for progress, from any thread.
        page_started_at: ``time.monotonic()`` when the model began the current page, ``None`` between pages; for a
            watchdog. Preparing the next page does not count.
        committed: function that hears of each part once it is written; ``None`` for nobody.
    """

    def __init__(
        self,
        page_answerer: PageAnswerer,
        store: OutputStore,
        markers: Markers,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.page_answerer = page_answerer
        self.store = store
        self.markers = markers
        self.clock = clock
        self.pages_done = 0
        self._done_before = 0  # pages_done at the beginning of the bundle
        self.page_started_at: float | None = None
        self.committed: Callable[[BundleResult], object] | None = None

    def run(self, rendered: RenderedBundle) -> Receipt:
        """Answer and commit one bundle; an interruption still commits the pages that are finished.

        Args:
            rendered: the bundle with its rendered pages.

        Raises:
            EngineError: earlier attempts died outside of any page, a page lacks a row, or the file system refuses.
        """
        began_at_s, started, model_ms = time.time(), time.perf_counter(), self.page_answerer.model_ms
        bundle_id, pages = rendered.bundle.bundle_id, len(rendered.images) + len(rendered.failures)
        attempt = self.markers.begin(bundle_id)
        if attempt.number > 1:
            rendered = _left_of(rendered, self.store.done(bundle_id))
        bundle, self._done_before = rendered.bundle, self.pages_done
        commits = Commits(self.store, bundle, rendered.sha256, self.clock, self.committed)
        held = HeldBack(bundle.units if self.page_answerer.skipping is not None else ())
        scored = read_scored(self.store.folder, bundle_id) if self.page_answerer.skipping is not None else {}
        left = held.recall(rendered, scored)
        groups = page_groups(left)
        counted = {(image.document_id, image.page) for group in groups for image in group.counted}
        self.pages_done += pages - len(counted)
        commits.add([], [report_of(i) for i in rendered.images if (i.document_id, i.page) not in counted])
        for group in not_read(left):
            rows = blank_rows(bundle, group) if group.failure is None else failed_rows(bundle, group, group.failure)
            commits.add(held.pass_on(rows))
        for document_id, failure in bundle.failures.items():
            commits.add(unopened_rows(bundle, document_id, failure))
        try:
            for some in _suspected_last(groups, attempt):
                with closing(self._answered(left.bundle, some, attempt)) as done:
                    for answers, reports in done:
                        commits.add(held.pass_on(answers), reports)
                        self.pages_done += len(reports)
                        if commits.due():
                            self._commit(commits, bundle_id, attempt)
                if attempt.suspected:
                    self._commit(commits, bundle_id, attempt)
            while (best := held.best_pages(rendered)) is not None:
                with closing(self._answered(best.bundle, page_groups(best), attempt, all_questions=True)) as done:
                    for answers, _ in done:
                        commits.add(held.pass_on(answers))
            commits.add(held.rest())
        except KeyboardInterrupt:
            commits.commit()
            write_scored(self.store.folder, bundle_id, held.scored())
            raise
        if attempt.number > 1:
            self.markers.between_pages(bundle_id, attempt, pages)
        commits.finish()
        self.markers.done(bundle_id)
        if self.page_answerer.skipping is not None:
            forget_scored(self.store.folder, bundle_id)
        return Receipt(
            bundle_id=bundle_id,
            pages=pages,
            busy_ms=(time.perf_counter() - started) * 1e3,
            model_ms=self.page_answerer.model_ms - model_ms,
            began_at_s=began_at_s,
            ended_at_s=time.time(),
            attempt=attempt.number,
        )

    def _commit(self, commits: Commits, bundle_id: str, attempt: Attempt) -> None:
        self.markers.between_pages(bundle_id, attempt, self.pages_done - self._done_before)
        commits.commit()

    def _answered(
        self, bundle: Bundle, groups: Sequence[PageGroup], attempt: Attempt, all_questions: bool = False
    ) -> Generator[tuple[list[PageAnswer], list[PageReport]]]:
        """Yield the rows of each group as it is done; with ``all_questions``, no page is left out of any.

        On the first attempt, questions of several pages decode together. After a crash the pages run one by one, so
        that the page that causes it can be identified, and so do those that are left when memory is too short.
        """
        left = dict(enumerate(groups))
        if attempt.number == 1:
            with suppress(torch.OutOfMemoryError):
                for number, answers in self._together(bundle, groups, all_questions):
                    yield answered_rows(bundle, left.pop(number), answers, attempt.number)
            if left:
                torch.cuda.empty_cache()
        for group in left.values():
            yield self._alone(bundle, group, attempt, all_questions)

    def _together(
        self, bundle: Bundle, groups: Sequence[PageGroup], all_questions: bool
    ) -> Generator[tuple[int, PageOutcome]]:
        """Yield the numbers of the groups as they are done, with what became of them."""
        try:
            with closing(self.page_answerer.answer_pages(self._begun(bundle, groups, all_questions))) as answered:
                for number, answers in answered:
                    self.page_started_at = None  # while the caller commits
                    yield number, answers
                    self.page_started_at = time.monotonic()  # for the next page, or for what is left in the pool
        finally:
            self.page_started_at = None

    def _begun(
        self, bundle: Bundle, groups: Sequence[PageGroup], all_questions: bool
    ) -> Iterator[tuple[int, Callable[[], PreparedPage]]]:
        """Yield each group when the model is ready for it, while the next one is prepared."""
        prepare = partial(self._prepare, bundle, all_questions)
        with closing(look_ahead(groups, prepare)) as pages:
            for number, page in enumerate(pages):
                self.page_started_at = time.monotonic()
                yield number, page.result

    def _prepare(self, bundle: Bundle, all_questions: bool, group: PageGroup) -> PreparedPage:
        asks = bundle.asks_of(group.document_id, *group.pages)
        pixels = [decode_image(image) for image in group.images]
        if len(pixels) > 1:
            return self.page_answerer.prepare_together(pixels, asks)
        units = units_about(bundle, group.document_id, *group.pages)
        skippable = [] if all_questions else [name for name, unit in units.items() if may_skip(unit)]
        return self.page_answerer.prepare(pixels[0], asks, group.images[0].words, skippable)

    def _alone(
        self, bundle: Bundle, group: PageGroup, attempt: Attempt, all_questions: bool
    ) -> tuple[list[PageAnswer], list[PageReport]]:
        if (group.document_id, group.pages) in attempt.crashed:
            where = "this page" if len(group.pages) == 1 else "these pages"
            told = f"processes that held the model died or hung on {where} again and again; their logs may tell why"
            failure = Failure("infer", "ModelCrash", told, attempt.number)
            return failed_rows(bundle, group, failure), reports_of(group)
        done = self.pages_done - self._done_before
        self.markers.note(bundle.bundle_id, attempt, group.document_id, group.pages, done)
        self.page_started_at = time.monotonic()
        found: PageOutcome
        try:
            ((_, found),) = self.page_answerer.answer_pages([(0, partial(self._prepare, bundle, all_questions, group))])
        except torch.OutOfMemoryError:
            found = PageError("infer", "OutOfMemory", _TOO_LARGE)
        except torch.AcceleratorError:  # of a device, which fails on any page from now on
            raise
        except Exception as error:  # noqa: BLE001 - one has ended an attempt before, with its traceback
            found = PageError("infer", "ModelException", _said(error))
        finally:
            self.page_started_at = None
        return answered_rows(bundle, group, found, attempt.number)


def _suspected_last(groups: Sequence[PageGroup], attempt: Attempt) -> list[list[PageGroup]]:
    """Divide pages into those that no process died on and those that may end this one, too."""
    parted: list[list[PageGroup]] = [[], []]
    for group in groups:
        parted[(group.document_id, group.pages) in attempt.suspected].append(group)
    return parted


def _said(error: Exception) -> str:
    """Say in one line what went wrong on a page, and where."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    where = f"{Path(frame.filename).name}:{frame.lineno}"
    return f"the model cannot answer this page: {reason[:_MOST_CHARACTERS]} ({where})"


def _left_of(rendered: RenderedBundle, done: Held) -> RenderedBundle:
    """Leave out what earlier attempts committed."""
    return with_units(rendered, done.left(rendered.bundle.units))
