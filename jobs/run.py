"""``docpipe run``: list, count, plan, work, compare, publish."""

from __future__ import annotations

import platform
import shlex
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from glimpseprune.rule import KeepRule
from jobs import exit_codes
from jobs.engine import cluster, ray_session, run_bundles
from jobs.progress import Progress
from jobs.resources import Resources, plan_resources
from jobs.settings import RunSettings
from jobs.stages import ActorConfig
from pipeline.checkpoints import addon_rule, check_fit, default_addon, fingerprint, resolve_addon, resolve_model
from pipeline.documents import list_documents
from pipeline.errors import EngineError, PageError, UsageError
from pipeline.folder import Folder
from pipeline.geometry import read_pixel_budget
from pipeline.lock import OutputLock
from pipeline.markers import Markers
from pipeline.plan import make_bundles, make_units, planned_rows
from pipeline.publish import publish
from pipeline.questions import QuestionSet
from pipeline.records import AnswerSettings, Document, Failure, PageCount, Receipt, Unit
from pipeline.render import RenderChild
from pipeline.store import OutputStore

_PASSES = 3
_COUNTERS = 4  # processes that count pages; more would wait for the disk
_VERSIONS = ("docpipe", "torch", "transformers", "ray", "pymupdf", "pyarrow")


@dataclass(slots=True)
class Work:
    """What is known before any model is loaded."""

    settings: AnswerSettings
    questions: QuestionSet
    documents: list[Document]
    counts: dict[str, PageCount]
    units: list[Unit]

    def pending(self, completed: set[str]) -> list[Unit]:
        """Planned minus completed."""
        return [unit for unit in self.units if unit.unit_id not in completed]


def answer_settings(run: RunSettings) -> AnswerSettings:
    """Resolve names, rule and sizes; nothing heavy is loaded.

    Raises:
        UsageError: a name stands for nothing, or flags contradict each other.
        ModelError: the add-on does not fit the model.
    """
    model = resolve_model(run.model)
    name = run.glimpse or default_addon(run.model)
    if run.prune == "glimpse" and name is None:
        raise UsageError("--prune glimpse needs an add-on; name one with --glimpse")
    addon = None if name is None or run.prune == "off" else resolve_addon(name)
    overrides = {
        "threshold": run.threshold,
        "max_ratio": run.max_ratio,
        "min_tokens": run.min_tokens,
    }
    given = {key: value for key, value in overrides.items() if value is not None}
    rule: KeepRule | None = None
    if addon is not None:
        check_fit(model, addon)
        rule = KeepRule(**{**asdict(addon_rule(addon)), **given})
    elif given:
        flag = next(iter(given)).replace("_", "-")
        raise UsageError(f"--{flag} has no effect without pruning; name an add-on with --glimpse, or leave it out")
    return AnswerSettings(
        model=run.model,
        model_fingerprint=fingerprint(model),
        glimpse=None if addon is None else name,
        glimpse_fingerprint=None if addon is None else fingerprint(addon),
        rule=rule,
        dpi=run.dpi,
        budget=read_pixel_budget(model, run.max_visual_tokens),
        dtype=run.dtype,
        seed=run.seed,
    )


def plan_work(run: RunSettings, questions: QuestionSet, known: Mapping[str, PageCount]) -> Work:
    """List the documents, count their pages and make the units.

    Args:
        run: the settings.
        questions: what to ask.
        known: page counts of earlier runs, by document id.
    """
    settings = answer_settings(run)
    documents = list_documents(run.input, run.limit)
    counts = {d.document_id: known[d.document_id] for d in documents if d.document_id in known}
    counts |= count_pages([document for document in documents if document.document_id not in counts])
    return Work(settings, questions, documents, counts, make_units(documents, counts, questions, settings))


def count_pages(documents: Sequence[Document]) -> dict[str, PageCount]:
    """The number of pages of each document, in a few render children side by side."""

    def share(mine: Sequence[Document]) -> list[PageCount]:
        with RenderChild() as child:
            return [_count(child, document) for document in mine]

    shares = [documents[i::_COUNTERS] for i in range(min(_COUNTERS, len(documents)))]
    with ThreadPoolExecutor(_COUNTERS) as pool:
        return {count.document_id: count for counts in pool.map(share, shares) for count in counts}


def _count(child: RenderChild, document: Document) -> PageCount:
    try:
        return PageCount(document.document_id, child.count_pages(document))
    except PageError as error:
        failure = Failure(error.stage, error.error_type, error.message)
        return PageCount(document.document_id, None, failure)


def run_job(run: RunSettings, questions: QuestionSet, address: str | None = None) -> dict[str, Any]:
    """Do a whole run; a local Ray is started unless ``address`` names the cluster this process runs in.

    Returns:
        What is written to ``run.json``; ``exit_code`` is among it.

    Raises:
        UsageError, ModelError, EngineError: see :mod:`pipeline.errors`. What was committed stays; the same command
        resumes.
    """
    started, clock = time.time(), time.monotonic()
    folder = Folder(run.output)
    store = OutputStore(folder, reproduce_command(run))
    with OutputLock(folder) as lock:
        work = plan_work(run, questions, store.page_counts())
        store.check_settings(frozen_settings(work.settings, questions))
        store.save_page_counts(work.counts.values())
        outcome = _work_through(run, work, store, address)
        lock.check()
        if outcome.interrupted:
            Markers(folder).clear()  # its workers were stopped on purpose, which says nothing about their pages
        publish(store, {question.id: question.aggregate for question in questions.questions})
        report = _report(run, work, store, outcome)
        report |= {"started_at": _stamp(started), "finished_at": _stamp(time.time())}
        report["wall_s"] = time.monotonic() - clock
        store.write_run(report)
    missing = report["counts"]["skipped"]
    if missing and not outcome.interrupted:
        raise EngineError(
            f"{missing} of {report['counts']['planned']} rows are still missing after {outcome.passes} passes; what is "
            "done is published, and the same command resumes. Ray's logs say more: /tmp/ray/session_latest/logs"
        )
    return report


@dataclass(slots=True)
class _Outcome:
    receipts: list[Receipt]
    resources: Resources | None = None
    passes: int = 0
    busy_wall_s: float = 0.0
    interrupted: bool = False


def _work_through(run: RunSettings, work: Work, store: OutputStore, address: str | None) -> _Outcome:
    outcome = _Outcome([])
    pending = work.pending(store.completed_units())
    if not pending:
        return outcome
    try:
        with ray_session(address):
            cpus, gpus, memory = cluster()
            use_gpu = run.device == "auto" or run.device.startswith("cuda")
            resources = plan_resources(cpus, gpus, memory, run.actors, run.gpus_per_actor, use_gpu)
            outcome.resources = resources
            config = ActorConfig(
                settings=work.settings,
                output=run.output,
                command=store.command,
                device=run.device if run.device != "auto" else ("cuda" if resources.actor_gpus else "cpu"),
                attn=run.attn,
                threads=resources.actor_threads,
                deadline_s=run.deadline,
            )
            began = time.monotonic()
            while pending and outcome.passes < _PASSES:
                outcome.passes += 1
                _one_pass(run, work, pending, config, resources, outcome)
                pending = work.pending(store.completed_units())
            outcome.busy_wall_s = time.monotonic() - began
    except KeyboardInterrupt:
        outcome.interrupted = True
    return outcome


def _one_pass(
    run: RunSettings, work: Work, pending: list[Unit], config: ActorConfig, resources: Resources, outcome: _Outcome
) -> None:
    bundles = make_bundles(pending, work.documents, work.questions, work.settings, work.counts)
    pages = sum(len({(u.document_id, p) for u in bundle.units for p in u.pages}) for bundle in bundles)
    with Progress(pages, run.quiet) as progress:
        for receipt in run_bundles(bundles, config, resources):
            outcome.receipts.append(receipt)
            progress.add(receipt.pages)


def frozen_settings(settings: AnswerSettings, questions: QuestionSet) -> dict[str, object]:
    """What must not change in one output folder, flat, by the names a user knows."""
    rule = None if settings.rule is None else asdict(settings.rule)
    return {
        "model": settings.model_fingerprint,
        "glimpse": settings.glimpse_fingerprint,
        "rule": rule,
        "dpi": settings.dpi,
        "max_visual_tokens": settings.budget.max_pixels // settings.budget.factor**2,
        "dtype": settings.dtype,
        "seed": settings.seed,
        **{f"question.{q.id}": [q.pages, q.identity()] for q in questions.questions},  # pages decide the units
    }


def reproduce_command(run: RunSettings) -> str:
    """The command that reads one document again, with ``{input}`` in its place."""
    flags: dict[str, object] = {"questions": run.questions, "model": run.model, "glimpse": run.glimpse}
    for name in ("prune", "threshold", "max_ratio", "min_tokens", "max_visual_tokens", "device"):
        flags[name] = getattr(run, name)
    given = {name: value for name, value in flags.items() if value is not None and value != "auto"}
    words = [f"--{name.replace('_', '-')} {shlex.quote(str(value))}" for name, value in given.items()]
    fixed = " ".join(words).replace("{", "{{").replace("}", "}}")
    return f"docpipe run --input {{input}} {fixed} --dpi {run.dpi} --output reproduced"


def _report(run: RunSettings, work: Work, store: OutputStore, outcome: _Outcome) -> dict[str, Any]:
    planned = planned_rows(work.units)
    counts = store.status_counts({unit.unit_id for unit in work.units})
    # Rows without a result yet: an interrupted run, or one whose engine lost them.
    counts["skipped"] += planned - sum(counts.values())
    pages = sum(receipt.pages for receipt in outcome.receipts)
    busy = sum(receipt.busy_ms for receipt in outcome.receipts) / 1e3
    wall = outcome.busy_wall_s
    actors = outcome.resources.actors if outcome.resources is not None else None
    failed_share = counts["failed"] / planned if planned else 0.0
    code = exit_codes.TOO_MANY_FAILED if failed_share > run.max_failed_share else exit_codes.DONE
    return {
        "settings": run.model_dump(),
        "answer_settings": asdict(work.settings),
        "versions": _versions(),
        "documents": len(work.documents),
        "pages": sum(count.pages or 0 for count in work.counts.values()),
        "units": len(work.units),
        "counts": {"planned": planned, **counts},
        "failed_share": failed_share,
        "this_run": {
            "bundles": len(outcome.receipts),
            "pages": pages,
            "rows": sum(sum(receipt.counts.values()) for receipt in outcome.receipts),
            "passes": outcome.passes,
            "retried_bundles": sum(receipt.attempt > 1 for receipt in outcome.receipts),
            "pages_per_s": pages / wall if wall and pages else None,
            "busy_share": busy / (wall * actors) if wall and actors else None,
            "resources": asdict(outcome.resources) if outcome.resources is not None else None,
        },
        "interrupted": outcome.interrupted,
        "exit_code": exit_codes.INTERRUPTED if outcome.interrupted else code,
    }


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in _VERSIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def _stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
