"""Makes the small pictures of the report: the evidence of those rows that need a look first."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import PageError
from pipeline.pages.renderer import RenderChild
from pipeline.viewing.crops import boxes_of, cut_out, evidence_by_page, render_page
from pipeline.viewing.originals import OriginalMissing, Originals, named_reason
from pipeline.viewing.published import rows_of

_DPI = 120
_MOST_WIDTH, _MOST_HEIGHT = 880, 620
_QUALITY = 62
_SHOWN = ("needs_review", "answered")
_COLUMNS = ("document_id", "source", "document", "document_sha256", "page", "status", "evidence")


@dataclass(slots=True)
class Crops:
    """Pictures of rows.

    Attributes:
        pictures: picture by row number: ``src``, a data URI, and ``boxes``, the number of places that are framed.
        wanted: number of rows that were to get one.
        missing: reason by ``document_id``, for documents of which there is none; it names the document.
    """

    pictures: dict[int, dict[str, Any]] = field(default_factory=dict)
    wanted: int = 0
    missing: dict[str, str] = field(default_factory=dict)


def make_crops(
    answers: pa.Table, most: int, originals: Originals, child: RenderChild, done: Callable[[], None]
) -> Crops:
    """Draw the first rows of the table that can have a picture; each page is rendered once.

    Of an answer about several pages, the one with the best evidence is drawn.

    Args:
        answers: rows of ``answers``, in the order of the table.
        most: largest number of pictures.
        originals: finder of the documents.
        child: render child that draws the pages.
        done: function called after each row.

    Raises:
        EngineError: the child cannot be started.
    """
    can_have = pc.and_(pc.is_in(answers["status"], value_set=pa.array(_SHOWN)), pc.is_valid(answers["page"]))
    places = pc.indices_nonzero(can_have)[:most]
    rows = dict(zip(places.to_pylist(), rows_of(answers.take(places), _COLUMNS), strict=True))
    crops = Crops(wanted=len(rows))
    by_page: dict[tuple[str, int], list[int]] = {}
    for number, row in rows.items():
        by_page.setdefault((row["document_id"], next(iter(evidence_by_page(row)))), []).append(number)
    for (_, page_number), numbers in by_page.items():
        first = rows[numbers[0]]
        try:
            page = render_page(child, originals.find(first), page_number, _DPI)
            for number in numbers:
                evidence = evidence_by_page(rows[number])[page_number]
                boxes = boxes_of(evidence, page.width_pt, page.height_pt)
                crops.pictures[number] = {"src": _data_uri(cut_out(page, boxes)), "boxes": len(boxes)}
        except (OriginalMissing, PageError) as error:
            crops.missing[first["document_id"]] = named_reason(first, error)
        for _ in numbers:
            done()
    return crops


def _data_uri(picture: Any) -> str:
    picture.thumbnail((_MOST_WIDTH, _MOST_HEIGHT))
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=_QUALITY, method=4)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
