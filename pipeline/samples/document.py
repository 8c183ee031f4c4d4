"""Draw one document from a seed: PDF bytes, the truth of every field, and the place of every character."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pymupdf

from pipeline.samples.drawing import draw_sample
from pipeline.samples.fields import FIELDS, Field
from pipeline.samples.foreign import draw_foreign
from pipeline.samples.layout import draw_style, place_fields, place_free_text, place_table, place_title
from pipeline.samples.open_page import lay_out
from pipeline.samples.opened import Opening, draw_fields, unprinted_labels
from pipeline.samples.text import Box, Run, Shape

BASE_FONTS = ("helv", "tiro", "cour")  # bold comes with each
CELL_PT = 14.0  # a visual token covers 14 x 14 points at 144 dpi
MAX_ATTEMPTS = 200


@dataclass(frozen=True)
class Family:
    """Which documents are drawn. The defaults are what the embedded model was taught to read.

    Attributes:
        fonts: base fonts to choose from (`helv`, `tiro`, `cour`; bold comes with each).
        min_fields: fewest labelled fields.
        max_fields: most labelled fields.
        two_columns: share of pages with two columns of fields.
        table: share of pages with an item table.
        free_text: share of pages with free text.
        size_pt: width and height of every page; None draws a size that holds the content.
        max_cells: most cells of 14 x 14 points a page may have.
        opening: what is drawn from beyond the fixed lists; None keeps to them.
    """

    fonts: tuple[str, ...] = BASE_FONTS[:1]
    min_fields: int = 8
    max_fields: int = 13
    two_columns: float = 0.35
    table: float = 0.3
    free_text: float = 0.4
    size_pt: tuple[float, float] | None = None
    max_cells: int = 1300
    opening: Opening | None = None


@dataclass(frozen=True)
class FieldTruth:
    """One field of a page: its value as printed and where it stands, in PDF points."""

    key: str
    label: str
    value: str
    label_box: Box
    value_box: Box


@dataclass(frozen=True)
class Sample:
    """A drawn document of one page.

    Attributes:
        seed: what it was drawn from.
        width_pt: page width.
        height_pt: page height.
        runs: all printed text; `characters()` of a run places each character.
        fields: the labelled fields in page order.
        has_table: whether an item table is printed (its heads repeat the names of some fields).
        shapes: rules, boxes and shading below the text.
        unprinted: labels beyond the fixed fields that may be asked for and are not on the page.
    """

    seed: int
    width_pt: float
    height_pt: float
    runs: tuple[Run, ...]
    fields: tuple[FieldTruth, ...]
    has_table: bool
    shapes: tuple[Shape, ...] = ()
    unprinted: tuple[str, ...] = ()

    def pdf(self) -> bytes:
        """The document; the same sample gives the same bytes."""
        with pymupdf.open() as document:
            page = document.new_page(width=self.width_pt, height=self.height_pt)
            draw_sample(page, self.runs, self.shapes)
            if not all(run.plain for run in self.runs):
                document.subset_fonts()
            document.set_metadata({})
            return bytes(document.tobytes(garbage=3, deflate=True, no_new_id=True))


def make_sample(seed: int, family: Family | None = None) -> Sample:
    """Draw the document of a seed.

    Args:
        seed: any whole number; the same seed and family give the same document.
        family: which documents may come; the whole family when None.

    Raises:
        ValueError: no layout of this family fits on its page size.
    """
    family = family or Family()
    rng = random.Random(seed)
    for _ in range(MAX_ATTEMPTS):
        sample = _attempt(seed, rng, family)
        if sample is not None:
            return sample
    raise ValueError(f"no layout of {family} fits after {MAX_ATTEMPTS} attempts; use a larger page or fewer fields")


def _attempt(seed: int, rng: random.Random, family: Family) -> Sample | None:
    count = rng.randint(family.min_fields, family.max_fields)
    if family.opening is None:
        values: list[tuple[Field, str]] = [(field, field.draw(rng)) for field in rng.sample(FIELDS, count)]
    else:
        if rng.random() < family.opening.foreign:
            return _foreign(seed, rng, family, family.opening)
        values = draw_fields(rng, family.opening, count)
        if rng.random() < family.opening.looks:
            return _open_attempt(seed, rng, family, family.opening, values)
    style = draw_style(rng, family.fonts, 2 if rng.random() < family.two_columns else 1)
    drawn_width = rng.uniform(280, 340) if style.columns == 1 else rng.uniform(330, 448)
    width = family.size_pt[0] if family.size_pt else round(drawn_width)
    left = rng.uniform(10, 36)
    room = width - left - 8
    runs = place_title(rng, family.fonts, left, room)
    top = runs[-1].y + rng.uniform(20, 34)
    placed = place_fields(rng, style, values, left, top, room)
    if placed is None:
        return None
    field_runs, bottom = placed
    runs += field_runs
    has_table = rng.random() < family.table
    if has_table:
        table_runs, bottom = place_table(rng, style, left, bottom + rng.uniform(20, 30), room)
        runs += table_runs
    if rng.random() < family.free_text:
        text_runs, bottom = place_free_text(rng, family.fonts, left, bottom + rng.uniform(18, 28), room)
        runs += text_runs
    return _finish(seed, rng, family, values, width, bottom, runs, [], has_table)


def _open_attempt(
    seed: int, rng: random.Random, family: Family, opening: Opening, values: list[tuple[Field, str]]
) -> Sample | None:
    width = family.size_pt[0] if family.size_pt else round(rng.uniform(280, 448))
    has_table = rng.random() < family.table
    free_text = rng.random() < family.free_text
    faces = rng.sample(opening.faces, min(3, len(opening.faces)))
    page = lay_out(rng, values, faces, opening.words, width, family.two_columns, has_table, free_text)
    if page is None:
        return None
    return _finish(seed, rng, family, values, width, page.bottom, page.runs, page.shapes, has_table)


def _foreign(seed: int, rng: random.Random, family: Family, opening: Opening) -> Sample:
    width, height = family.size_pt or (round(rng.uniform(280, 448)), round(rng.uniform(280, 504)))
    runs, shapes = draw_foreign(rng, opening.faces, opening.words, width, height)
    return Sample(seed, float(width), float(height), tuple(runs), (), False, tuple(shapes))


def _finish(
    seed: int,
    rng: random.Random,
    family: Family,
    values: list[tuple[Field, str]],
    width: float,
    bottom: float,
    runs: list[Run],
    shapes: list[Shape],
    has_table: bool,
) -> Sample | None:
    height = family.size_pt[1] if family.size_pt else round(max(bottom + rng.uniform(10, 60), 280))
    if bottom + 6 > height or width * height > family.max_cells * CELL_PT**2:
        return None
    by_role = {run.role: run for run in runs}
    fields = tuple(
        FieldTruth(
            key=field.key,
            label=field.label,
            value=value,
            label_box=by_role[f"label:{field.key}"].box,
            value_box=by_role[f"value:{field.key}"].box,
        )
        for field, value in values
    )
    unprinted: tuple[str, ...] = ()
    if family.opening is not None:
        unprinted = unprinted_labels(rng, family.opening, [field.label for field in fields])
    return Sample(seed, float(width), float(height), tuple(runs), fields, has_table, tuple(shapes), unprinted)
