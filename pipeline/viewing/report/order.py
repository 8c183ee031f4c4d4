"""Puts the rows that need a person first."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_RANK = ("needs_review", "failed", "answered", "not_answerable", "skipped")


def review_first(answers: pa.Table) -> pa.Table:
    """Sort answers: those to review, then failed ones, then the rest; in each group the least sure first.

    Args:
        answers: rows of ``answers``.
    """
    rank = pc.fill_null(pc.index_in(answers["status"], value_set=pa.array(_RANK)), len(_RANK))
    # Without a calibration, what the model says of itself still ranks.
    sureness = pc.coalesce(answers["confidence"], answers["confidence_raw"], pa.scalar(np.inf))
    ranked = answers.append_column("_rank", rank).append_column("_sureness", sureness)
    keys = ("_rank", "_sureness", "document", "document_id", "page", "question_id")
    return ranked.sort_by([(key, "ascending") for key in keys]).drop_columns(["_rank", "_sureness"])
