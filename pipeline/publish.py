"""From parts to the tables people read: ``answers``, ``pages``, ``failures`` and ``documents``.

Each published file lists in its footer the bundles it was made from. What is published is what the footers say, so
publishing again after a crash in the middle neither loses a row nor writes one twice.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.aggregate import aggregate
from pipeline.schema import DOCUMENTS, TABLES, with_metadata
from pipeline.store import OutputStore, to_parquet

_PARTS_A_FILE = 256


def publish(store: OutputStore, aggregates: Mapping[str, str]) -> None:
    """Publish every part that is not yet, then compute ``documents`` anew.

    Args:
        store: the output folder.
        aggregates: for each question id, the rule of its aggregation; ``best`` for questions that are not listed.
    """
    parts = store.parts()
    for table in TABLES:
        published = {
            bundle
            for text in store.footers(store.folder.names(table, ".parquet"), "bundles")
            for bundle in json.loads(text)
        }
        waiting = sorted(parts.keys() - published)
        for start in range(0, len(waiting), _PARTS_A_FILE):
            _publish_file(store, table, waiting[start : start + _PARTS_A_FILE], parts)
    _publish_documents(store, aggregates)


def _publish_file(store: OutputStore, table: str, bundles: Sequence[str], parts: Mapping[str, str]) -> None:
    rows = pa.concat_tables([store.read_part(parts[bundle], table) for bundle in bundles])
    schema = with_metadata(TABLES[table], bundles=json.dumps(bundles))
    digest = hashlib.sha256("\0".join(bundles).encode()).hexdigest()[:16]
    store.folder.write(f"{table}/{digest}.parquet", to_parquet(rows.cast(TABLES[table]).cast(schema)))


def _publish_documents(store: OutputStore, aggregates: Mapping[str, str]) -> None:
    names = ["document_id", "document", "question_id", "page", "status", "answer", "value", "confidence"]
    tables = []
    for name in store.folder.names("answers", ".parquet"):
        with store.folder.fs.open(store.folder.path(name), "rb") as file:
            tables.append(pq.read_table(file, columns=names))
    if not tables:
        return
    order = [("document", "ascending"), ("document_id", "ascending"), ("question_id", "ascending")]
    answers = pa.concat_tables(tables).sort_by(order).to_pylist()

    def key(row: Mapping[str, Any]) -> tuple[str, str, str]:
        return row["document"], row["document_id"], row["question_id"]

    rows = []
    for (document, document_id, question_id), group in groupby(answers, key):
        chosen = aggregate(aggregates.get(question_id, "best"), list(group))
        rows.append({"document": document, "document_id": document_id, "question_id": question_id, **chosen})
    table = pa.Table.from_pylist(rows, schema=with_metadata(DOCUMENTS))
    store.folder.write("documents/documents.parquet", to_parquet(table))
