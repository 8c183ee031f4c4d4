"""Does the work of ``docpipe plan``: forecasts a run from listings and page sizes alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from jobs.model_choice import check_attention_here
from jobs.progress import Progress, counted
from jobs.run.calibrations import check_review
from jobs.run.children import for_each_document
from jobs.run.not_read import NAMED, named
from jobs.run.prepare import Work, device_setting, frozen_settings, prepare_work
from jobs.settings import RunSettings
from pipeline.answering.checkpoints import TEXT_SIZES, note_on, resolve_model
from pipeline.errors import PageError
from pipeline.families.registry import find_family
from pipeline.output.asked import Asked
from pipeline.output.failed import FailedDocument
from pipeline.output.folder import Folder
from pipeline.output.publish import check_tables
from pipeline.output.store import OutputStore
from pipeline.pages.apart import check_apart
from pipeline.pages.documents import ignored_words
from pipeline.pages.passwords import read_passwords
from pipeline.pages.renderer import RenderChild
from pipeline.questions.file import QuestionSet
from pipeline.records import Document, Unit
from pipeline.scratch import Scratch, portions
from pipeline.unit_index import Pending

_WINDOW = 10_000
_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


def forecast(run: RunSettings, questions: QuestionSet) -> str:
    """Write the lines of ``docpipe plan`` without writing a file or loading a model.

    Args:
        run: settings of the run.
        questions: questions to ask.

    Raises:
        UsageError: the settings cannot work, or do not fit to the output folder, as in :func:`jobs.run.job.run_job`.
        ModelError: the model's configuration cannot be one, or the add-on does not fit.
    """
    check_apart(run.input, run.output)
    store = OutputStore(Folder(run.output))
    check_tables(store.folder)
    if run.address is None:
        check_attention_here(run.choice)
    with Scratch() as scratch:
        work = prepare_work(run, questions, store, scratch, read_passwords(run.password_file), remember=False)
        store.refuse_changed(frozen_settings(work.settings, questions), run.reworded)
        if run.choice.device != "auto":  # which another machine may understand otherwise
            store.refuse_changed(device_setting(run.choice, run.choice.device))
        asked = Asked(asked=questions, locale=run.locale, review_below=run.review_below)
        check_review(work.found, run.choice, list(asked.readings.values()))
        return "\n".join(_lines(run, store, work, work.index.pending(store.completed(scratch))))


def _lines(run: RunSettings, store: OutputStore, work: Work, pending: Pending) -> Iterator[str]:
    index, tokens = work.index, _VisualTokens()
    tokens.measure(run, work, pending)
    unopened = sum(count.failure is not None for _, count in work.catalog.unopened())
    yield f"documents        {len(work.catalog)}" + (f", of which {unopened} cannot be opened" if unopened else "")
    yield f"pages            {work.catalog.pages()}"
    yield f"questions        {len(work.questions.questions)}"
    yield f"units            {index.units}, of which {index.units - pending.units} are done"
    yield f"answers          {index.rows}, of which {pending.rows} are to do"
    yield (
        f"visual tokens    {tokens.total} on {counted(tokens.pages, 'page')} to do"
        + (f", {tokens.total / tokens.pages:.0f} per page" if tokens.pages else "")
    )
    yield f"memory per model {_memory(run, tokens.most)}"
    yield f"time             {_time(store.read_run(), pending.pages)}"
    if work.ignored:
        yield ignored_words(work.ignored)
    if unopened:
        yield "cannot be opened:"
        failures = ((document.path, count.failure) for document, count in work.catalog.unopened())
        first = islice(((path, why) for path, why in failures if why is not None), NAMED)
        yield from named([FailedDocument(path, 0, f.error_type, f.error_message) for path, f in first], unopened)
    yield from (f"warning: {reason}" for reason in work.left_out())
    yield from filter(None, [note_on(run.choice.model)])


@dataclass(slots=True)
class _VisualTokens:
    """Adds up the visual tokens of pages that are still to do.

    Attributes:
        total: sum over the pages.
        pages: number of pages; those that cannot be rendered do not count.
        most: largest number of visual tokens that a question is about.
    """

    total: int = 0
    pages: int = 0
    most: int = 0

    def measure(self, run: RunSettings, work: Work, pending: Pending) -> None:
        """Measure all pages that are still to do."""
        with Progress(pending.documents, "document", run.quiet) as progress:
            for window in portions(pending.by_document(), _WINDOW):
                wanted = {document.document_id: units for document, units in window}
                found: dict[str, tuple[int | None, ...]] = {}
                documents = [document for document, _ in window]
                measure = partial(_sizes, work, wanted)
                for_each_document(documents, measure, found, progress.add, passwords=work.passwords)
                for document_id, sizes in found.items():
                    self._add(wanted[document_id], sizes)

    def _add(self, units: Sequence[Unit], sizes: Sequence[int | None]) -> None:
        of = dict(zip(_pages(units), sizes, strict=True))
        known = [size for size in sizes if size is not None]
        together = [sum(of[page] or 0 for page in unit.read_pages) for unit in units if unit.further]
        self.total += sum(known)
        self.pages += len(known)
        self.most = max([self.most, *known, *together])


def _pages(units: Sequence[Unit]) -> list[int]:
    return sorted({page for unit in units for page in unit.read_pages})


def _sizes(
    work: Work, wanted: Mapping[str, Sequence[Unit]], child: RenderChild, document: Document
) -> tuple[int | None, ...]:
    """Count the visual tokens of each page to do of a document; ``None`` for a page that cannot be rendered."""
    pages = _pages(wanted[document.document_id])
    try:
        return child.measure(document, pages, work.settings.dpi, work.settings.budget)
    except PageError:
        return (None,) * len(pages)


def _memory(run: RunSettings, largest_page: int) -> str:
    """Describe the size of the weights, and of one question's unpruned KV cache on the largest page."""
    folder = resolve_model(run.choice.model, run.choice.revision)
    raw = find_family(folder).read_config(folder)
    text = raw.get("text_config", raw)
    stored = raw.get("dtype") or raw.get("torch_dtype") or text.get("dtype") or "float32"
    hidden, layers, heads, key_heads = (text.get(name, 0) for name in TEXT_SIZES)
    elements = 2 * layers * key_heads * (hidden // max(heads, 1)) * largest_page
    parameters = _weight_bytes(folder) // _BYTES.get(stored, 4)

    def told(dtype: str) -> str:
        size = _BYTES.get(dtype, 4)
        known = f"{parameters * size / 1e9:.3f} GB of weights" if parameters else "weights (not on this machine yet)"
        cache = f"{elements * size / 1e9:.3f} GB of KV cache" if elements else "a KV cache of unknown size"
        return f"{known} + {cache} for one question on the largest page, unpruned"

    if run.choice.dtype != "auto":
        return told(run.choice.dtype)
    if run.choice.device == "cpu" or stored == "float32":
        return told("float32")
    return f"{told(stored)}, in {stored} on a GPU; {told('float32')}, in float32 on a CPU"


def _weight_bytes(folder: Path) -> int:
    """Return the bytes of the weights as stored; 0 where not even their index is on this machine."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        total = json.loads(index.read_text(encoding="utf-8")).get("metadata", {}).get("total_size")
        if total:
            return int(total)
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def _time(last: dict[str, Any] | None, pages: int) -> str:
    """Estimate the time from the rate of the last run in the same output folder, and never guess it."""
    rate = None if last is None else (last.get("this_run") or {}).get("pages_per_s")
    if not rate:
        return "unknown until a run into this output folder has measured it (try --limit)"
    return f"about {pages / rate / 60:.1f} min at the {rate:.2f} pages/s of the last run"
