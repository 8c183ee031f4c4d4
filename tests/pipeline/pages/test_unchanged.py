"""A file that is not what the listing saw is refused, and no page of it stands under the document that is gone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.errors import PageError
from pipeline.pages.documents import list_documents
from pipeline.pages.renderer import RenderChild
from pipeline.pages.unchanged import check_unchanged_remote
from pipeline.records import PageFailure, PageImage, PixelBudget
from tests.support.hostile import text_pdf

BUDGET = PixelBudget(28, 3136, 28 * 28 * 256, "pipeline.families.qwen2_5_vl")
Change = Callable[[Path], object]


def _rewritten(path: Path) -> None:
    """Another file of the same size."""
    data = path.read_bytes()
    path.write_bytes(data[:-1] + b"\n")


CHANGES = {
    "replaced": lambda path: path.write_bytes(text_pdf(4)),
    "of the same size": _rewritten,
    "touched": lambda path: os.utime(path, ns=(1, 1)),
}


@pytest.fixture(scope="module")
def child() -> Iterator[RenderChild]:
    with RenderChild() as child:
        yield child


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_file_that_changed_before_it_is_opened(change: Change, child: RenderChild, tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(text_pdf(1))
    (document,) = list_documents([str(tmp_path)])
    change(path)
    for work in (child.count_pages, child.sha256, child.embedded_pdfs):
        with pytest.raises(PageError, match="DocumentChanged .*run the same command again"):
            work(document)
    (failed,) = child.render(document, [1], 72, BUDGET)
    assert isinstance(failed, PageFailure)
    assert (failed.failure.stage, failed.failure.error_type) == ("open", "DocumentChanged")
    (now,) = list_documents([str(tmp_path)])
    assert now.document_id != document.document_id
    assert child.count_pages(now) > 0


def test_pages_after_the_change_of_an_open_file_fail(child: RenderChild, tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(text_pdf(3))
    (document,) = list_documents([str(tmp_path)])
    pages = child.render(document, [1, 2, 3], 72, BUDGET)
    assert isinstance(next(pages), PageImage)
    path.write_bytes(text_pdf(4))
    rest = list(pages)
    assert [page.failure.error_type for page in rest if isinstance(page, PageFailure)] == ["DocumentChanged"] * 2


def test_a_file_that_became_a_pipe_is_not_waited_for(child: RenderChild, tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(text_pdf(1))
    (document,) = list_documents([str(tmp_path)])
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(PageError, match="DocumentUnreadable .*found a pipe"):
        child.count_pages(document)


@pytest.mark.parametrize(
    ("size", "version", "info"),
    [
        (9, '"ab"', {"size": 9, "ETag": '"ab"'}),
        (9, '"ab"', {"size": 9, "etag": "W/ab"}),
        (0, "", {"size": 9, "ETag": "ab"}),  # a listing that says nothing
        (9, "1700000000.0", {"size": 9, "mtime": 1700000000.5, "ETag": "ab"}),  # it says the time, and no etag
        (9, "ab", {"size": None}),
    ],
)
def test_a_remote_file_of_which_no_change_is_known_is_taken(size: int, version: str, info: dict[str, object]) -> None:
    check_unchanged_remote(size, version, info)


@pytest.mark.parametrize("info", [{"size": 9, "ETag": "ac"}, {"size": 10, "ETag": "ab"}, {"size": 10}])
def test_a_remote_file_that_has_changed_is_refused(info: dict[str, object]) -> None:
    with pytest.raises(PageError, match="DocumentChanged"):
        check_unchanged_remote(9, "ab", info)
