"""Writes the rows of an evaluation to disk, and sums them up per mode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import OutputError
from pipeline.evaluation.evaluate import Measured
from pipeline.evaluation.modes import MODES, Mode, label
from pipeline.output.faults import make_folder, whole_file, writing
from pipeline.output.schema import ANSWERS

SCHEMA = pa.schema(
    [
        ("document", pa.string()),
        ("page", pa.int32()),
        ("question_id", pa.string()),
        ("question", pa.string()),
        ("type", pa.string()),
        ("answerable", pa.bool_()),
        ("gold", pa.list_(pa.string())),
        ("mode", pa.string()),
        ("keep_share", pa.float64()),
        ("answer", pa.string()),
        ("exact", pa.bool_()),
        ("value_equal", pa.bool_()),
        ("anls", pa.float64()),
        ("value_error", pa.string()),
        ("confidence", pa.float64()),
        ("confidence_raw", pa.float64()),
        ("logprob_mean", pa.float64()),
        ("logprob_min", pa.float64()),
        ("logprob_first", pa.float64()),
        ("margin_min", pa.float64()),
        ("glimpse_mass", pa.float64()),
        ("glimpse_spread", pa.float64()),
        ("new_tokens", pa.int32()),
        ("on_page", pa.bool_()),
        ("floor_hit", pa.bool_()),
        ("visual_tokens", pa.int32()),
        ("kept_tokens", pa.int32()),
        ("retention", pa.float64()),
        ("box_coverage", pa.float64()),
        ("pointed", pa.bool_()),
        ("iou", pa.float64()),
        ("prefill_ms", pa.float64()),
        ("fallback", pa.string()),
        ("pruned_answer", pa.string()),
        ("pruned_exact", pa.bool_()),
        ("other_answers", ANSWERS.field("other_answers").type),
        ("first_exact", pa.bool_()),
        ("page_ms", pa.float64()),
    ]
)
COVERED = 0.9  # a box counts as covered from this share of its area


@dataclass(frozen=True, slots=True)
class Score:
    """The figures of one mode; a share of no questions, or of what the mode has not, is ``None``.

    Attributes:
        mode: way in which the pages were pruned.
        keep_share: share of the visual tokens that was asked for, in 0..1; ``None`` where none was.
        questions: number of questions answered.
        exact: share of right answers, character for character, in 0..1.
        value_equal: share of answers that stand for the same as a right one, in 0..1.
        anls: mean ANLS, in 0..1.
        absent_exact: share of right answers where the page does not hold the answer, in 0..1.
        retention_mean: mean retention over the questions, in 0..1.
        retention_p50: median retention, in 0..1.
        retention_p95: 95th percentile of retention, in 0..1.
        boxes_covered: share of the questions with boxes whose boxes are all at least 90 % under kept tokens, in 0..1.
        pointed: share of the evidence that points at an answer box, in 0..1.
        iou: mean intersection over union of evidence and answer box, in 0..1.
        asked_again: number of questions that were asked again without pruning.
        rescued: number of those whose answer became right.
        harmed: number of those whose answer was right before.
        looked_again: number of questions that were asked again on the page at another size.
        look_rescued: number of those whose answer became right.
        look_harmed: number of those whose answer was right before.
        pages_per_s: pages per second of wall time, each with all its questions, rendering not counted; ``None`` where
            several shares were asked for at once.
    """

    mode: Mode
    keep_share: float | None
    questions: int
    exact: float | None
    value_equal: float | None
    anls: float | None
    absent_exact: float | None
    retention_mean: float | None
    retention_p50: float | None
    retention_p95: float | None
    boxes_covered: float | None
    pointed: float | None
    iou: float | None
    asked_again: int = 0
    rescued: int = 0
    harmed: int = 0
    looked_again: int = 0
    look_rescued: int = 0
    look_harmed: int = 0
    pages_per_s: float | None = None


def scores(rows: Sequence[Measured]) -> list[Score]:
    """Compute the figures of each mode and share that occurs in the rows."""
    return [_score(*way, mine) for way, mine in by_way(rows).items()]


def by_way(rows: Sequence[Measured]) -> dict[tuple[Mode, float | None], list[Measured]]:
    """Divide rows by their mode and by the share of tokens that was asked for, in the order of modes."""
    ways: dict[tuple[Mode, float | None], list[Measured]] = {}
    for row in sorted(rows, key=lambda row: MODES.index(row.mode)):
        ways.setdefault((row.mode, row.keep_share), []).append(row)
    return ways


def _score(mode: Mode, keep_share: float | None, rows: Sequence[Measured]) -> Score:
    retention = [row.retention for row in rows if row.retention is not None]
    page_ms = {(row.document, row.page): row.page_ms for row in rows if row.page_ms is not None}
    return Score(
        mode=mode,
        keep_share=keep_share,
        questions=len(rows),
        exact=_mean([row.exact for row in rows]),
        value_equal=_mean([row.value_equal for row in rows]),
        anls=_mean([row.anls for row in rows]),
        absent_exact=_mean([row.exact for row in rows if not row.answerable]),
        retention_mean=_mean(retention),
        retention_p50=float(np.percentile(retention, 50)) if retention else None,
        retention_p95=float(np.percentile(retention, 95)) if retention else None,
        boxes_covered=_mean([row.box_coverage >= COVERED for row in rows if row.box_coverage is not None]),
        pointed=_mean([row.pointed for row in rows if row.pointed is not None]),
        iou=_mean([row.iou for row in rows if row.iou is not None]),
        asked_again=sum(row.fallback is not None for row in rows),
        rescued=sum(row.pruned_exact is False and row.exact for row in rows),
        harmed=sum(row.pruned_exact is True and not row.exact for row in rows),
        looked_again=sum(row.other_answers is not None for row in rows),
        look_rescued=sum(row.first_exact is False and row.exact for row in rows),
        look_harmed=sum(row.first_exact is True and not row.exact for row in rows),
        pages_per_s=1e3 * len(page_ms) / sum(page_ms.values()) if page_ms else None,
    )


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def check_target(path: Path) -> None:
    """Check that rows can be written to a path, before any time is spent on measuring.

    Args:
        path: Parquet file, new or from an earlier evaluation.

    Raises:
        OutputError: its folder cannot be written, or it is something else than a Parquet file.
    """
    make_folder(path.parent)
    with writing(path):
        if path.exists():
            with path.open("rb") as file:
                if file.read(4) != b"PAR1":
                    raise OutputError(f"{path} exists and is no Parquet file, so it is not replaced; name another")


def write_rows(rows: Sequence[Measured], path: Path) -> None:
    """Write all rows as one Parquet file.

    Args:
        rows: the rows.
        path: the file, whose folder is made.

    Raises:
        OutputError: it cannot be written.
    """
    make_folder(path.parent)
    with whole_file(path, "--out") as file:
        pq.write_table(pa.Table.from_pylist([asdict(row) for row in rows], schema=SCHEMA), file, compression="zstd")


def table(found: Sequence[Score]) -> str:
    """Format the figures as text, one line per mode and share, and one each for what was asked again."""
    names = ("mode", "questions", "exact", "value", "ANLS", "n/a exact", "kept mean", "kept p50", "kept p95")
    lines: list[tuple[str, ...]] = [(*names, "boxes covered", "points at box", "IoU", "pages/s")]
    for score in found:
        shares = (score.exact, score.value_equal, score.anls, score.absent_exact)
        kept = (score.retention_mean, score.retention_p50, score.retention_p95, score.boxes_covered)
        evidence = (score.pointed, score.iou)
        speed = "-" if score.pages_per_s is None else f"{score.pages_per_s:.2f}"
        head = (label(score.mode, score.keep_share), str(score.questions))
        lines.append((*head, *map(decimal, shares), *map(_percent, kept), *map(decimal, evidence), speed))
    again = [
        f"{label(score.mode, score.keep_share)}: {score.asked_again} asked again without pruning, {score.rescued} "
        f"rescued, {score.harmed} harmed"
        for score in found
        if score.asked_again
    ]
    looked = [
        f"{label(score.mode, score.keep_share)}: {score.looked_again} asked again at another size, "
        f"{score.look_rescued} rescued, {score.look_harmed} harmed"
        for score in found
        if score.looked_again
    ]
    return "\n".join([in_columns(lines), *again, *looked])


def in_columns(lines: Sequence[Sequence[str]]) -> str:
    """Format rows of cells, of which the first is the head, as text."""
    widths = [max(len(line[i]) for line in lines) + 2 for i in range(len(lines[0]))]
    return "\n".join(
        "".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def decimal(share: float | None) -> str:
    """Format a share; one of nothing is a dash."""
    return "-" if share is None else f"{share:.3f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
