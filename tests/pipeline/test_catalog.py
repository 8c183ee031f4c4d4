from __future__ import annotations

import pyarrow as pa
import pytest

from pipeline import catalog as module
from pipeline import scratch
from pipeline.catalog import Catalog
from pipeline.records import Document, Failure, PageCount
from pipeline.scratch import Scratch
from tests.support.bundles import LOCKED, documents_with, with_counts

MEMBER = Document("m", "a.pdf/b.pdf", "s3://x/a.pdf", 7, "etag", "s3://x", (1, 2))
ODD = Document("o", "zeile\nü'\"%.pdf", "file:///%FF.pdf", 2**40, "", "")


def test_documents_come_back_whole_and_in_order() -> None:
    documents, counts = documents_with([3, None, 1])
    documents += [MEMBER, ODD]
    counts |= {"m": PageCount("m", None, Failure("open", "X", "why", 3)), "o": PageCount("o", 9)}
    with Scratch() as scratch:
        catalog = Catalog(scratch)
        catalog.append(documents[:2])
        catalog.append(documents[2:])
        assert len(catalog) == 5
        assert list(catalog.documents()) == documents
        assert list(catalog) == []  # as long as none is counted
        catalog.count(counts.values())
        assert list(catalog) == list(catalog) == with_counts(documents, counts)
        assert list(catalog.unopened()) == [(documents[1], counts[documents[1].document_id]), (MEMBER, counts["m"])]
        assert catalog.pages() == 3 + 1 + 9


def test_only_what_is_listed_and_not_counted_is_known_from_earlier() -> None:
    documents, _ = documents_with([3, 3, 3, 3])
    ids = [document.document_id for document in documents]
    with Scratch() as scratch:
        catalog = Catalog(scratch)
        catalog.append(documents)
        catalog.count([PageCount(ids[0], None, LOCKED)])
        for _ in range(2):
            catalog.know(pa.table({"document_id": [ids[0], ids[2], "gone"], "pages": pa.array([5, 6, 7], pa.int32())}))
        assert [count.pages for _, count in catalog] == [None, 6]
        assert catalog.uncounted(4) == [documents[1], documents[3]]
        assert (catalog.uncounted(4, 1), catalog.uncounted(3)) == ([documents[1]], [documents[1]])
        assert catalog.count_uncounted() == 2
        catalog.count([PageCount(ids[0], 8)])  # takes the place of the failure
        assert [(d.document_id, count.pages, count.failure) for d, count in catalog] == [
            (ids[0], 8, None),
            (ids[2], 6, None),
        ]


def test_more_documents_than_memory_come_back_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "MEMORY", "48MB")
    monkeypatch.setattr(module, "_RANGE", 10_000)
    folder = "s3://bucket/" + "a-folder-with-a-long-name/" * 8
    with Scratch() as held:
        catalog = Catalog(held)
        catalog.append(Document(f"{n:016x}", f"{n}.pdf", f"{folder}{n}.pdf", n, "etag", folder) for n in range(150_000))
        catalog.count(PageCount(f"{n:016x}", 1) for n in range(150_000))
        assert [document.size_bytes for document, _ in catalog] == list(range(150_000))
