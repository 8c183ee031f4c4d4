from __future__ import annotations

from pathlib import Path

from pipeline.output.current import Plan
from pipeline.output.failed import Failed, FailedDocument, read_failed
from pipeline.output.folder import Folder
from pipeline.output.publish import publish
from pipeline.output.store import OutputStore
from pipeline.records import Failure
from tests.support.bundles import document, result_of, units_and_bundles
from tests.support.published import everything


def test_failed_documents_have_their_most_frequent_reason(tmp_path: Path) -> None:
    store = OutputStore(Folder(str(tmp_path)))
    units, bundles = units_and_bundles([2, None, 4, 1])
    third = document(2).document_id
    slow, broken = Failure("render", "RenderTimeout", "too slow"), Failure("render", "CorruptPage", "no such object")
    for bundle in bundles:
        store.commit(result_of(bundle, {(third, 1): slow, (third, 2): broken, (third, 3): broken, (third, 4): broken}))
    publish(store, {}, everything(store))
    locked = FailedDocument("docs/d0001.pdf", 2, "EncryptedDocument", "a password is needed")
    other = FailedDocument("docs/d0002.pdf", 5, "CorruptPage", "no such object")
    assert read_failed(store.folder, 10) == Failed(2, (locked, other))
    assert read_failed(store.folder, 1) == Failed(2, (locked,))
    of_second = [unit for unit in units if unit.document_id == document(1).document_id]
    publish(store, {}, Plan.of(of_second, []))
    assert read_failed(store.folder, 10) == Failed(1, (locked,))
    publish(store, {}, Plan.of([], []))
    assert read_failed(store.folder, 10) == Failed(0, ())
