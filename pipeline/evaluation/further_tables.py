"""Sums up an evaluation by its confidence, and by question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.evaluation.evaluate import Measured
from pipeline.evaluation.modes import label
from pipeline.evaluation.ranking import aurc, auroc, calibration_error, coverage
from pipeline.evaluation.score_table import by_way, decimal, in_columns, scores

ERRORS = (0.01, 0.05)  # shares of wrong answers, of which the coverage is told


@dataclass(frozen=True, slots=True)
class ConfidenceScore:
    """How well the confidence tells right values from wrong ones, in one mode.

    Attributes:
        mode: way in which the pages were pruned, with the share of tokens that was asked for.
        ranked_by: ``confidence``, or ``confidence_raw`` without a calibration.
        answers: number of answers.
        auroc: share of pairs of a right and a wrong answer in which the right one is the more confident, in 0..1.
        aurc: area under the risk-coverage curve, in 0..1.
        coverage: for each of ``ERRORS``, largest share of answers of which no more are wrong, in 0..1.
        calibration_error: expected calibration error, in 0..1; ``None`` without a calibration.
    """

    mode: str
    ranked_by: str
    answers: int
    auroc: float | None
    aurc: float
    coverage: tuple[float, ...]
    calibration_error: float | None


def confidence_scores(rows: Sequence[Measured]) -> list[ConfidenceScore]:
    """Compute the figures of each mode and share that occurs in the rows, but for those without any confidence."""
    return [_score(label(*way), mine) for way, mine in by_way(rows).items() if mine[0].confidence_raw is not None]


def _score(mode: str, rows: Sequence[Measured]) -> ConfidenceScore:
    right = [row.value_equal for row in rows]
    given = [row.confidence for row in rows if row.confidence is not None]
    is_calibrated = len(given) == len(rows)
    sure = given if is_calibrated else [row.confidence_raw for row in rows if row.confidence_raw is not None]
    return ConfidenceScore(
        mode=mode,
        ranked_by="confidence" if is_calibrated else "confidence_raw",
        answers=len(rows),
        auroc=auroc(sure, right),
        aurc=aurc(sure, right),
        coverage=tuple(coverage(sure, right, error) for error in ERRORS),
        calibration_error=calibration_error(sure, right) if is_calibrated else None,
    )


def confidence_table(found: Sequence[ConfidenceScore]) -> str:
    """Format the figures as text, one line per mode."""
    head = ("mode", "ranked by", "AUROC", "AURC", *(f"coverage at {error:.0%} error" for error in ERRORS), "ECE")
    lines: list[tuple[str, ...]] = [head]
    for one in found:
        shares = map(decimal, (one.auroc, one.aurc, *one.coverage, one.calibration_error))
        lines.append((one.mode, one.ranked_by, *shares))
    return in_columns(lines)


def question_table(rows: Sequence[Measured]) -> str:
    """Format the figures of each question as text: right answers, confidence and evidence, by mode."""
    head = ("question", "mode", "questions", "exact", "value", "confidence", "points at box", "IoU")
    lines: list[tuple[str, ...]] = [head]
    for name in dict.fromkeys(row.question_id for row in rows):
        mine = [row for row in rows if row.question_id == name]
        for score in scores(mine):
            way = by_way(mine)[score.mode, score.keep_share]
            sure = [row.confidence for row in way if row.confidence is not None]
            mean = sum(sure) / len(sure) if sure else None
            shares = (score.exact, score.value_equal, mean, score.pointed, score.iou)
            lines.append((name, label(score.mode, score.keep_share), str(score.questions), *map(decimal, shares)))
    return in_columns(lines)
