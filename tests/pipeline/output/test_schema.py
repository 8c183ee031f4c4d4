from __future__ import annotations

import pyarrow as pa

from pipeline.output.schema import ANSWERS, DOCUMENTS, FAILURES, PAGES

SCHEMAS = {"answers": ANSWERS, "pages": PAGES, "documents": DOCUMENTS, "failures": FAILURES}


def test_the_schemas_are_pinned() -> None:
    # A change here is a new SCHEMA_VERSION.
    found = {
        name: [f"{f.name}: {f.type}{'' if f.nullable else ' not null'}" for f in schema]
        for name, schema in SCHEMAS.items()
    }
    assert found == {
        "answers": [
            "document_id: string not null",
            "source: string not null",
            "document: string not null",
            "document_sha256: string",
            "page: int32",
            "question_id: string not null",
            "unit_id: string not null",
            "bundle_id: string not null",
            "run_id: string not null",
            "answered_at: timestamp[us, tz=UTC] not null",
            "is_current: bool not null",
            "status: string not null",
            "answer: string",
            "review_reasons: list<item: string>",
            "value: string",
            "value_number: decimal128(38, 10)",
            "value_currency: string",
            "value_date: date32[day]",
            "value_text: string",
            "value_boolean: bool",
            "value_error: string",
            "confidence: double",
            "finish_reason: string",
            "evidence: list<item: struct<x0: double, y0: double, x1: double, y1: double, score: double>>",
            "visual_tokens: int32",
            "kept_tokens: int32",
            "retention: double",
            "floor_hit: bool",
            "cap_hit: bool",
            "kv_tokens_full: int32",
            "kv_tokens_kept: int32",
            "kv_bytes_full: int64",
            "kv_bytes_kept: int64",
            "prefill_ms: double",
            "decode_ms: double",
            "new_tokens: int32",
            "pruning: string",
            "expected_tflops_glimpse: double",
            "expected_tflops_unpruned: double",
        ],
        "pages": [
            "document_id: string not null",
            "source: string not null",
            "document: string not null",
            "document_sha256: string",
            "page: int32 not null",
            "bundle_id: string not null",
            "run_id: string not null",
            "answered_at: timestamp[us, tz=UTC] not null",
            "is_current: bool not null",
            "width_pt: double",
            "height_pt: double",
            "dpi: double",
            "width_px: int32",
            "height_px: int32",
            "visual_tokens: int32",
            "renderer: string",
            "warnings: string",
            "is_repaired: bool",
            "is_doubtful: bool",
            "blank: bool",
            "render_ms: double",
            "vision_ms: double",
            "prefix_ms: double",
            "retention_mean: double",
            "retention_min: double",
            "retention_max: double",
            "peak_memory_bytes: int64",
            "peak_rss_bytes: int64",
        ],
        "documents": [
            "document_id: string not null",
            "source: string not null",
            "document: string not null",
            "question_id: string not null",
            "run_id: string not null",
            "answered_at: timestamp[us, tz=UTC] not null",
            "is_current: bool not null",
            "status: string not null",
            "answer: string",
            "value: string",
            "value_number: decimal128(38, 10)",
            "value_currency: string",
            "value_date: date32[day]",
            "value_text: string",
            "value_boolean: bool",
            "confidence: double",
            "page: int32",
            "pages_asked: int32 not null",
            "chosen_by: string not null",
        ],
        "failures": [
            "unit_id: string not null",
            "document_id: string not null",
            "source: string not null",
            "document: string not null",
            "page: int32",
            "question_id: string not null",
            "bundle_id: string not null",
            "run_id: string not null",
            "answered_at: timestamp[us, tz=UTC] not null",
            "is_current: bool not null",
            "stage: string not null",
            "error_type: string not null",
            "error_message: string not null",
            "attempts: int32 not null",
            "command: string not null",
        ],
    }


def test_no_column_is_of_an_unknown_type() -> None:
    for schema in SCHEMAS.values():
        assert not [field for field in schema if pa.types.is_null(field.type)]
