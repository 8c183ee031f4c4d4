"""Does the work of ``docpipe run``: plan, answer, compare, publish."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from jobs.interrupts import interruptible
from jobs.log import Log
from jobs.model_choice import check_attention
from jobs.progress import Progress
from jobs.run.calibrations import check_review
from jobs.run.closing import say_pages
from jobs.run.engine import Engine, choose_engine
from jobs.run.loop_engine import LoopEngine
from jobs.run.not_read import NAMED
from jobs.run.prepare import Work, device_setting, frozen_settings, prepare_work, reproduce_command
from jobs.run.ray_workers import ActorConfig, load_answerer
from jobs.run.report import Outcome, make_report
from jobs.run.resources import Resources
from jobs.run.start import import_libraries, leave_out_pandas
from jobs.run.tracing import tracing_from_environment
from jobs.settings import RunSettings
from pipeline.answering.checkpoints import note_on
from pipeline.errors import EngineError, ModelError, OutputError
from pipeline.output.asked import Asked, write_asked
from pipeline.output.attempts import Markers
from pipeline.output.current import Plan
from pipeline.output.failed import read_failed
from pipeline.output.folder import Folder
from pipeline.output.live import Running, write_running
from pipeline.output.lock import OutputLock
from pipeline.output.publish import check_tables, publish
from pipeline.output.store import OutputStore, new_run_id
from pipeline.output.totals import read_totals
from pipeline.pages.apart import check_apart
from pipeline.pages.passwords import Passwords, read_passwords
from pipeline.questions.file import QuestionSet
from pipeline.scratch import Scratch
from pipeline.unit_index import Pending

if TYPE_CHECKING:
    from pipeline.answering.bundle_answerer import BundleAnswerer

_PASSES = 3
_PAGES_A_PUBLICATION = 8_192


def run_job(
    run: RunSettings,
    questions: QuestionSet,
    address: str | None = None,
    load: Callable[[ActorConfig], BundleAnswerer] = load_answerer,
    passwords: Passwords | None = None,
) -> dict[str, Any]:
    """Do a whole run.

    Args:
        run: settings of the run.
        questions: questions to ask.
        address: address of the Ray cluster that this process runs in; ``None`` outside of a cluster.
        load: function that makes the bundle answerer.
        passwords: passwords of encrypted documents; ``None`` reads those that the settings point to.

    Returns:
        The content of ``run.json``, with ``exit_code``.

    Raises:
        UsageError: the settings cannot work; nothing was computed.
        ModelError, EngineError: the run failed; committed work is published, and the same command resumes.
        KeyboardInterrupt: the run was interrupted before anything was computed; later, the report records it instead.
    """
    started, clock = datetime.now(UTC), time.monotonic()
    check_apart(run.input, run.output)
    folder = Folder(run.output)
    store = OutputStore(folder, reproduce_command(run, questions), new_run_id())
    log = Log(run.log_format, store.run_id)
    leave_out_pandas()  # which takes long to import; Ray, if it starts, brings it back
    saving = partial(log.line, "interrupted; what is finished is being saved", "interrupted", "warning")
    with interruptible(saving), log.with_warnings(), OutputLock(folder) as lock, Scratch() as scratch:
        check_tables(folder)
        passwords = read_passwords(run.password_file) if passwords is None else passwords
        start = partial(_start, run, address)
        work = prepare_work(run, questions, store, scratch, passwords, remember=True, meanwhile=start)
        store.check_settings(frozen_settings(work.settings, questions), run.reworded)
        found = work.found
        asked = Asked(asked=questions, locale=run.locale, review_below=run.review_below)
        check_review(found, run.choice, list(asked.readings.values()))
        _warn(run, work, log)
        published = partial(publish, store, asked.readings, Plan(scratch), calibration=found.calibration)
        job = _Job(run, work, store, lock, load, asked, published, log)
        job.work_through(address)
        lock.check()
        job.publish()
        statuses, totals, failed = store.status_counts(), read_totals(folder), read_failed(folder, NAMED)
        outcome = job.outcome
        report = make_report(
            run, work, store.run_id, statuses, totals, failed, outcome, started, time.monotonic() - clock
        )
        report["tuning"] = store.settled("tuning")
        report["calibration"] = found.report()
        store.write_run(report)
    if outcome.error is not None:
        raise outcome.error
    return report


def _warn(run: RunSettings, work: Work, log: Log) -> None:
    """Say on standard error, before anything is answered, what is odd about questions, calibration and model."""
    if run.quiet:
        return
    for reason in (*work.left_out(), *work.found.notes):
        log.say(f"warning: {reason}", "odd", "warning")
    note = note_on(run.choice.model)
    if note is not None:
        log.say(f"docpipe: {note}", "model")


def _start(run: RunSettings, address: str | None, documents: int) -> None:
    """Import what the model needs if this process is going to hold it; every document has a page at least."""
    engine, _ = choose_engine(run, address, documents)
    if engine.name == LoopEngine.name:
        import_libraries()


class _Job:
    """Computes the answers of a run, and publishes them."""

    def __init__(
        self,
        run: RunSettings,
        work: Work,
        store: OutputStore,
        lock: OutputLock,
        load: Callable[[ActorConfig], BundleAnswerer],
        asked: Asked,
        publish: Callable[[], None],
        log: Log,
    ) -> None:
        self.run = run
        self.work = work
        self.store = store
        self.lock = lock
        self.load = load
        self._asked = asked
        self._publish = publish
        self._log = log
        self.outcome = Outcome()
        self._new = 0  # pages that no table holds yet
        self._held = 0  # pages before them

    def work_through(self, address: str | None) -> None:
        """Give the engine the pending units, up to ``_PASSES`` times; ``outcome`` records how it ends."""
        pending = self._pending()
        if not pending.rows:
            return
        self._held = (self.work.index.rows - pending.rows) * pending.pages // pending.rows  # about
        engine, self.outcome.engine_why = choose_engine(self.run, address, pending.pages)
        self.outcome.engine = engine.name
        write_running(self.store.folder, self._running(engine, pending))
        traced: dict[str, str | int] = {"run": self.store.run_id, "engine": engine.name, "pages": pending.pages}
        with closing(tracing_from_environment()) as tracing:
            try:
                with engine.session(), tracing.span("run", {}, **traced) as span:
                    self._passes(engine, pending, span.carrier())
            except KeyboardInterrupt:
                self.outcome.interrupted = True
                # The workers were stopped on purpose, which must not count against the pages they worked on.
                Markers(self.store.folder).clear()
            except (EngineError, ModelError, OutputError) as error:
                self.outcome.error = error
        left = self._pending()
        self.outcome.pages = pending.pages - left.pages
        self.outcome.rows = pending.rows - left.rows

    def _pending(self) -> Pending:
        return self.work.index.pending(self.store.completed(self.work.catalog.scratch))

    def _running(self, engine: Engine, pending: Pending) -> Running:
        return Running(
            run_id=self.store.run_id,
            began_at=datetime.now(UTC),
            engine=engine.name,
            documents=len(self.work.catalog),
            pages=pending.pages,
            rows=pending.rows,
            planned_rows=self.work.index.rows,
        )

    def publish(self) -> None:
        """Bring the tables up to what the parts hold."""
        write_asked(self.store.folder, self._asked)
        self._publish()
        self._held, self._new = self._held + self._new, 0

    def _passes(self, engine: Engine, pending: Pending, trace: dict[str, str]) -> None:
        config, resources = self._configured(engine, trace)
        self.outcome.resources = resources
        began = time.monotonic()
        try:
            while pending.rows and self.outcome.passes < _PASSES:
                self.lock.check()
                self.outcome.passes += 1
                self._one_pass(engine, pending, config, resources)
                pending = self._pending()
        finally:
            self.outcome.wall_s = time.monotonic() - began
        if pending.rows:  # raised inside the engine's session, which then keeps its log
            raise EngineError(
                f"{pending.rows} of {self.work.index.rows} rows are still missing after "
                f"{self.outcome.passes} passes; the rest is published. The log gives the reason (Ray's is in "
                "/tmp/ray/session_latest/logs); run the same command again to retry them"
            )

    def _configured(self, engine: Engine, trace: dict[str, str]) -> tuple[ActorConfig, Resources]:
        run, work = self.run, self.work
        resources, device = engine.resources(run), run.choice.device
        device = device if device != "auto" else ("cuda" if resources.actor_gpus else "cpu")
        check_attention(run.choice, device)
        self.store.check_settings(device_setting(run.choice, device))
        calibration = None if work.settings.skip_below is None else work.found.calibration
        config = ActorConfig(
            settings=work.settings,
            presence=None if calibration is None else calibration.presence,
            output=run.output,
            command=self.store.command,
            run_id=self.store.run_id,
            device=device,
            attn=run.choice.attn,
            threads=resources.actor_threads,
            deadline_s=run.deadline,
            document_seconds=run.document_seconds,
            passwords=work.passwords,
            pages_at_once=max(question.page_ranges.at_once for question in work.questions.questions),
            page_lines=self._log.is_json and not run.quiet,
            trace=trace,
        )
        return config, resources

    def _one_pass(self, engine: Engine, pending: Pending, config: ActorConfig, resources: Resources) -> None:
        with (
            Progress(pending.pages, "page", self.run.quiet, self._log) as progress,
            progress.following(engine.pages_done),
        ):
            for receipt in engine.receipts(pending.bundles(), config, resources, self.load):
                self.outcome.add(receipt)
                self._new += receipt.pages
                say_pages(receipt, self._log)
                self._publish_now_and_then()

    def _publish_now_and_then(self) -> None:
        """Publish whole files when the pages have doubled, since each time all answers are read for ``documents/``."""
        if self._new >= max(_PAGES_A_PUBLICATION, self._held):
            self.lock.check()
            self.publish()
