"""A page of open looks, from its letterhead to its foot."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.samples.fields import Field
from pipeline.samples.held_out_words import WordLists
from pipeline.samples.layout import KINDS
from pipeline.samples.open_layout import draw_look, place_group
from pipeline.samples.open_values import draw_value, open_company
from pipeline.samples.text import Box, Run, Shape, can_print, text_width

_TABLE_HEADS = (("Item", "item"), ("Quantity", "number"), ("Price", "money"))


@dataclass
class Page:
    """What has been placed so far, and where the page may go on."""

    left: float
    room: float
    bottom: float
    runs: list[Run]
    shapes: list[Shape]

    def write(self, text: str, x: float, y: float, font: str, size: float, ink: float = 0.0) -> bool:
        """Place a run if it fits and the font can print it; whether it did."""
        fits = x + text_width(text, font, size) <= self.left + self.room and can_print(text, font)
        if fits:
            self.runs.append(Run(text, x, y, font, size, "", ink))
            self.bottom = max(self.bottom, y)
        return fits


def lay_out(
    rng: random.Random,
    values: Sequence[tuple[Field, str]],
    faces: Sequence[tuple[str, str]],
    words: WordLists,
    width: float,
    two_columns: float,
    table: bool,
    free_text: bool,
) -> Page | None:
    """Place everything on a page of a width; None when some of it does not fit.

    Args:
        rng: source of chance.
        values: the labelled fields with their values.
        faces: regular and bold font of each face.
        words: lists behind the text that nobody asks for.
        width: of the page in points.
        two_columns: share of groups with two columns of fields.
        table: whether an item table is printed.
        free_text: whether sentences are printed.
    """
    left = rng.uniform(8, 34)
    page = Page(left, width - left - 8, rng.uniform(6, 16), [], [])
    _letterhead(rng, page, rng.choice(faces), words)
    todo = list(values)
    look = draw_look(rng, faces)
    while todo:
        size = len(todo) if rng.random() < 0.4 else rng.randint(2, 6)
        group, todo = todo[:size], todo[size:]
        if rng.random() < 0.3:
            other = draw_look(rng, faces)
            look = replace(other, label_font=look.label_font, value_font=look.value_font)
        if not all(
            can_print(value, look.value_font) and can_print(field.label, look.label_font) for field, value in group
        ):
            return None
        columns = 2 if len(group) > 1 and rng.random() < two_columns else 1
        biggest = max(look.label_size, look.value_size)
        top = page.bottom + biggest * rng.uniform(1.6, 2.6)
        placed = place_group(rng, look, group, columns, left, top, page.room)
        if placed is None:
            return None
        page.runs += placed[0]
        page.shapes += placed[1]
        page.bottom = placed[2] + (0.5 * biggest if placed[1] else 0.0)
    if table:
        _table(rng, page, rng.choice(faces), words)
    if free_text:
        _sentences(rng, page, rng.choice(faces), words)
    return page


def _letterhead(rng: random.Random, page: Page, face: tuple[str, str], words: WordLists) -> None:
    size = rng.uniform(9, 14)
    y = page.bottom + size
    name = open_company(rng, words)
    title = f"{name} {rng.choice(('', '- ', '| '))}{rng.choice(KINDS)}"
    ink = 0.0
    if rng.random() < 0.15:
        ink = 1.0
        page.shapes.append(
            Shape(Box(page.left - 4, y - size * 1.1, page.left + page.room, y + size * 0.5), rng.uniform(0.0, 0.4))
        )
    if not page.write(title, page.left, y, face[1], size, ink):
        page.write(rng.choice(KINDS), page.left, y, face[1], size, ink)
    page.bottom = max(page.bottom, y + (size * 0.5 if ink else 0.0))
    for _ in range(rng.choice((0, 0, 1, 2, 3))):
        small = rng.uniform(7, 9.5)
        street = f"{draw_value(rng, 'item', words)} {rng.randint(1, 200)}"
        line = f"{street}, {draw_value(rng, 'zip', words)} {draw_value(rng, 'city', words)}"
        page.write(line, page.left, page.bottom + small * 1.4, face[0], small, rng.choice((0.0, 0.3)))


def _table(rng: random.Random, page: Page, face: tuple[str, str], words: WordLists) -> None:
    size = rng.uniform(7.5, 10.5)
    xs = [page.left + page.room * share for share in (0.0, rng.uniform(0.42, 0.5), rng.uniform(0.68, 0.75))]
    y = page.bottom + size * rng.uniform(2.0, 3.0)
    for (head, _), x in zip(_TABLE_HEADS, xs, strict=True):
        page.write(head, x, y, face[1], size)
    if rng.random() < 0.5:
        page.shapes.append(Shape(Box(page.left, y + 3, page.left + page.room, y + 3), stroke=0.2))
    for _ in range(rng.randint(1, 4)):
        y += size * rng.uniform(1.35, 1.7)
        for (_, kind), x, end in zip(_TABLE_HEADS, xs, [*xs[1:], page.left + page.room], strict=True):
            text = draw_value(rng, kind, words)
            if x + text_width(text, face[0], size) < end - 4:
                page.write(text, x, y, face[0], size)
        page.bottom = y


def _sentences(rng: random.Random, page: Page, face: tuple[str, str], words: WordLists) -> None:
    size = rng.uniform(7, 10)
    y = page.bottom + size * rng.uniform(1.8, 2.6)
    for _ in range(rng.randint(1, 3)):
        line = " ".join(rng.choice(words.items).lower() for _ in range(12))
        while line and text_width(line, face[0], size) > page.room:
            line = line.rpartition(" ")[0]
        if line:
            page.write(
                line.capitalize() + rng.choice((".", "", ",")),
                page.left,
                y,
                face[0],
                size,
                rng.choice((0.0, 0.0, 0.35)),
            )
        y += size * 1.35
