"""Does the work of ``docpipe plan``: forecasts a run from listings and page sizes alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jobs.model_choice import check_attention_here
from jobs.progress import Progress, counted
from jobs.run.calibrations import check_review
from jobs.run.children import for_each_document
from jobs.run.not_read import named
from jobs.run.prepare import Work, device_setting, frozen_settings, prepare_work
from jobs.settings import RunSettings
from pipeline.answering.checkpoints import TEXT_SIZES, note_on, resolve_model
from pipeline.errors import PageError
from pipeline.families.registry import find_family
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
from pipeline.units import planned_rows

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
    work = prepare_work(run, questions, store, read_passwords(run.password_file), remember=False)
    store.refuse_changed(frozen_settings(work.settings, questions), run.reworded)
    if run.choice.device != "auto":  # which another machine may understand otherwise
        store.refuse_changed(device_setting(run.choice, run.choice.device))
    check_review(work.found, run.choice, [question.reading() for question in questions.questions])
    pending = work.pending(store.done())
    pages = _visual_tokens(run, work, pending)
    known = [count for count in pages.values() if count is not None]
    sizes = [sum(pages[unit.document_id, page] or 0 for page in unit.read_pages) for unit in pending if unit.further]
    failures = [(d.path, work.counts[d.document_id].failure) for d in work.documents]
    unopened = [FailedDocument(path, 0, f.error_type, f.error_message) for path, f in failures if f is not None]
    of_which = f", of which {len(unopened)} cannot be opened" if unopened else ""
    lines = [
        f"documents        {len(work.documents)}{of_which}",
        f"pages            {sum(count.pages or 0 for count in work.counts.values())}",
        f"questions        {len(questions.questions)}",
        f"units            {len(work.units)}, of which {len(work.units) - len(pending)} are done",
        f"answers          {planned_rows(work.units)}, of which {planned_rows(pending)} are to do",
        f"visual tokens    {sum(known)} on {counted(len(known), 'page')} to do"
        + (f", {sum(known) / len(known):.0f} per page" if known else ""),
        f"memory per model {_memory(run, max([*known, *sizes], default=0))}",
        f"time             {_time(store.read_run(), len(pages))}",
    ]
    lines += [ignored_words(work.ignored)] if work.ignored else []
    lines += ["cannot be opened:", *named(unopened, len(unopened))] if unopened else []
    lines += [f"warning: {reason}" for reason in work.unmatched.values()]
    lines += filter(None, [note_on(run.choice.model)])
    return "\n".join(lines)


def _visual_tokens(run: RunSettings, work: Work, pending: Sequence[Unit]) -> dict[tuple[str, int], int | None]:
    """Count the visual tokens of each page still to do; ``None`` stands for a page that cannot be rendered."""
    wanted: dict[str, set[int]] = {}
    for unit in pending:
        wanted.setdefault(unit.document_id, set()).update(unit.read_pages)

    def measure(child: RenderChild, document: Document) -> tuple[int | None, ...]:
        pages = sorted(wanted[document.document_id])
        try:
            return child.measure(document, pages, work.settings.dpi, work.settings.budget)
        except PageError:
            return (None,) * len(pages)

    found: dict[str, tuple[int | None, ...]] = {}
    documents = [document for document in work.documents if wanted.get(document.document_id)]
    with Progress(len(documents), "document", run.quiet) as progress:
        for_each_document(documents, measure, found, progress.add, passwords=work.passwords)
    return {
        (key, page): count
        for key, counts in found.items()
        for page, count in zip(sorted(wanted[key]), counts, strict=True)
    }


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
