"""What can be seen of a run from its folder alone, while it goes on."""

from __future__ import annotations

import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.errors import UsageError
from pipeline.output import parts
from pipeline.output.attempts import InFlight, Markers
from pipeline.output.folder import Folder
from pipeline.output.live import Running, Watcher, write_running
from pipeline.output.lock import OutputLock
from pipeline.output.store import OutputStore
from tests.support.bundles import LOCKED, result_of, units_and_bundles
from tests.support.published import results_for

NOW = datetime.now(UTC)


def running(run_id: str = "run-2") -> Running:
    return Running(run_id=run_id, began_at=NOW, engine="local", documents=3, pages=9, rows=30, planned_rows=40)


@pytest.fixture(params=["local", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    return Folder(str(tmp_path) if request.param == "local" else f"memory://{uuid.uuid4().hex}")


def test_a_folder_without_a_run(folder: Folder) -> None:
    view = Watcher(folder).look()
    assert (view.holder, view.running, view.pages, view.statuses) == (None, None, 0, Counter())


def test_the_parts_of_this_run_are_counted_and_each_is_read_once(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier, now = OutputStore(folder, run_id="run-1"), OutputStore(folder, run_id="run-2")
    results = results_for([20, 20, 20, None])
    assert len(results) > 2
    earlier.commit(results[0])
    write_running(folder, running())
    watcher = Watcher(folder)
    assert (watcher.look().pages, watcher.look().last_part_at) == (0, None)

    read: list[str] = []
    original = parts.read_rows
    monkeypatch.setattr("pipeline.output.live.read_rows", lambda f, p, t: read.extend(t) or original(f, p, t))
    now.commit(results[1])
    first = watcher.look()
    now.commit(results[2])
    second = watcher.look()
    third = watcher.look()
    assert read == ["answers", "failures"] * 2
    for view, mine in ((first, results[1:2]), (second, results[1:3]), (third, results[1:3])):
        answers = [answer for result in mine for answer in result.answers]
        assert view.statuses == Counter(answer.status for answer in answers)
        assert view.failures == Counter(a.failure.error_type for a in answers if a.failure is not None)
        assert view.pages == len({(a.document_id, a.page) for a in answers if a.page is not None})
        assert view.last_part_at is not None
        assert abs((view.last_part_at - datetime.now(UTC)).total_seconds()) < 120
    write_running(folder, running("run-3"))
    assert watcher.look().statuses.total() == 0


def test_old_parts_are_not_read(tmp_path: Path) -> None:
    store = OutputStore(Folder(str(tmp_path)), run_id="run-2")
    store.commit(results_for([3])[0])
    (part,) = (tmp_path / "parts").iterdir()
    part.write_bytes(b"not read")
    old = running().model_copy(update={"began_at": NOW + timedelta(hours=1)})
    write_running(store.folder, old)
    assert Watcher(store.folder).look().pages == 0
    write_running(store.folder, running())
    with pytest.raises(UsageError, match="is not a file of this version"):
        Watcher(store.folder).look()


def test_the_holder_and_what_is_in_flight_are_seen(folder: Folder) -> None:
    write_running(folder, running())
    markers = Markers(folder)
    for _ in range(2):
        markers.note("bundle-a", markers.begin("bundle-a"), "doc", (4,), pages_done=3)
    again = markers.begin("bundle-a")
    markers.begin("bundle-b")
    assert again.number == 3
    with OutputLock(folder):
        view = Watcher(folder).look()
    assert view.holder is not None
    assert view.in_flight == [
        InFlight("bundle-a", 3, 0, (("doc", (4,)),)),
        InFlight("bundle-b", 1, 0, ()),
    ]
    assert Watcher(folder).look().holder is None


def test_a_document_that_cannot_be_opened_has_no_page(folder: Folder) -> None:
    (bundle,) = units_and_bundles([None])[1]
    write_running(folder, running())
    OutputStore(folder, run_id="run-2").commit(result_of(bundle))
    view = Watcher(folder).look()
    assert (view.pages, view.failures) == (0, {LOCKED.error_type: 2})


def test_a_damaged_note_is_a_sentence(folder: Folder) -> None:
    folder.write("running.json", b"{}")
    with pytest.raises(UsageError, match=r"running\.json is damaged: Field required; the next run writes it again"):
        Watcher(folder).look()
