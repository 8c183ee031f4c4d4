"""Made-up rows of an evaluation."""

from __future__ import annotations

from typing import Any

from pipeline.evaluation.evaluate import Measured

_ROW: dict[str, Any] = {
    "document": "a.pdf",
    "page": 1,
    "question_id": "q",
    "question": "Q?",
    "type": "text",
    "answerable": True,
    "gold": ("x",),
    "mode": "off",
    "answer": "x",
    "exact": True,
    "value_equal": True,
    "anls": 1.0,
    "value_error": None,
    "confidence": None,
    "confidence_raw": 0.5,
    "logprob_mean": -0.7,
    "logprob_min": -1.0,
    "logprob_first": -0.5,
    "margin_min": 1.0,
    "glimpse_mass": None,
    "glimpse_spread": None,
    "new_tokens": 3,
    "on_page": None,
    "floor_hit": False,
    "visual_tokens": 100,
    "kept_tokens": 100,
    "retention": 1.0,
    "box_coverage": None,
    "pointed": None,
    "iou": None,
    "prefill_ms": None,
}


def measured(**changes: Any) -> Measured:
    """A right answer of an unpruned page; ``changes`` override its fields."""
    return Measured(**{**_ROW, **changes})
