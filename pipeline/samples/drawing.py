"""Print runs and shapes on a PDF page."""

from __future__ import annotations

from collections.abc import Sequence

import pymupdf

from pipeline.samples.text import Run, Shape, load_font


def draw_sample(page: pymupdf.Page, runs: Sequence[Run], shapes: Sequence[Shape]) -> None:
    """Draw the shapes, then the text above them.

    The base fonts print plain text without being embedded; one run that they cannot print has all fonts embedded.
    """
    # One content stream for all: PyMuPDF parses what a page has before it adds another.
    below = page.new_shape()
    for shape in shapes:
        _draw_shape(below, shape)
    plain = all(run.plain for run in runs)
    if plain:
        for run in runs:
            below.insert_text((run.x, run.y), run.text, fontname=run.font, fontsize=run.size)
    below.commit()
    if plain:
        return
    for ink in sorted({run.ink for run in runs}):
        writer = pymupdf.TextWriter(page.rect)
        for run in (run for run in runs if run.ink == ink):
            _write(writer, run)
        writer.write_text(page, color=(ink,))


def _draw_shape(drawing: pymupdf.Shape, shape: Shape) -> None:
    box = shape.box
    stroke, fill = ((None if grey is None else (grey,)) for grey in (shape.stroke, shape.fill))
    if box.y0 == box.y1 or box.x0 == box.x1:
        drawing.draw_line((box.x0, box.y0), (box.x1, box.y1))
    else:
        drawing.draw_rect(pymupdf.Rect(box.x0, box.y0, box.x1, box.y1))
    drawing.finish(color=stroke, fill=fill, width=0.6)


def _write(writer: pymupdf.TextWriter, run: Run) -> None:
    font = load_font(run.font)
    if run.tracking == 0:
        writer.append((run.x, run.y), run.text, font=font, fontsize=run.size)
        return
    for character in run.characters():
        x = character.x - font.text_length(character.char, run.size) / 2
        writer.append((x, run.y), character.char, font=font, fontsize=run.size)
