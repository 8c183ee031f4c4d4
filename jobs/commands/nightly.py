"""Does the work of ``docpipe nightly``: one run, its record, its digest and its exit code."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

from jobs import exit_codes
from jobs.commands.digest import digest_lines
from jobs.settings import RunSettings
from pipeline.errors import DocpipeError, EngineError, UsageError
from pipeline.output.drift import Thresholds, drifts
from pipeline.output.folder import Folder
from pipeline.output.night_figures import compared, figures_of, listing_of
from pipeline.output.nights import Night, changed_content, last_listing, read_nights, write_night
from pipeline.output.store import OutputStore
from pipeline.questions.file import QuestionSet
from pipeline.scratch import Scratch

_REMEMBERED = 365


def hold_night(
    settings: RunSettings,
    questions: QuestionSet,
    thresholds: Thresholds,
    run: Callable[[RunSettings, QuestionSet], int],
    say: Callable[[str], Any],
) -> int:
    """Run what is new or changed, record the night, and say what it came to.

    Args:
        settings: settings of the run; questions whose content changed are asked anew.
        questions: questions to ask.
        thresholds: how far the night may differ from those before it.
        run: function that does the run, here or on a cluster, and returns its exit code.
        say: function that receives lines.

    Returns:
        The exit code: that of the run, or 1 where the night left a threshold.

    Raises:
        UsageError: the settings cannot work, or the output cannot be written.
        EngineError, ModelError: the run failed; the night is recorded all the same.
        KeyboardInterrupt: the run was interrupted before anything was computed.
    """
    if settings.detach:
        raise UsageError("detach: a night is recorded at its end, so it has to be followed; leave it out")
    store = OutputStore(Folder(settings.output))
    before = read_nights(store.folder, _REMEMBERED)
    last = None if (report := store.read_run("run_id")) is None else report["run_id"]
    failure: DocpipeError | None = None
    code = exit_codes.ENGINE
    try:
        code = run(settings.model_copy(update={"reworded": True}), questions)
    except DocpipeError as error:
        failure = error
    report = store.read_run()
    if report is None or report["run_id"] == last:  # it ended before it began, or goes on without us
        if failure is None and code == exit_codes.INTERRUPTED:
            return code
        raise failure or EngineError("the run ended without a report; its log gives the reason")
    night = _night(store.folder, report, questions, before, code)
    night = night.model_copy(update={"drift": drifts(night, before, thresholds)})
    if night.exit_code == exit_codes.DONE and night.drift:
        night = night.model_copy(update={"exit_code": exit_codes.TOO_MANY_FAILED})
    with Scratch() as scratch:
        write_night(store.folder, night, listing_of(store.folder, scratch))
    if not settings.quiet or night.exit_code != exit_codes.DONE:
        for line in digest_lines(night, before, report):
            say(line)
    if failure is not None:
        raise failure
    return night.exit_code


def _night(folder: Folder, report: dict[str, Any], questions: QuestionSet, before: Sequence[Night], code: int) -> Night:
    figures, listing = figures_of(folder, report["run_id"]), last_listing(folder)
    with Scratch() as scratch:
        now = listing_of(folder, scratch)
        new, changed, deleted = (None, None, None) if listing is None else compared(scratch, listing, now)
    identities = {question.id: _identity(question) for question in questions.questions}
    complete = [night for night in before if night.error is None and night.pending == 0]
    known = complete[-1].questions if complete else identities
    new_questions, reworded, gone = changed_content(known, identities)
    return Night(
        run_id=report["run_id"],
        started_at=report["started_at"],
        finished_at=report["finished_at"],
        wall_s=report["wall_s"],
        exit_code=report["exit_code"] or code,
        error=report["error"],
        documents=report["documents"],
        new_documents=new,
        changed_documents=changed,
        deleted_documents=deleted,
        questions=identities,
        new_questions=new_questions,
        reworded_questions=reworded,
        gone_questions=gone,
        rows=figures.statuses.total(),
        pending=report["counts"]["pending"],
        statuses=dict(sorted(figures.statuses.items())),
        failures=dict(sorted(figures.failures.items())),
        review_reasons=dict(sorted(figures.review_reasons.items())),
        failed_share=figures.share("failed"),
        review_share=figures.share("needs_review"),
        retention=figures.mean("retention"),
        confidence=figures.mean("confidence"),
        confidence_raw=figures.mean("confidence_raw"),
        pages_per_s=report["this_run"]["pages_per_s"],
    )


def _identity(question: Any) -> str:
    content = f"{question.identity(None)} on {question.page_ranges.parts}"
    return hashlib.sha256(content.encode()).hexdigest()[:16]
