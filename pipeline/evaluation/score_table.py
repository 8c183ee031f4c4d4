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
from pipeline.evaluation.modes import MODES, Mode
from pipeline.output.faults import make_folder, writing

SCHEMA = pa.schema(
    [
        ("document", pa.string()),
        ("page", pa.int32()),
        ("question_id", pa.string()),
        ("question", pa.string()),
        ("answerable", pa.bool_()),
        ("gold", pa.list_(pa.string())),
        ("mode", pa.string()),
        ("answer", pa.string()),
        ("exact", pa.bool_()),
        ("anls", pa.float64()),
        ("confidence", pa.float64()),
        ("visual_tokens", pa.int32()),
        ("kept_tokens", pa.int32()),
        ("retention", pa.float64()),
        ("box_coverage", pa.float64()),
        ("prefill_ms", pa.float64()),
    ]
)
COVERED = 0.9  # a box counts as covered from this share of its area


@dataclass(frozen=True, slots=True)
class Score:
    """The figures of one mode; a share of no questions is ``None``.

    Attributes:
        mode: way in which the pages were pruned.
        questions: number of questions answered.
        exact: share of right answers, character for character, in 0..1.
        anls: mean ANLS, in 0..1.
        absent_exact: share of right answers where the page does not hold the answer, in 0..1.
        retention_mean: mean retention over the questions, in 0..1.
        retention_p50: median retention, in 0..1.
        retention_p95: 95th percentile of retention, in 0..1.
        boxes_covered: share of the questions with boxes whose boxes are all at least 90 % under kept tokens, in 0..1.
    """

    mode: Mode
    questions: int
    exact: float | None
    anls: float | None
    absent_exact: float | None
    retention_mean: float | None
    retention_p50: float | None
    retention_p95: float | None
    boxes_covered: float | None


def scores(rows: Sequence[Measured]) -> list[Score]:
    """Compute the figures of each mode that occurs in the rows."""
    return [_score(mode, mine) for mode in MODES if (mine := [row for row in rows if row.mode == mode])]


def _score(mode: Mode, rows: Sequence[Measured]) -> Score:
    retention = [row.retention for row in rows]
    return Score(
        mode=mode,
        questions=len(rows),
        exact=_mean([row.exact for row in rows]),
        anls=_mean([row.anls for row in rows]),
        absent_exact=_mean([row.exact for row in rows if not row.answerable]),
        retention_mean=_mean(retention),
        retention_p50=float(np.percentile(retention, 50)),
        retention_p95=float(np.percentile(retention, 95)),
        boxes_covered=_mean([row.box_coverage >= COVERED for row in rows if row.box_coverage is not None]),
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
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist([asdict(row) for row in rows], schema=SCHEMA), path, compression="zstd")


def table(found: Sequence[Score]) -> str:
    """Format the figures as text, one line per mode."""
    head = ("mode", "questions", "exact", "ANLS", "n/a exact", "kept mean", "kept p50", "kept p95", "boxes covered")
    lines: list[tuple[str, ...]] = [head]
    for score in found:
        shares = (score.exact, score.anls, score.absent_exact)
        kept = (score.retention_mean, score.retention_p50, score.retention_p95, score.boxes_covered)
        lines.append((score.mode, str(score.questions), *map(_decimal, shares), *map(_percent, kept)))
    widths = [max(len(line[i]) for line in lines) + 2 for i in range(len(head))]
    return "\n".join(
        "".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _decimal(share: float | None) -> str:
    return "-" if share is None else f"{share:.3f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
