"""Answers bundles and commits their rows. A loop or an actor calls it; it knows no engine."""

from __future__ import annotations

import dataclasses
import resource
import statistics
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from functools import partial

from pipeline.answering.commits import Commits
from pipeline.answering.held_back import HeldBack, may_skip, with_units
from pipeline.answering.look_ahead import look_ahead
from pipeline.answering.open_page import ModelAnswer, PageOutcome, PreparedPage, Skipped
from pipeline.answering.page_answerer import PageAnswerer
from pipeline.answering.page_evidence import AnswerEvidence, PageEvidence
from pipeline.answering.verdict import judge
from pipeline.errors import PageError
from pipeline.output.attempts import Attempt, Markers
from pipeline.output.held import Held
from pipeline.output.store import OutputStore
from pipeline.pages.renderer import decode_image
from pipeline.questions.no_answer import says_no_answer
from pipeline.records import (
    Ask,
    Bundle,
    Failure,
    PageAnswer,
    PageImage,
    PageReport,
    Receipt,
    RenderedBundle,
    Unit,
)


class BundleAnswerer:
    """Answers every question of a bundle, commits the rows in one part or several, and returns a receipt.

    A page that cannot be answered becomes failed rows. An exception that is not a :class:`PageError` is not caught: it
    leaves a marker, and the next attempt then takes the pages that are not committed yet one by one.

    Args:
        page_answerer: the loaded model.
        store: output folder where bundles are committed.
        markers: notes on disk of the bundles being worked on, for attempts after a crash.
        clock: function that returns a time in seconds, by which finished pages are committed.

    Attributes:
        pages_done: number of pages done so far, in all bundles; for progress, from any thread.
        page_started_at: ``time.monotonic()`` when the model began the current page, ``None`` between pages; for a
            watchdog. Preparing the next page does not count.
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
        blank = [image for image in rendered.images if image.blank]
        rendered = dataclasses.replace(rendered, images=tuple(image for image in rendered.images if not image.blank))
        bundle, self._done_before = rendered.bundle, self.pages_done
        self.pages_done += pages - len(rendered.images)
        commits = Commits(self.store, bundle, rendered.sha256, self.clock)
        held = HeldBack(bundle.units if self.page_answerer.skipping is not None else ())
        for failed in rendered.failures:
            commits.add(held.pass_on(_failed(bundle, failed.document_id, failed.page, failed.failure)))
        for image in blank:
            commits.add(held.pass_on(_blank(bundle, image)), _report(image))
        for document_id, failure in bundle.failures.items():
            commits.add(list(_failed(bundle, document_id, None, failure)))
        try:
            with closing(self._pages(rendered, attempt)) as done:
                for answers, report in done:
                    commits.add(held.pass_on(answers), report)
                    self.pages_done += 1
                    if commits.due():
                        self.markers.between_pages(bundle_id, attempt, self.pages_done - self._done_before)
                        commits.commit()
            while (best := held.best_pages(rendered)) is not None:
                with closing(self._pages(best, attempt, all_questions=True)) as done:
                    for answers, _ in done:
                        commits.add(held.pass_on(answers))
            commits.add(held.rest())
        except KeyboardInterrupt:
            commits.commit()
            raise
        if attempt.number > 1:
            self.markers.between_pages(bundle_id, attempt, pages)
        commits.finish()
        self.markers.done(bundle_id)
        return Receipt(
            bundle_id=bundle_id,
            pages=pages,
            busy_ms=(time.perf_counter() - started) * 1e3,
            model_ms=self.page_answerer.model_ms - model_ms,
            began_at_s=began_at_s,
            ended_at_s=time.time(),
            attempt=attempt.number,
        )

    def _pages(
        self, rendered: RenderedBundle, attempt: Attempt, all_questions: bool = False
    ) -> Generator[tuple[list[PageAnswer], PageReport]]:
        """Yield the rows of each page as it is done; with ``all_questions``, no page is left out of any.

        On the first attempt, questions of several pages decode together. After a crash the pages run one by one, so
        that the page that causes it can be identified.
        """
        if attempt.number > 1:
            for image in rendered.images:
                yield self._page_alone(rendered.bundle, image, attempt, all_questions)
            return
        try:
            with closing(self.page_answerer.answer_pages(self._begun(rendered, all_questions))) as answered:
                for number, answers in answered:
                    self.page_started_at = None  # while the caller commits
                    yield _rows(rendered.bundle, rendered.images[number], answers, attempt)
                    self.page_started_at = time.monotonic()  # for the next page, or for what is left in the pool
        finally:
            self.page_started_at = None

    def _begun(self, rendered: RenderedBundle, all_questions: bool) -> Iterator[tuple[int, Callable[[], PreparedPage]]]:
        """Yield each page when the model is ready for it, while the next one is prepared."""
        prepare = partial(self._prepare, rendered.bundle, all_questions)
        with closing(look_ahead(rendered.images, prepare)) as pages:
            for number, page in enumerate(pages):
                self.page_started_at = time.monotonic()
                yield number, page.result

    def _prepare(self, bundle: Bundle, all_questions: bool, image: PageImage) -> PreparedPage:
        units = _units_by_question(bundle, image.document_id, image.page)
        skippable = [] if all_questions else [name for name, unit in units.items() if may_skip(unit)]
        asks = bundle.asks_of(image.document_id, image.page)
        return self.page_answerer.prepare(decode_image(image), asks, image.words, skippable)

    def _page_alone(
        self, bundle: Bundle, image: PageImage, attempt: Attempt, all_questions: bool
    ) -> tuple[list[PageAnswer], PageReport]:
        if (image.document_id, image.page) in attempt.crashed:
            failure = Failure(
                "infer", "ModelCrash", "the process that held the model died or hung on this page", attempt.number
            )
            return list(_failed(bundle, image.document_id, image.page, failure)), _report(image)
        done = self.pages_done - self._done_before
        self.markers.note(bundle.bundle_id, attempt, image.document_id, image.page, done)
        self.page_started_at = time.monotonic()
        try:
            ((_, found),) = self.page_answerer.answer_pages([(0, partial(self._prepare, bundle, all_questions, image))])
        finally:
            self.page_started_at = None
        return _rows(bundle, image, found, attempt)


def _left_of(rendered: RenderedBundle, done: Held) -> RenderedBundle:
    """Leave out what earlier attempts committed."""
    return with_units(rendered, done.left(rendered.bundle.units))


def _rows(
    bundle: Bundle, image: PageImage, found: PageOutcome, attempt: Attempt
) -> tuple[list[PageAnswer], PageReport]:
    """Make a row for every question of a page, answered or failed."""
    if isinstance(found, PageError):
        failure = Failure(found.stage, found.error_type, found.message, attempt.number)
        return list(_failed(bundle, image.document_id, image.page, failure)), _report(image)
    units = _units_by_question(bundle, image.document_id, image.page)
    asks = bundle.asks_of(image.document_id, image.page)
    places = PageEvidence(image)
    rows = [_row(image, units[ask.question_id], ask, answer, places) for ask, answer in zip(asks, found, strict=True)]
    return rows, _measured(_report(image), found)


def _units_by_question(bundle: Bundle, document_id: str, page: int) -> dict[str, Unit]:
    return {u.question_id: u for u in bundle.units if u.document_id == document_id and page in u.pages}


def _failed(bundle: Bundle, document_id: str, page: int | None, failure: Failure) -> Iterator[PageAnswer]:
    """Make a failed row for every question on a page, or on a document that cannot be opened (``None``)."""
    for unit in bundle.units:
        if unit.document_id == document_id and (page in unit.pages if page is not None else not unit.pages):
            yield PageAnswer(document_id, page, unit.question_id, unit.unit_id, "failed", failure=failure)


def _blank(bundle: Bundle, image: PageImage) -> Iterator[PageAnswer]:
    """Make a row for every question on a blank page, which the model need not see."""
    for question_id, unit in _units_by_question(bundle, image.document_id, image.page).items():
        yield PageAnswer(
            image.document_id, image.page, question_id, unit.unit_id, "not_answerable", finish_reason="blank"
        )


def _row(image: PageImage, unit: Unit, ask: Ask, answer: ModelAnswer | Skipped, places: PageEvidence) -> PageAnswer:
    if isinstance(answer, Skipped):
        place = image.document_id, image.page, unit.question_id, unit.unit_id
        return PageAnswer(*place, "skipped", presence=answer.presence)
    stats, pruning = answer.stats, answer.pruning
    verdict = judge(ask, answer, image.is_doubtful)
    # What says nothing comes from nowhere on the page.
    said = answer.text and not says_no_answer(answer.text, ask.choices)
    evidence = places.of(ask, answer) if said else AnswerEvidence()
    return PageAnswer(
        document_id=image.document_id,
        page=image.page,
        question_id=unit.question_id,
        unit_id=unit.unit_id,
        status=verdict.status,
        presence=answer.presence,
        answer=answer.text,
        review_reasons=verdict.reasons,
        **dataclasses.asdict(answer.signals),
        choice_probabilities=answer.choice_probabilities,
        finish_reason=answer.finish_reason,
        evidence=evidence.boxes,
        evidence_source=evidence.source,
        evidence_text=evidence.text,
        on_page=evidence.on_page,
        visual_tokens=stats.visual_tokens,
        kept_tokens=stats.kept_tokens,
        retention=stats.retention,
        floor_hit=stats.floor_hit,
        cap_hit=stats.cap_hit,
        kv_tokens_full=stats.kv_tokens_full,
        kv_tokens_kept=stats.kv_tokens_kept,
        kv_bytes_full=stats.kv_bytes_full,
        kv_bytes_kept=stats.kv_bytes_kept,
        prefill_ms=stats.prefill_ms,
        decode_ms=stats.decode_ms,
        new_tokens=answer.new_tokens,
        pruning=None if pruning is None else pruning.choice,
        fallback=answer.fallback,
        pruned_answer=answer.pruned_text,
        expected_tflops_glimpse=None if pruning is None else pruning.tflops_glimpse,
        expected_tflops_unpruned=None if pruning is None else pruning.tflops_unpruned,
    )


def _report(image: PageImage) -> PageReport:
    names = {field.name for field in dataclasses.fields(PageReport)}
    return PageReport(**{f.name: getattr(image, f.name) for f in dataclasses.fields(PageImage) if f.name in names})


def _measured(report: PageReport, answers: Sequence[ModelAnswer | Skipped]) -> PageReport:
    costs = [answer if isinstance(answer, Skipped) else answer.stats for answer in answers]
    asked = [answer for answer in answers if isinstance(answer, ModelAnswer)]
    retentions = [a.stats.retention for a in asked if a.stats.retention is not None]
    vision = [cost.vision_ms for cost in costs if cost.vision_ms is not None]
    prefix = [cost.prefix_ms for cost in costs if cost.prefix_ms is not None]
    peaks = [a.peak_memory_bytes for a in asked if a.peak_memory_bytes is not None]
    return dataclasses.replace(
        report,
        vision_ms=sum(vision) if vision else None,
        prefix_ms=sum(prefix) if prefix else None,
        retention_mean=statistics.fmean(retentions) if retentions else None,
        retention_min=min(retentions, default=None),
        retention_max=max(retentions, default=None),
        peak_memory_bytes=max(peaks, default=None),
        peak_rss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )
