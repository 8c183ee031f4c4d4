"""Prepares a run without loading a model: names, documents, page counts, units."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from glimpseprune.rule import KeepRule
from jobs.model_choice import ModelChoice
from jobs.progress import Progress
from jobs.run.children import for_each_document
from jobs.run.portfolios import embedded_documents
from jobs.settings import RunSettings
from pipeline.answering.checkpoints import (
    addon_rule,
    check_fit,
    default_addon,
    default_dpi,
    fingerprint,
    resolve_addon,
    resolve_model,
)
from pipeline.errors import PageError, UsageError
from pipeline.families.registry import family_at, find_family
from pipeline.output.store import OutputStore
from pipeline.pages.documents import list_documents
from pipeline.pages.passwords import Passwords, read_passwords
from pipeline.pages.renderer import RenderChild
from pipeline.questions.file import QuestionSet
from pipeline.records import AnswerSettings, Document, Failure, PageCount, Unit
from pipeline.units import make_units

_RULE_FLAGS = ("threshold", "max_ratio", "min_tokens")


@dataclass(frozen=True, slots=True)
class Work:
    """Everything that a run has to do, whether done or not."""

    settings: AnswerSettings
    questions: QuestionSet
    documents: list[Document]
    counts: dict[str, PageCount]
    units: list[Unit]

    def pending(self, completed: set[str]) -> list[Unit]:
        """Return the planned units that are not completed."""
        return [unit for unit in self.units if unit.unit_id not in completed]


def prepare_work(run: RunSettings, questions: QuestionSet, store: OutputStore, remember: bool) -> Work:
    """List the documents, count their pages and make the units.

    Args:
        run: settings of the run.
        questions: questions to ask.
        store: store with the page counts of earlier runs.
        remember: whether to save new page counts in the store, including those taken before an interruption.

    Raises:
        UsageError: a name cannot be resolved, flags contradict each other, or there is no document.
        ModelError: the add-on does not fit the model.
    """
    settings = answer_settings(run.choice, run.seed)
    documents = list_documents(run.input, run.limit)
    known = store.page_counts()
    passwords = read_passwords(run.password_file)
    counts: dict[str, PageCount] = {}
    added = documents
    while added:  # portfolios may hold portfolios
        counts |= {d.document_id: known[d.document_id] for d in added if d.document_id in known}
        uncounted = [document for document in added if document.document_id not in counts]
        fresh: dict[str, PageCount] = {}
        try:
            with Progress(len(uncounted), "document", run.quiet) as progress:
                count_pages(uncounted, fresh, progress.add, passwords)
        finally:
            if remember and fresh:
                store.save_page_counts(fresh.values())
        counts |= fresh
        added = embedded_documents(uncounted, counts, passwords)
        documents = documents + added
    return Work(settings, questions, documents, counts, make_units(documents, counts, questions, settings))


def count_pages(
    documents: Sequence[Document],
    counts: dict[str, PageCount],
    done: Callable[[], None],
    passwords: Passwords | None = None,
) -> None:
    """Put each document's page count, or the failure to count its pages, into ``counts``."""

    def count(child: RenderChild, document: Document) -> PageCount:
        try:
            return PageCount(document.document_id, child.count_pages(document))
        except PageError as error:
            failure = Failure(error.stage, error.error_type, error.message)
            return PageCount(document.document_id, None, failure)

    for_each_document(documents, count, counts, done, passwords)


def answer_settings(choice: ModelChoice, seed: int) -> AnswerSettings:
    """Resolve names, rule and sizes without loading a model.

    Args:
        choice: model and how it sees a page.
        seed: seed of the run.

    Raises:
        UsageError: a name cannot be resolved, or flags contradict each other.
        ModelError: the model's family is not supported, or the add-on does not fit the model.
    """
    model = resolve_model(choice.model, choice.revision)
    name = choice.glimpse or default_addon(choice.model)
    if choice.prune in ("glimpse", "auto") and name is None:
        raise UsageError(f"--prune {choice.prune} needs an add-on; name one with --glimpse")
    addon = None if name is None or choice.prune == "off" else resolve_addon(name)
    given = {flag: getattr(choice, flag) for flag in _RULE_FLAGS if getattr(choice, flag) is not None}
    rule: KeepRule | None = None
    if addon is not None:
        check_fit(model, addon)
        rule = KeepRule(**{**asdict(addon_rule(addon)), **given})
    elif given:
        flag = next(iter(given)).replace("_", "-")
        raise UsageError(f"--{flag} has no effect without pruning; name an add-on with --glimpse, or leave it out")
    return AnswerSettings(
        model=choice.model,
        revision=choice.revision,
        model_fingerprint=fingerprint(model),
        glimpse=None if addon is None else name,
        glimpse_fingerprint=None if addon is None else fingerprint(addon),
        rule=rule,
        dpi=choice.dpi or default_dpi(choice.model),
        budget=find_family(model).read_budget(model, choice.max_visual_tokens),
        dtype=choice.dtype,
        seed=seed,
        prune_auto=choice.prune == "auto",
        drop_blank=choice.drop_blank,
    )


def frozen_settings(settings: AnswerSettings, questions: QuestionSet) -> dict[str, object]:
    """List the settings that must not change within an output folder, by the names a user knows."""
    return {
        "model": settings.model_fingerprint,
        "glimpse": settings.glimpse_fingerprint,
        "rule": None if settings.rule is None else asdict(settings.rule),
        "drop_blank": settings.drop_blank,
        "prune": "off" if settings.rule is None else "auto" if settings.prune_auto else "glimpse",
        "dpi": settings.dpi,
        "max_visual_tokens": family_at(settings.budget.family).max_visual_tokens(settings.budget),
        "dtype": settings.dtype,
        "seed": settings.seed,
        **{f"question.{q.id}": [q.pages, q.identity()] for q in questions.questions},  # pages decide the units
    }


def reproduce_command(run: RunSettings) -> str:
    """Write the command that answers a single document again, with ``{input}`` in its place.

    Args:
        run: settings of the run.
    """
    words = ["--questions", run.questions, *run.choice.flags()]
    if run.password_file:
        words += ["--password-file", run.password_file]
    if run.seed:
        words += ["--seed", str(run.seed)]
    fixed = shlex.join(words).replace("{", "{{").replace("}", "}}")
    return f"docpipe run --input {{input}} {fixed} --output reproduced"
