"""Defines the columns of every table, with units in their names. Any change needs a new ``SCHEMA_VERSION``."""

from __future__ import annotations

import pyarrow as pa

SCHEMA_VERSION = 10

_SIDES = [(name, pa.float64()) for name in ("x0", "y0", "x1", "y1")]
_EVIDENCE = pa.list_(pa.struct([*_SIDES, ("score", pa.float64()), ("page", pa.int32())]))
_PAGES = pa.list_(pa.int32())
_CHOICES = pa.list_(pa.struct([("choice", pa.string()), ("probability", pa.float64())]))
_OTHERS = pa.list_(pa.struct([("answer", pa.string()), ("confidence_raw", pa.float64()), ("look", pa.int8())]))

_VALUE = [
    pa.field("value", pa.string()),
    pa.field("value_number", pa.decimal128(38, 10)),
    pa.field("value_currency", pa.string()),
    pa.field("value_date", pa.date32()),
    pa.field("value_text", pa.string()),
    pa.field("value_boolean", pa.bool_()),
]
VALUE_COLUMNS = tuple(field.name for field in _VALUE)
"""The columns of a typed value: as JSON, and by its kind."""

ANSWERS = pa.schema(
    [
        pa.field("document_id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("document", pa.string(), nullable=False),
        pa.field("document_sha256", pa.string()),
        pa.field("page", pa.int32()),
        pa.field("pages", _PAGES),
        pa.field("question_id", pa.string(), nullable=False),
        pa.field("unit_id", pa.string(), nullable=False),
        pa.field("bundle_id", pa.string(), nullable=False),
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("answered_at", pa.timestamp("us", "UTC"), nullable=False),
        pa.field("is_current", pa.bool_(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("presence", pa.float64()),
        pa.field("answer", pa.string()),
        pa.field("review_reasons", pa.list_(pa.string())),
        *_VALUE,
        pa.field("value_error", pa.string()),
        pa.field("confidence", pa.float64()),
        pa.field("confidence_raw", pa.float64()),
        pa.field("logprob_mean", pa.float64()),
        pa.field("logprob_min", pa.float64()),
        pa.field("logprob_first", pa.float64()),
        pa.field("margin_min", pa.float64()),
        pa.field("glimpse_mass", pa.float64()),
        pa.field("glimpse_spread", pa.float64()),
        pa.field("choice_probabilities", _CHOICES),
        pa.field("finish_reason", pa.string()),
        pa.field("evidence", _EVIDENCE),
        pa.field("evidence_source", pa.string()),
        pa.field("evidence_text", pa.string()),
        pa.field("on_page", pa.bool_()),
        pa.field("visual_tokens", pa.int32()),
        pa.field("kept_tokens", pa.int32()),
        pa.field("retention", pa.float64()),
        pa.field("floor_hit", pa.bool_()),
        pa.field("cap_hit", pa.bool_()),
        pa.field("kv_tokens_full", pa.int32()),
        pa.field("kv_tokens_kept", pa.int32()),
        pa.field("kv_bytes_full", pa.int64()),
        pa.field("kv_bytes_kept", pa.int64()),
        pa.field("prefill_ms", pa.float64()),
        pa.field("decode_ms", pa.float64()),
        pa.field("new_tokens", pa.int32()),
        pa.field("pruning", pa.string()),
        pa.field("fallback", pa.string()),
        pa.field("pruned_answer", pa.string()),
        pa.field("look", pa.int8()),
        pa.field("other_answers", _OTHERS),
        pa.field("expected_tflops_glimpse", pa.float64()),
        pa.field("expected_tflops_unpruned", pa.float64()),
    ]
)

PAGES = pa.schema(
    [
        pa.field("document_id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("document", pa.string(), nullable=False),
        pa.field("document_sha256", pa.string()),
        pa.field("page", pa.int32(), nullable=False),
        pa.field("bundle_id", pa.string(), nullable=False),
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("answered_at", pa.timestamp("us", "UTC"), nullable=False),
        pa.field("is_current", pa.bool_(), nullable=False),
        pa.field("width_pt", pa.float64()),
        pa.field("height_pt", pa.float64()),
        pa.field("dpi", pa.float64()),
        pa.field("width_px", pa.int32()),
        pa.field("height_px", pa.int32()),
        pa.field("visual_tokens", pa.int32()),
        pa.field("renderer", pa.string()),
        pa.field("warnings", pa.string()),
        pa.field("is_repaired", pa.bool_()),
        pa.field("is_doubtful", pa.bool_()),
        pa.field("blank", pa.bool_()),
        pa.field("render_ms", pa.float64()),
        pa.field("vision_ms", pa.float64()),
        pa.field("prefix_ms", pa.float64()),
        pa.field("retention_mean", pa.float64()),
        pa.field("retention_min", pa.float64()),
        pa.field("retention_max", pa.float64()),
        pa.field("peak_memory_bytes", pa.int64()),
        pa.field("peak_rss_bytes", pa.int64()),
    ]
)

FAILURES = pa.schema(
    [
        pa.field("unit_id", pa.string(), nullable=False),
        pa.field("document_id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("document", pa.string(), nullable=False),
        pa.field("page", pa.int32()),
        pa.field("question_id", pa.string(), nullable=False),
        pa.field("bundle_id", pa.string(), nullable=False),
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("answered_at", pa.timestamp("us", "UTC"), nullable=False),
        pa.field("is_current", pa.bool_(), nullable=False),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("error_type", pa.string(), nullable=False),
        pa.field("error_message", pa.string(), nullable=False),
        pa.field("attempts", pa.int32(), nullable=False),
        pa.field("command", pa.string(), nullable=False),
    ]
)

DOCUMENTS = pa.schema(
    [
        pa.field("document_id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("document", pa.string(), nullable=False),
        pa.field("question_id", pa.string(), nullable=False),
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("answered_at", pa.timestamp("us", "UTC"), nullable=False),
        pa.field("is_current", pa.bool_(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("answer", pa.string()),
        *_VALUE,
        pa.field("confidence", pa.float64()),
        pa.field("page", pa.int32()),
        pa.field("pages", _PAGES),
        pa.field("pages_asked", pa.int32(), nullable=False),
        pa.field("chosen_by", pa.string(), nullable=False),
    ]
)

REVIEWS = pa.schema(
    [
        pa.field("unit_id", pa.string(), nullable=False),
        pa.field("document_id", pa.string(), nullable=False),
        pa.field("document", pa.string(), nullable=False),
        pa.field("page", pa.int32(), nullable=False),
        pa.field("question_id", pa.string(), nullable=False),
        pa.field("answer", pa.string()),
        pa.field("reviewed_answer", pa.string(), nullable=False),
        pa.field("comment", pa.string()),
        pa.field("reviewer", pa.string(), nullable=False),
        pa.field("reviewed_at", pa.timestamp("us", "UTC"), nullable=False),
    ]
)
"""The corrections that people made, as they wrote them."""

LISTING = pa.schema(
    [pa.field("document_id", pa.string(), nullable=False), pa.field("document", pa.string(), nullable=False)]
)
"""The documents of the last night that ended with every row."""

PAGE_COUNTS = pa.schema(
    [pa.field("document_id", pa.string(), nullable=False), pa.field("pages", pa.int32(), nullable=False)]
)
"""The page counts that earlier runs took."""

TABLES = {"answers": ANSWERS, "pages": PAGES, "failures": FAILURES}
"""The tables whose rows are published from the parts; ``documents`` is computed from ``answers``."""

_PUBLISHED = {"is_current", *VALUE_COLUMNS, "value_error", "confidence"}
COMMITTED = {
    name: pa.schema([field for field in schema if field.name not in _PUBLISHED]) for name, schema in TABLES.items()
}
"""The columns that a part holds of each table. What is current depends on the plan of the last run, what an answer
is worth on the present type of its question, and its confidence on the present calibration."""

PART = pa.schema(
    [pa.field(name, pa.list_(pa.struct(list(schema))), nullable=False) for name, schema in COMMITTED.items()]
)
"""The schema of a part: one row holds a bundle's rows for every table, so they appear together or not at all."""


def with_metadata(schema: pa.Schema, **values: str) -> pa.Schema:
    """Return a schema whose metadata holds ``schema_version`` and further values."""
    return schema.with_metadata({"schema_version": str(SCHEMA_VERSION), **values})
