"""Makes the rows of a bundle from what became of its questions, and the reports of its pages."""

from __future__ import annotations

import dataclasses
import resource
import statistics
from collections.abc import Sequence
from typing import Any

from pipeline.answering.group_evidence import GroupEvidence
from pipeline.answering.open_page import ModelAnswer, PageOutcome, Skipped
from pipeline.answering.page_evidence import AnswerEvidence
from pipeline.answering.page_groups import NotRead, PageGroup, units_about
from pipeline.answering.verdict import judge
from pipeline.errors import PageError
from pipeline.questions.no_answer import says_no_answer
from pipeline.records import Ask, Bundle, Failure, PageAnswer, PageImage, Status, Unit
from pipeline.results import PageReport


def answered_rows(
    bundle: Bundle, group: PageGroup, found: PageOutcome, attempt: int
) -> tuple[list[PageAnswer], list[PageReport]]:
    """Make a row for every question about a page group, answered or failed, and report what its pages cost.

    Args:
        bundle: the bundle.
        group: what the model read.
        found: what became of the questions.
        attempt: number of the attempt at the bundle.
    """
    if isinstance(found, PageError):
        failure = Failure(found.stage, found.error_type, found.message, attempt)
        return failed_rows(bundle, group, failure), reports_of(group)
    units, asks = units_about(bundle, group.document_id, *group.pages), bundle.asks_of(group.document_id, *group.pages)
    places = GroupEvidence(group.images)
    rows = [_row(group, units[ask.question_id], ask, answer, places) for ask, answer in zip(asks, found, strict=True)]
    if len(group.images) > 1:  # what the pages took together says nothing of each
        return rows, reports_of(group)
    return rows, [_measured(report, found) for report in reports_of(group)]


def failed_rows(bundle: Bundle, group: PageGroup | NotRead, failure: Failure) -> list[PageAnswer]:
    """Make a failed row for every question about some pages.

    Args:
        bundle: the bundle.
        group: the pages.
        failure: the reason.
    """
    about = units_about(bundle, group.document_id, *group.pages)
    return [_place(unit, group.pages, "failed", failure=failure) for unit in about.values()]


def unopened_rows(bundle: Bundle, document_id: str, failure: Failure) -> list[PageAnswer]:
    """Make a failed row for every question about a document that cannot be opened.

    Args:
        bundle: the bundle.
        document_id: id of the document.
        failure: the reason.
    """
    mine = (unit for unit in bundle.units if unit.document_id == document_id and not unit.pages)
    return [PageAnswer(document_id, None, unit.question_id, unit.unit_id, "failed", failure=failure) for unit in mine]


def blank_rows(bundle: Bundle, group: NotRead) -> list[PageAnswer]:
    """Make a row for every question about blank pages, which the model need not see.

    Args:
        bundle: the bundle.
        group: the pages.
    """
    about = units_about(bundle, group.document_id, *group.pages)
    return [_place(unit, group.pages, "not_answerable", finish_reason="blank") for unit in about.values()]


def reports_of(group: PageGroup) -> list[PageReport]:
    """Report the pages that count to a page group, without what the model took.

    Args:
        group: what the model reads.
    """
    return [report_of(image) for image in group.counted]


def _place(unit: Unit, pages: tuple[int, ...], status: Status, **more: Any) -> PageAnswer:
    first, *further = pages
    place = unit.document_id, first, unit.question_id, unit.unit_id
    return PageAnswer(*place, status, tuple(further), **more)


def _row(group: PageGroup, unit: Unit, ask: Ask, answer: ModelAnswer | Skipped, places: GroupEvidence) -> PageAnswer:
    if isinstance(answer, Skipped):
        return _place(unit, group.pages, "skipped", presence=answer.presence)
    stats, pruning = answer.stats, answer.pruning
    verdict = judge(ask, answer, any(image.is_doubtful for image in group.images))
    # What says nothing comes from nowhere on the page.
    said = answer.text and not says_no_answer(answer.text, ask.choices)
    evidence = places.of(ask, answer) if said else AnswerEvidence()
    return _place(
        unit,
        group.pages,
        verdict.status,
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
        look=answer.look,
        other_answers=answer.others or None,
        expected_tflops_glimpse=None if pruning is None else pruning.tflops_glimpse,
        expected_tflops_unpruned=None if pruning is None else pruning.tflops_unpruned,
    )


def report_of(image: PageImage) -> PageReport:
    """Report what is known of a page before the model reads it.

    Args:
        image: the rendered page.
    """
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
