"""Sums a run up: answers by status and question, what failed, what was slow, and what it cost."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.file_names import printable
from pipeline.viewing.published import Published, rows_of
from pipeline.viewing.report.histogram import duration
from pipeline.viewing.texts import shown

_MOST_DOCUMENTS = 12
_MOST_CHARACTERS = 600
_PAGE_TIMES = ("render_ms", "vision_ms", "prefix_ms")
_ANSWER_TIMES = ("prefill_ms", "decode_ms")


@dataclass(frozen=True, slots=True)
class QuestionSum:
    """Answers to one question.

    Attributes:
        id: id of the question.
        text: its text.
        rows: number of answers.
        statuses: number of answers by status.
        confidence: median confidence in 0..1; ``None`` where none was measured.
    """

    id: str
    text: str
    rows: int
    statuses: Mapping[str, int]
    confidence: float | None


@dataclass(slots=True)
class FailureSum:
    """Failed rows of one type of error.

    Attributes:
        error_type: stable name of the error.
        rows: number of rows.
        documents: number of documents.
        message: what was said of the first.
        examples: name and command of some documents.
    """

    error_type: str
    rows: int = 0
    documents: int = 0
    message: str = ""
    examples: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Cost:
    """Machine time of all answers.

    Attributes:
        hours: time for all rows, in hours.
        documents: number of documents.
        pages: number of pages.
        rows: number of answers.
        basis: how the time was found, in words.
    """

    hours: float
    documents: int
    pages: int
    rows: int
    basis: str


def question_sums(run: Published) -> list[QuestionSum]:
    """Sum the answers up by question, in the order of the questions file."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    grouped = run.answers.group_by(["question_id", "status"]).aggregate([([], "count_all")])
    for row in grouped.to_pylist():
        counts[row["question_id"]][row["status"]] = row["count_all"]
    medians = run.answers.group_by("question_id").aggregate([("confidence", "approximate_median")]).to_pylist()
    median = {row["question_id"]: row["confidence_approximate_median"] for row in medians}
    names = [name for name in run.questions if name in counts] + sorted(counts.keys() - run.questions.keys())
    return [
        QuestionSum(
            name, shown(run.questions.get(name, ""), _MOST_CHARACTERS), counts[name].total(), counts[name], median[name]
        )
        for name in names
    ]


def failure_sums(run: Published) -> list[FailureSum]:
    """Group the failed rows by type of error, the most frequent first."""
    found: dict[str, FailureSum] = {}
    seen: set[tuple[str, str]] = set()
    for row in rows_of(run.failures, ("document_id", "document", "error_type", "error_message", "command")):
        one = found.setdefault(row["error_type"], FailureSum(row["error_type"]))
        one.rows += 1
        one.message = one.message or shown(row["error_message"], _MOST_CHARACTERS)
        key = (row["error_type"], row["document_id"])
        if key not in seen:
            seen.add(key)
            one.documents += 1
            if len(one.examples) < _MOST_DOCUMENTS:
                one.examples.append((printable(row["document"]), printable(shown(row["command"], _MOST_CHARACTERS))))
    return sorted(found.values(), key=lambda one: (-one.documents, one.error_type))


def slow_documents(run: Published) -> list[tuple[str, int, float]]:
    """List the documents that took longest: name, pages, and seconds of rendering and of the model."""
    seconds: Counter[tuple[str, str]] = Counter()
    pages: Counter[tuple[str, str]] = Counter()
    for table, times in ((run.pages, _PAGE_TIMES), (run.answers, _ANSWER_TIMES)):
        sums = table.group_by(["document_id", "document"]).aggregate(
            [*((time, "sum") for time in times), ([], "count_all")]
        )
        for row in sums.to_pylist():
            key = (row["document_id"], row["document"])
            seconds[key] += sum(row[f"{time}_sum"] or 0.0 for time in times) / 1000  # type: ignore[assignment]
            if table is run.pages:
                pages[key] = row["count_all"]
    slowest = seconds.most_common(_MOST_DOCUMENTS)
    return [(printable(key[1]), pages[key], spent) for key, spent in slowest if spent > 0]


def cost(run: Published) -> Cost | None:
    """Find the machine time of all rows: of the last run, or else of its parts that were measured.

    Args:
        run: what the run published.

    Returns:
        The time; ``None`` if none is known.
    """
    rows, last = len(run.answers), run.run.get("this_run") or {}
    documents, pages = pc.count_distinct(run.answers["document_id"]).as_py(), len(run.pages)
    wall_s, done = run.run.get("wall_s"), last.get("rows")
    if wall_s and done and run.share == 1:
        if done >= rows:
            basis = f"The run took {duration(wall_s)}, its start and the loading of the model included."
        else:
            basis = f"The last run answered {done:,} rows in {duration(wall_s)}; all rows are counted at its speed."
        return Cost(wall_s * max(1.0, rows / done) / 3600, documents, pages, rows, basis)
    spent_ms = sum(pc.sum(run.pages[time]).as_py() or 0.0 for time in _PAGE_TIMES)
    spent_ms += sum(pc.sum(run.answers[time]).as_py() or 0.0 for time in _ANSWER_TIMES)
    if not spent_ms:
        return None
    basis = f"Rendering and the model took {duration(spent_ms / 1000)} on one page after the other."
    return Cost(spent_ms / 3.6e6, documents, pages, rows, basis)


def status_counts(run: Published) -> Counter[str]:
    """Count the rows by status, those that an interrupted run has not come to included."""
    counts = Counter[str](
        {entry["values"]: entry["counts"] for entry in pc.value_counts(run.answers["status"]).to_pylist()}
    )
    planned = (run.run.get("counts") or {}).get("planned", 0) if run.share == 1 else 0
    counts["pending"] += max(0, planned - counts.total())
    return counts


def memory_column(run: Published) -> tuple[str, pa.ChunkedArray]:
    """Return the peak memory of each page, of the GPU where there was one, and what it is."""
    on_gpu = run.pages["peak_memory_bytes"]
    if on_gpu.null_count < len(on_gpu):
        return "Peak GPU memory per page", on_gpu
    return "Peak memory of the process so far, per page", run.pages["peak_rss_bytes"]
