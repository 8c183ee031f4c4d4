from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from pipeline.errors import EngineError
from pipeline.output.attempts import MAX_DEATHS, MAX_UNEXPLAINED, Attempt, Markers
from pipeline.output.folder import Folder


@pytest.fixture(params=["local", "memory"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "local":
        yield str(tmp_path)
        return
    name = f"memory://{uuid.uuid4().hex}"
    fsspec.filesystem("memory").makedirs(name)
    yield name
    fsspec.filesystem("memory").rm(name, recursive=True)


def test_a_bundle_that_is_done_leaves_no_trace(uri: str) -> None:
    markers = Markers(Folder(uri))
    assert markers.begin("b") == Attempt(1)
    fs, root = fsspec.url_to_fs(uri)
    assert fs.find(root) == [f"{root}/inflight/b.json"]
    markers.done("b")
    assert fs.find(root) == []
    assert Markers(Folder(uri)).begin("b") == Attempt(1)


def die(uri: str, *page: Any) -> Attempt:
    """Begin an attempt, note a page and leave the marker behind, as a process does that dies on it."""
    markers = Markers(Folder(uri))
    attempt = markers.begin("b")
    if page:
        markers.note("b", attempt, *page)
    return attempt


def test_each_crash_is_narrowed_down_to_its_page(uri: str) -> None:
    die(uri)  # somewhere
    markers = Markers(Folder(uri))
    second = markers.begin("b")
    assert second == Attempt(2, unexplained=1)
    markers.note("b", second, "d", (1,))
    markers.note("b", second, "d", (2,))  # died here
    third = die(uri, "d", (2,))  # again
    assert (third.number, third.crashed, third.suspected) == (3, frozenset(), {("d", (2,))})
    fourth = die(uri, "e", (1, 2))
    assert (fourth.number, fourth.crashed, fourth.suspected) == (4, {("d", (2,))}, frozenset())
    fifth = die(uri, "e", (1, 2))
    assert (fifth.number, fifth.crashed, fifth.suspected) == (5, {("d", (2,))}, {("e", (1, 2))})
    sixth = die(uri)
    assert (sixth.number, sixth.crashed, sixth.suspected) == (6, {("d", (2,)), ("e", (1, 2))}, frozenset())
    Markers(Folder(uri)).done("b")
    assert Markers(Folder(uri)).begin("b") == Attempt(1)


def test_processes_that_are_killed_on_different_pages_blame_none(uri: str) -> None:
    die(uri)
    for page in range(1, 9):
        assert die(uri, "d", (page,)).crashed == frozenset()
    last = Markers(Folder(uri)).begin("b")
    assert (last.number, last.crashed, len(last.suspected)) == (10, frozenset(), 8)


def test_a_crash_before_the_first_page_of_an_attempt_blames_none_and_forgets_none(uri: str) -> None:
    die(uri)
    die(uri, "d", (2,))
    die(uri)
    assert Markers(Folder(uri)).begin("b") == Attempt(4, (("d", (2,)),), unexplained=2)


def test_bundles_do_not_mix(uri: str) -> None:
    markers = Markers(Folder(uri))
    markers.note("a", markers.begin("a"), "d", (1,))
    markers.begin("b")
    markers.done("b")
    assert Markers(Folder(uri)).begin("a") == Attempt(2, (("d", (1,)),))
    assert Markers(Folder(uri)).begin("b") == Attempt(1)


def test_a_bundle_that_every_page_of_which_crashes_comes_to_an_end(uri: str) -> None:
    pages = [("d", (page,)) for page in range(1, 33)]
    attempts = 0
    while True:
        attempts += 1
        markers = Markers(Folder(uri))
        attempt = markers.begin("b")
        left = [page for page in pages if page not in attempt.crashed]
        if not left:
            break
        if attempt.number > 1:
            markers.note("b", attempt, *left[0])
    assert attempts == MAX_DEATHS * len(pages) + 2


def test_deaths_outside_of_any_page_are_given_up_on_and_can_be_tried_anew(uri: str) -> None:
    for number in range(1, MAX_UNEXPLAINED + 1):
        assert Markers(Folder(uri)).begin("b").number == number
    with pytest.raises(EngineError, match="bundle b: the process died 5 times outside of any page"):
        Markers(Folder(uri)).begin("b")
    assert Markers(Folder(uri)).begin("b") == Attempt(1)


def test_a_run_that_stops_on_purpose_leaves_no_suspicion(uri: str) -> None:
    markers = Markers(Folder(uri))
    markers.clear()
    markers.begin("a")
    markers.begin("b")
    Markers(Folder(uri)).clear()
    assert Markers(Folder(uri)).begin("a") == Attempt(1)
    assert Markers(Folder(uri)).begin("b") == Attempt(1)


def test_markers_tell_how_far_the_bundles_in_flight_are(uri: str) -> None:
    markers = Markers(Folder(uri))
    assert markers.pages_done() == 0
    a, b = markers.begin("a"), markers.begin("b")
    assert markers.pages_done() == 0
    markers.between_pages("a", a, 7)
    markers.note("b", b, "d", (4,), 3)
    assert Markers(Folder(uri)).pages_done() == 10
    markers.done("a")
    assert Markers(Folder(uri)).pages_done() == 3


def test_a_damaged_marker_is_named(tmp_path: Path) -> None:
    (tmp_path / "inflight").mkdir()
    (tmp_path / "inflight" / "b.json").write_text("{}")
    with pytest.raises(EngineError, match=r"inflight/b\.json is damaged; delete it"):
        Markers(Folder(str(tmp_path))).begin("b")
