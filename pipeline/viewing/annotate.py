"""Writes copies of a run's documents with the evidence highlighted, and answers as notes."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pymupdf

from pipeline.errors import PageError, UsageError
from pipeline.file_names import printable
from pipeline.pages.marks import Mark, put_marks
from pipeline.pages.renderer import RenderChild, decode_image
from pipeline.records import Document, PageImage
from pipeline.viewing.copies import Copies
from pipeline.viewing.crops import boxes_of, evidence_by_page
from pipeline.viewing.originals import OriginalMissing, Originals, named_reason
from pipeline.viewing.published import Published, rows_of
from pipeline.viewing.texts import about, model_said, pages_of, reason_words, shown

_COLUMNS = (
    *("document_id", "source", "document", "document_sha256", "page", "pages", "question_id", "status"),
    *("answer", "review_reasons", "value_error", "confidence", "evidence", "reviewed", "model_answer"),
)
_COLOURS = {"answered": (0.72, 0.9, 0.45), "needs_review": (1.0, 0.8, 0.25)}
_MOST_CHARACTERS = 2000
_PICTURE_DPI = 150
_ANYWHERE = 1e6  # points; the boxes are cut to the page where it is open


@dataclass(slots=True)
class Annotated:
    """What became of the documents of a run.

    Attributes:
        documents: number of copies that were written.
        pictures: those that hold pictures of the pages: images, and PDFs that nothing can be added to.
        missing: reason by ``document_id``, for those without a copy; it names the document.
    """

    documents: int = 0
    pictures: list[str] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)


def documents_to_annotate(run: Published) -> dict[str, list[dict[str, Any]]]:
    """Return the rows that become notes, by ``document_id``.

    Args:
        run: what the run published.
    """
    wanted = run.answers.filter(pc.is_in(run.answers["status"], value_set=pa.array(list(_COLOURS))))
    found: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows_of(wanted, _COLUMNS):
        if row["page"] is not None:
            found[row["document_id"]].append(row)
    return dict(found)


def annotate_documents(
    documents: Iterable[Sequence[dict[str, Any]]],
    questions: dict[str, str],
    copies: Copies,
    originals: Originals,
    child: RenderChild,
    done: Callable[[], None],
) -> Annotated:
    """Write an annotated copy of each document; the documents themselves are only read.

    Args:
        documents: rows of each document, at least one.
        questions: text of each question, by id.
        copies: where the copies go.
        originals: finder of the documents.
        child: render child that opens them.
        done: function called after each document.

    Raises:
        OutputError: the folder cannot be written.
        EngineError: the child cannot be started.
    """
    result = Annotated()
    for rows in documents:
        path = rows[0]["document"]
        marks = [mark for row in rows for mark in _marks(row, questions.get(row["question_id"], row["question_id"]))]
        try:
            with tempfile.TemporaryDirectory(prefix="docpipe-") as desk:
                copy = Path(desk) / "copy.pdf"
                if not _copy(originals.find(rows[0]), marks, copy, child):
                    result.pictures.append(path)
                copies.put(copy, path, rows[0]["document_id"])
            result.documents += 1
        except (OriginalMissing, PageError) as error:
            result.missing[rows[0]["document_id"]] = named_reason(rows[0], error)
        done()
    return result


def _marks(row: dict[str, Any], question: str) -> Iterator[Mark]:
    """Yield the mark of a row on each page that its evidence is on."""
    lines = [
        question,
        row["answer"] or "no answer",
        *about(row)[(1 if len(pages_of(row)) > 1 else 2) :],
        *reason_words(row["review_reasons"]),
    ]
    if row["reviewed"]:
        lines.append(model_said(row))
    if row["value_error"]:
        lines.append(row["value_error"])
    for page, evidence in evidence_by_page(row).items():
        yield {
            "page": page,
            "boxes": [(box.x0, box.y0, box.x1, box.y1) for box in boxes_of(evidence, _ANYWHERE, _ANYWHERE)],
            "colour": _COLOURS[row["status"]],
            "subject": shown(row["question_id"], _MOST_CHARACTERS),
            "text": "\n".join(shown(line, _MOST_CHARACTERS) for line in lines),
        }


def _copy(document: Document, marks: list[Mark], target: Path, child: RenderChild) -> bool:
    """Write a copy with marks, of the document or else of pictures of its pages; tell whether of the document."""
    notes = target.with_name("marks.json")
    notes.write_text(json.dumps(marks), encoding="utf-8")
    try:
        child.annotate(document, notes, target)
        return True
    except PageError:
        _of_pictures(document, marks, target, child)
        return False


def _of_pictures(document: Document, marks: list[Mark], target: Path, child: RenderChild) -> None:
    pages = range(1, child.count_pages(document) + 1)
    with pymupdf.open() as copy:
        for page in child.render(document, pages, _PICTURE_DPI, None):
            if not isinstance(page, PageImage):
                copy.new_page()  # so that later pages keep their numbers
                continue
            sheet = copy.new_page(width=page.width_pt, height=page.height_pt)
            pixels = decode_image(page)
            pixmap = pymupdf.Pixmap(pymupdf.csRGB, page.width_px, page.height_px, pixels.tobytes(), False)
            sheet.insert_image(sheet.rect, pixmap=pixmap)
        put_marks(copy, marks)
        copy.save(str(target), deflate=True)


def closing_words(result: Annotated, to: Path) -> list[str]:
    """Say what was written.

    Args:
        result: what became of the documents.
        to: folder of the copies.

    Raises:
        UsageError: there are documents, and no copy of any.
    """
    count = result.documents
    if result.missing and not count:
        raise UsageError("\n".join(["no copy was written", *result.missing.values()]))
    lines = [f"{count} annotated {'copy' if count == 1 else 'copies'} in {to}"]
    if result.pictures:
        lines.append(
            f"{len(result.pictures)} of them hold pictures of the pages, as nothing can be added to the original"
        )
    return [printable(line) for line in lines]
