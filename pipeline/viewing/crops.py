"""Cuts the part of a page out that holds the evidence of an answer, and frames it there."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image as PilImage
from PIL import ImageChops, ImageDraw

from pipeline.errors import PageError
from pipeline.pages.renderer import RenderChild, decode_image
from pipeline.records import Document, PageImage

MARKER = (255, 226, 89)
_FRAME = (205, 92, 0)
_AROUND = (60.0, 34.0)  # points of page beside and above the evidence
_LEAST = (400.0, 120.0)  # points of page to show, so that a reader sees where on the page it is
_LARGE = 0.4  # share of a page above which only the best box is shown


@dataclass(frozen=True, slots=True)
class Box:
    """A box on a page, in points from its top left corner."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def area(self) -> float:
        """Return the area in square points."""
        return (self.x1 - self.x0) * (self.y1 - self.y0)

    def joined(self, other: Box) -> Box:
        """Return the smallest box around two."""
        return Box(min(self.x0, other.x0), min(self.y0, other.y0), max(self.x1, other.x1), max(self.y1, other.y1))


def boxes_of(evidence: Iterable[Mapping[str, Any]] | None, width_pt: float, height_pt: float) -> list[Box]:
    """Return the evidence of a row as boxes on the page, best first; what lies outside of it is cut off.

    Args:
        evidence: column ``evidence`` of a row.
        width_pt: width of the page in points.
        height_pt: height of the page in points.
    """
    boxes = []
    for entry in evidence or ():
        sides = [entry[side] for side in ("x0", "y0", "x1", "y1")]
        if not all(side is not None and math.isfinite(side) for side in sides):
            continue
        x0, y0, x1, y1 = (
            min(max(side, 0.0), most) for side, most in zip(sides, (width_pt, height_pt) * 2, strict=True)
        )
        if x1 > x0 and y1 > y0:
            boxes.append(Box(x0, y0, x1, y1))
    return boxes


def evidence_by_page(row: Mapping[str, Any]) -> dict[int, list[Mapping[str, Any]]]:
    """Divide the evidence of a row among its pages, the page of the best box first.

    Args:
        row: row of ``answers`` with a page; without evidence, its first page is returned.
    """
    found: dict[int, list[Mapping[str, Any]]] = {}
    for box in row["evidence"] or ():
        found.setdefault(box["page"] or row["page"], []).append(box)  # old tables name no page in a box
    return found or {row["page"]: []}


def window(boxes: list[Box], width_pt: float, height_pt: float) -> Box:
    """Choose which part of a page to show: the evidence and some of what is around it.

    Args:
        boxes: evidence, best first; without any, the whole page is shown.
        width_pt: width of the page in points.
        height_pt: height of the page in points.
    """
    whole = Box(0.0, 0.0, width_pt, height_pt)
    if not boxes:
        return whole
    shown = boxes[0]
    for box in boxes[1:]:
        if shown.joined(box).area <= _LARGE * whole.area:
            shown = shown.joined(box)
    x0, x1 = _widened(shown.x0, shown.x1, _AROUND[0], _LEAST[0], width_pt)
    y0, y1 = _widened(shown.y0, shown.y1, _AROUND[1], _LEAST[1], height_pt)
    return Box(x0, y0, x1, y1)


def _widened(low: float, high: float, around: float, least: float, most: float) -> tuple[float, float]:
    more = max(around, (least - (high - low)) / 2)
    low, high = low - more, high + more
    low, high = low - max(0.0, high - most), high + max(0.0, -low)
    return max(0.0, low), min(most, high)


def render_page(child: RenderChild, document: Document, page: int, dpi: int) -> PageImage:
    """Render a page for people.

    Args:
        child: render child that does it.
        document: document to render.
        page: page number, counted from 1.
        dpi: resolution in dots per inch.

    Raises:
        PageError: the page cannot be rendered.
        EngineError: the child cannot be started.
    """
    (rendered,) = child.render(document, [page], dpi, None)
    if isinstance(rendered, PageImage):
        return rendered
    failure = rendered.failure
    raise PageError(failure.stage, failure.error_type, failure.error_message)


def cut_out(page: PageImage, boxes: list[Box]) -> PilImage.Image:
    """Cut the window around the evidence out of a page, with the evidence marked and framed.

    Args:
        page: rendered page.
        boxes: evidence, best first.
    """
    across, down = page.width_px / page.width_pt, page.height_px / page.height_pt
    picture = PilImage.fromarray(decode_image(page))
    ink = PilImage.new("RGB", picture.size, "white")
    draw = ImageDraw.Draw(ink)
    corners = [(box.x0 * across, box.y0 * down, box.x1 * across - 1, box.y1 * down - 1) for box in boxes]
    corners = [(x0, y0, max(x0, x1), max(y0, y1)) for x0, y0, x1, y1 in corners]
    for corner in corners:
        draw.rectangle(corner, fill=MARKER)
    marked = ImageChops.multiply(picture, ink)  # as a marker does: paper takes the colour, letters stay dark
    draw = ImageDraw.Draw(marked)
    line = max(2, round(page.dpi / 72))
    for x0, y0, x1, y1 in corners:
        draw.rectangle((x0 - line, y0 - line, x1 + line, y1 + line), outline=_FRAME, width=line)
    shown = window(boxes, page.width_pt, page.height_pt)
    edges = (shown.x0 * across, shown.y0 * down, shown.x1 * across, shown.y1 * down)
    left, top, right, bottom = (round(edge) for edge in edges)
    return marked.crop((left, top, max(right, left + 1), max(bottom, top + 1)))
