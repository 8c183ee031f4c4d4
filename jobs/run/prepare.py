"""Prepares a run without loading a model: names, documents, page counts, units."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from glimpseprune.rule import KeepRule
from jobs.log import Log
from jobs.model_choice import ModelChoice
from jobs.presets import MAX_RATIOS
from jobs.progress import Progress
from jobs.run.calibrations import FoundCalibration, find_calibration, with_skipping
from jobs.run.children import for_each_document
from jobs.run.portfolios import embedded_documents
from jobs.settings import RunSettings
from pipeline.answering.checkpoints import (
    NANO,
    addon_rule,
    check_config,
    check_fit,
    default_addon,
    default_dpi,
    default_drop_blank,
    default_look_again,
    fingerprint,
    resolve_addon,
    resolve_model,
)
from pipeline.catalog import Catalog
from pipeline.errors import PageError, UsageError
from pipeline.families.registry import family_at, find_family
from pipeline.file_names import local_uri, readable, without_password
from pipeline.output.store import OutputStore
from pipeline.pages.documents import catalog_documents
from pipeline.pages.ocr import ocr_release
from pipeline.pages.passwords import Passwords
from pipeline.pages.renderer import RenderChild
from pipeline.questions.file import QuestionSet
from pipeline.questions.question import Question
from pipeline.questions.unmatched import EXAMPLES, unasked_words, unmatched_questions
from pipeline.records import AnswerSettings, Document, Failure, PageCount, PixelBudget
from pipeline.scratch import Scratch
from pipeline.unit_index import UnitIndex

_RULE_FLAGS = ("threshold", "max_ratio", "min_tokens")
_QUESTION_FIELDS = (
    "text",
    "type",
    "items",
    "constrain",
    "choices",
    "choice_probabilities",
    "prompt",
    "pages",
    "max_new_tokens",
    "keep",
)
"""Fields of a question that its answers can depend on."""


@dataclass(frozen=True, slots=True)
class Work:
    """Everything that a run has to do, whether done or not.

    Attributes:
        settings: settings that the answers depend on.
        questions: questions to ask.
        catalog: documents to read, with their page counts.
        index: units of all documents and questions.
        ignored: number of files that are no documents, by suffix or kind.
        unmatched: reason by question id, for questions that are asked nowhere.
        unasked: number of documents that no question is asked about, and the paths of the first ones.
        passwords: passwords of encrypted documents.
        found: calibration of the model.
    """

    settings: AnswerSettings
    questions: QuestionSet
    catalog: Catalog
    index: UnitIndex
    ignored: dict[str, int]
    unmatched: dict[str, str]
    unasked: tuple[int, list[str]]
    passwords: Passwords
    found: FoundCalibration

    def left_out(self) -> list[str]:
        """Say which questions are asked nowhere, and which documents no question is asked about."""
        return [*self.unmatched.values(), *unasked_words(*self.unasked)]


def prepare_work(
    run: RunSettings,
    questions: QuestionSet,
    store: OutputStore,
    scratch: Scratch,
    passwords: Passwords,
    remember: bool,
    meanwhile: Callable[[int], None] | None = None,
) -> Work:
    """List the documents, count their pages and make the units.

    Args:
        run: settings of the run.
        questions: questions to ask.
        store: store with the page counts of earlier runs.
        scratch: database that gets documents and units.
        passwords: passwords of encrypted documents.
        remember: whether to save new page counts in the store, including those taken before an interruption.
        meanwhile: function that is called with the number of documents while the pages of new ones are counted.

    Raises:
        UsageError: a name cannot be resolved, flags contradict each other, there is no document, no question matches
            any page, one is about several pages and the model takes one, the calibration does not fit or is missing
            where a flag needs it, or OCR is asked for and not installed.
        ModelError: the add-on does not fit the model.
    """
    settings = answer_settings(run.choice, run.seed)
    _check_together(questions, settings)
    found = find_calibration(run.choice, run.calibration, settings)
    settings = with_skipping(found, run.choice, settings, run.skip_below)
    if run.ocr:
        settings = replace(settings, ocr=ocr_release())
    catalog = Catalog(scratch)
    ignored = catalog_documents(catalog, run.input, run.limit)
    _count(catalog, store, passwords, run, remember, meanwhile and partial(meanwhile, len(catalog)))
    index = UnitIndex(catalog, questions, settings)
    left = [question for question in questions.questions if question.id not in index.asked]
    unmatched = unmatched_questions(left, lambda: catalog)
    if not index.units:
        raise UsageError("\n".join(["no question matches any page, so there is nothing to do", *unmatched.values()]))
    return Work(settings, questions, catalog, index, ignored, unmatched, index.unasked(EXAMPLES), passwords, found)


def _count(
    catalog: Catalog,
    store: OutputStore,
    passwords: Passwords,
    run: RunSettings,
    remember: bool,
    meanwhile: Callable[[], None] | None,
) -> None:
    """Count the pages of all documents, and of those inside of them; portfolios may hold portfolios."""
    log, start = Log(run.log_format, store.run_id), 0
    while start < len(catalog):
        end = len(catalog)
        for known in store.page_counts():
            catalog.know(known)
        with Progress(catalog.count_uncounted(), "document", run.quiet, log) as progress:
            while window := catalog.uncounted(end):
                fresh: dict[str, PageCount] = {}
                try:
                    count_pages(window, fresh, progress.add, meanwhile, passwords)
                finally:
                    if remember:
                        store.save_page_counts(fresh.values())
                meanwhile = None
                inside, refused = embedded_documents(window, fresh, passwords)
                catalog.count((fresh | refused).values())
                catalog.append(inside)
        start = end


def _check_together(questions: QuestionSet, settings: AnswerSettings) -> None:
    """Refuse questions about several pages together for a model that takes one image per question."""
    names = [question.id for question in questions.questions if question.page_ranges.together]
    if names and not family_at(settings.budget.family).takes_several:
        raise UsageError(
            f"model {settings.model} takes one page per question, found questions about several pages together: "
            f"{', '.join(names)}; list their pages ('1,2' in place of '1+2'), or take a model of another family"
        )


def count_pages(
    documents: Sequence[Document],
    counts: dict[str, PageCount],
    done: Callable[[], None],
    meanwhile: Callable[[], None] | None = None,
    passwords: Passwords | None = None,
) -> None:
    """Put each document's page count, or the failure to count its pages, into ``counts``."""

    def count(child: RenderChild, document: Document) -> PageCount:
        try:
            return PageCount(document.document_id, child.count_pages(document))
        except PageError as error:
            failure = Failure(error.stage, error.error_type, error.message)
            return PageCount(document.document_id, None, failure)

    for_each_document(documents, count, counts, done, meanwhile, passwords)


def answer_settings(choice: ModelChoice, seed: int) -> AnswerSettings:
    """Resolve names, rule and sizes without loading a model.

    Args:
        choice: model and how it sees a page.
        seed: seed of the run.

    Raises:
        UsageError: a name cannot be resolved, or flags contradict each other.
        ModelError: the model's family is not supported, or the add-on does not fit the model.
    """
    if choice.fallback != "off" and choice.prune == "off":
        raise UsageError(f"--fallback {choice.fallback} has no effect without pruning; leave out one of the two")
    model = resolve_model(choice.model, choice.revision)
    check_config(model)
    name = choice.glimpse or default_addon(choice.model)
    if choice.prune in ("glimpse", "auto") and name is None:
        raise UsageError(f"--prune {choice.prune} needs an add-on; name one with --glimpse")
    addon = None if name is None or choice.prune == "off" else resolve_addon(name)
    given = {flag: getattr(choice, flag) for flag in _RULE_FLAGS if getattr(choice, flag) is not None}
    rule: KeepRule | None = None
    if addon is not None:
        check_fit(model, addon)
        rule = KeepRule(**{**asdict(addon_rule(addon)), **given})
        if rule.max_ratio is None and choice.preset is not None:
            rule = replace(rule, max_ratio=MAX_RATIOS[choice.preset])
    elif choice.fallback != "off":
        raise UsageError(f"--fallback {choice.fallback} needs an add-on, as pruning does; name one with --glimpse")
    elif given:
        flag = _flag(next(iter(given)))
        raise UsageError(f"{flag} has no effect without pruning; name an add-on with --glimpse, or leave it out")
    budget = find_family(model).read_budget(model, choice.max_visual_tokens)
    return AnswerSettings(
        model=choice.model,
        revision=choice.revision,
        model_fingerprint=fingerprint(model),
        glimpse=None if addon is None else name,
        glimpse_fingerprint=None if addon is None else fingerprint(addon),
        rule=rule,
        dpi=choice.dpi or default_dpi(choice.model),
        budget=budget,
        dtype=choice.dtype,
        seed=seed,
        prune_auto=choice.prune == "auto",
        drop_blank=default_drop_blank(choice.model) if choice.drop_blank is None else choice.drop_blank,
        fallback=choice.fallback == "dense",
        look_again=_look_again(choice, budget),
        repetition_penalty=choice.repetition_penalty,
    )


def _look_again(choice: ModelChoice, budget: PixelBudget) -> float:
    if choice.look_again is None:
        return default_look_again(choice.model)
    if choice.look_again and budget.min_pixels == budget.max_pixels:
        raise UsageError(
            f"--look-again {choice.look_again:g} needs pages at another size, found model {choice.model}, which "
            "takes every page at the same size; leave it out"
        )
    return choice.look_again


def frozen_settings(settings: AnswerSettings, questions: QuestionSet) -> dict[str, object]:
    """List the settings that must not change within an output folder, for :meth:`OutputStore.check_settings`."""
    revision = "" if settings.revision is None else f" at {settings.revision}"
    frozen: dict[str, object] = {
        "--model": {"name": settings.model + revision, "fingerprint": settings.model_fingerprint},
        "--prune": "off" if settings.rule is None else "auto" if settings.prune_auto else "glimpse",
    }
    if settings.rule is not None:  # without pruning these have no value, and --prune alone says what changed
        frozen["--glimpse"] = {"name": settings.glimpse, "fingerprint": settings.glimpse_fingerprint}
        rule = asdict(settings.rule)
        frozen |= {_flag(name) if name in _RULE_FLAGS else f"{name} of the add-on": rule[name] for name in rule}
    if settings.skip_below is not None:
        frozen["--calibration (with --skip-below)"] = settings.presence_fingerprint
    return {
        **frozen,
        "--fallback": "dense" if settings.fallback else "off",
        "--look-again": settings.look_again,
        "--skip-below": settings.skip_below,
        "--ocr": settings.ocr,
        "--drop-blank": settings.drop_blank,
        "--dpi": settings.dpi,
        "--max-visual-tokens": family_at(settings.budget.family).max_visual_tokens(settings.budget),
        "--dtype": settings.dtype,
        "--repetition-penalty": settings.repetition_penalty,
        "--seed": settings.seed,
        **{f"question {question.id}": _frozen_question(question, settings.rule) for question in questions.questions},
    }


def device_setting(choice: ModelChoice, device: str) -> dict[str, object]:
    """Return the setting that a device is within an output folder; with ``--dtype auto``, it decides the type.

    Args:
        choice: model and how it runs.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
    """
    return {"--device (with --dtype auto)": device.partition(":")[0]} if choice.dtype == "auto" else {}


def _frozen_question(question: Question, rule: KeepRule | None) -> dict[str, object]:
    ranges = question.page_ranges  # they decide the units
    pages = f"{ranges.parts} together" if ranges.together else f"{ranges.parts}"
    unlimited = question.model_copy(update={"constrain": False})  # other limits ask again, and are no reason to refuse
    fields = question.model_dump(mode="json", include=set(_QUESTION_FIELDS))
    return {
        "identity": f"{unlimited.identity(rule)} on {pages}",
        "fields": {name: fields[name] for name in _QUESTION_FIELDS},
    }


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def reproduce_command(run: RunSettings, questions: QuestionSet) -> str:
    """Write the command that answers a single document again from any folder.

    ``{input}`` stands for the document, and ``{document_id}`` for its id. Its output is named after document, questions
    and settings, so that commands which differ in any of them can run in one folder.

    Args:
        run: settings of the run.
        questions: questions of the run.
    """
    named = {flag: getattr(run.choice, flag) for flag in ("model", "glimpse")}
    whole = {flag: readable(_absolute(name)) for flag, name in named.items() if name not in (None, NANO)}
    flag, name = run.asked
    words = [
        flag,
        local_uri(_absolute(without_password(name))),
        *run.choice.model_copy(update=whole).flags(),
    ]
    if run.password_file:
        words += ["--password-file", local_uri(_absolute(run.password_file))]
    if run.skip_below is not None:
        words += ["--skip-below", str(run.skip_below)]
        if run.calibration:
            words += ["--calibration", local_uri(_absolute(without_password(run.calibration)))]
    if run.ocr:
        words += ["--ocr"]
    if run.seed:
        words += ["--seed", str(run.seed)]
    fixed = shlex.join(words).replace("{", "{{").replace("}", "}}")
    asked = hashlib.sha256(f"{fixed}\0{questions.model_dump_json()}".encode()).hexdigest()[:8]
    return f"docpipe run --input {{input}} {fixed} --output reproduced-{{document_id:.8}}-{asked}"


def _absolute(name: str) -> str:
    """Return the absolute path of a file or folder; a name of something else, such as of the hub, is unchanged."""
    path = Path(name).expanduser()
    return str(path.absolute()) if path.exists() else name
