from __future__ import annotations

from pathlib import Path
from typing import Any

import pymupdf
import pytest

from pipeline.pages.renderer import RenderChild
from pipeline.viewing.originals import OriginalMissing, Originals
from tests.support.viewed import of_document, write_pdf


@pytest.fixture
def row(tmp_path: Path) -> dict[str, Any]:
    write_pdf(tmp_path / "in/deep/a.pdf")
    return of_document(tmp_path / "in", "deep/a.pdf")


def test_a_document_is_found_where_it_was(row: dict[str, Any], tmp_path: Path, child: RenderChild) -> None:
    assert Originals(child).find(row).uri == str(tmp_path / "in/deep/a.pdf")


@pytest.mark.parametrize("place", ["elsewhere/deep/a.pdf", "elsewhere/flat/a.pdf", "elsewhere/a.pdf"])
def test_a_document_that_moved_is_found_by_its_content(
    row: dict[str, Any], tmp_path: Path, child: RenderChild, place: str
) -> None:
    write_pdf(tmp_path / "elsewhere/other/a.pdf", total="7.00")  # of the same name
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "in/deep/a.pdf").rename(tmp_path / place)
    with pytest.raises(
        OriginalMissing, match=r"deep/a\.pdf: it was not found in .*/in; .*name its folder with --input"
    ):
        Originals(child).find(row)
    assert Originals(child, [str(tmp_path / "elsewhere")]).find(row).uri == str(tmp_path / place)


def test_a_document_that_changed_is_not_taken_for_the_one_that_was_read(
    row: dict[str, Any], tmp_path: Path, child: RenderChild
) -> None:
    write_pdf(tmp_path / "in/deep/a.pdf", total="2.00")
    originals = Originals(child)
    for _ in range(2):  # the second time from memory
        with pytest.raises(OriginalMissing, match="it has changed since it was read"):
            originals.find(row)


def test_a_folder_that_is_gone_is_one_reason_per_document(row: dict[str, Any], child: RenderChild) -> None:
    with pytest.raises(OriginalMissing, match=r"it was not found in /no/such/folder;"):
        Originals(child).find({**row, "source": "/no/such/folder"})
    with pytest.raises(OriginalMissing, match="could not be opened when it was read"):
        Originals(child).find({**row, "document_id": "other", "document_sha256": None})


def test_a_relative_input_is_named_by_where_it_was_looked_for(
    row: dict[str, Any], tmp_path: Path, child: RenderChild, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    with pytest.raises(OriginalMissing) as told:
        Originals(child).find({**row, "source": "in"})
    assert f"deep/a.pdf: it was not found in {tmp_path}/other/in; " in str(told.value)


def test_a_document_inside_a_portfolio_is_found(tmp_path: Path, child: RenderChild) -> None:
    write_pdf(tmp_path / "inner.pdf")
    inner = (tmp_path / "inner.pdf").read_bytes()
    (tmp_path / "in").mkdir()
    with pymupdf.open() as portfolio:
        portfolio.new_page().insert_text((72, 72), "For the best experience, open this PDF portfolio in Acrobat")
        portfolio.embfile_add("inner.pdf", inner)
        portfolio.xref_set_key(portfolio.pdf_catalog(), "Collection", "<</View/D>>")
        portfolio.save(str(tmp_path / "in/box.pdf"))
    row = {**of_document(tmp_path, "inner.pdf"), "source": str(tmp_path / "in"), "document": "box.pdf/inner.pdf"}
    found = Originals(child).find(row)
    assert (found.path, found.members) == ("box.pdf/inner.pdf", (0,))
    (image,) = child.render(found, [1], 72, None)
    assert not hasattr(image, "failure")
