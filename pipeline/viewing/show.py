"""Draws one answer beside its place: the crop of the page with the evidence framed, and the answer under it."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from typing import Any

import pymupdf
from PIL import Image as PilImage

from pipeline.errors import PageError, UsageError
from pipeline.file_names import printable
from pipeline.pages.renderer import RenderChild
from pipeline.viewing.crops import boxes_of, cut_out, evidence_by_page, render_page
from pipeline.viewing.originals import OriginalMissing, Originals
from pipeline.viewing.texts import about, model_said, others_said, reason_words, shown

_DPI = 200
_CAPTION_DPI = 144
_LEAST_WIDTH, _MOST_HEIGHT = 360.0, 4000.0  # points
_PADDING = 14.0
_GAP_PX = 24  # between crops of several pages
_MOST_CHARACTERS = 1200
_LONG_WORD = 24  # characters
_CSS = """
* { font-family: sans-serif; }
.question { font-size: 11px; color: #5d574c; margin: 0 0 3px 0; }
.answer { font-size: 19px; color: #1c1a17; margin: 0 0 5px 0; font-weight: bold; }
.none { font-size: 15px; color: #8a4300; margin: 0 0 5px 0; }
.about { font-size: 9px; color: #5d574c; margin: 0; }
.reason { font-size: 9px; color: #8a4300; margin: 2px 0 0 0; }
"""


def draw_row(row: dict[str, Any], question: str, originals: Originals, child: RenderChild) -> PilImage.Image:
    """Draw the crop of a row's page with its evidence, and the answer under it; of several pages one below the other.

    Args:
        row: row of ``answers``.
        question: text of the question.
        originals: finder of the documents.
        child: render child that draws the page.

    Raises:
        UsageError: the row failed, or its document is not there any more or cannot be drawn.
        EngineError: the child cannot be started.
    """
    name = printable(row["document"])
    if row["page"] is None or row["status"] == "failed":
        raise UsageError(f"{name}: {row['question_id']} failed, so there is nothing to show; failures/ has the reason")
    crops = []
    try:
        document = originals.find(row)
        for number, evidence in sorted(evidence_by_page(row).items()):
            page = render_page(child, document, number, _DPI)
            crops.append(cut_out(page, boxes_of(evidence, page.width_pt, page.height_pt)))
    except (OriginalMissing, PageError) as error:
        raise UsageError(str(error)) from error
    return under(_stacked(crops), caption(row, question))


def _stacked(crops: Sequence[PilImage.Image]) -> PilImage.Image:
    """Put pictures one below the other, with a gap between them."""
    if len(crops) == 1:
        return crops[0]
    height = sum(crop.height for crop in crops) + _GAP_PX * (len(crops) - 1)
    whole = PilImage.new("RGB", (max(crop.width for crop in crops), height), "white")
    top = 0
    for crop in crops:
        whole.paste(crop, ((whole.width - crop.width) // 2, top))
        top += crop.height + _GAP_PX
    return whole


def caption(row: dict[str, Any], question: str) -> str:
    """Write what stands under the crop, as HTML in which question and answer are text.

    Args:
        row: row of ``answers``.
        question: text of the question.
    """
    answer = shown(row["answer"] or "", _MOST_CHARACTERS).strip()
    lines = [
        ("question", shown(question, _MOST_CHARACTERS)),
        ("answer", answer) if answer else ("none", "no answer"),
        ("about", " \N{MIDDLE DOT} ".join(about(row))),
        *(("reason", reason) for reason in reason_words(row["review_reasons"])),
    ]
    if row["reviewed"]:
        lines.append(("about", shown(model_said(row), _MOST_CHARACTERS)))
    others = others_said(row)
    if others is not None:
        lines.append(("about", f"another look said: {shown(others, _MOST_CHARACTERS)}"))
    if row["value_error"]:
        lines.append(("reason", shown(row["value_error"], _MOST_CHARACTERS)))
    return "".join(f'<p class="{name}">{_breakable(text)}</p>' for name, text in lines)


def _breakable(text: str) -> str:
    """Escape a text for HTML, and let long words go on in the next line, as they would be made small otherwise."""
    words = re.sub(rf"\S{{{_LONG_WORD}}}(?=\S)", "\\g<0>\N{ZERO WIDTH SPACE}", text)
    return html.escape(words).replace("\n", "<br>")


def under(crop: PilImage.Image, text: str) -> PilImage.Image:
    """Put text under a picture.

    Args:
        crop: the picture.
        text: HTML of the text.
    """
    scale = _CAPTION_DPI / 72
    width_pt = max(crop.width / scale, _LEAST_WIDTH)
    with pymupdf.open() as paper:
        # MuPDF sets the text because its fonts have the letters of most scripts, in the right order.
        sheet = paper.new_page(width=width_pt, height=_MOST_HEIGHT)
        room = pymupdf.Rect(_PADDING, _PADDING, width_pt - _PADDING, _MOST_HEIGHT - _PADDING)
        spare, _ = sheet.insert_htmlbox(room, text, css=_CSS)
        height_pt = _MOST_HEIGHT - max(0.0, spare)
        clip = pymupdf.Rect(0, 0, width_pt, height_pt)
        pixmap = sheet.get_pixmap(dpi=_CAPTION_DPI, clip=clip, colorspace=pymupdf.csRGB, alpha=False)
        words = PilImage.frombytes("RGB", (pixmap.width, pixmap.height), pixmap.samples)
    whole = PilImage.new("RGB", (max(crop.width, words.width), crop.height + words.height), "white")
    whole.paste(crop, ((whole.width - crop.width) // 2, 0))
    whole.paste(words, (0, crop.height))
    return whole
