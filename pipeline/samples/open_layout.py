"""Pages of open looks: any fonts and sizes, groups of fields placed in several ways, rules, boxes, shading and inks."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.samples.fields import Field
from pipeline.samples.text import Box, Run, Shape, text_width

_SEPARATORS = (":", ":", " :", "", "", ".", " -", " =")
_PLACES = ("inline", "column", "column", "right", "above", "above")
_DECORS = ("none", "none", "none", "rules", "box", "stripes", "labels", "cells")
_GREYS = (0.0, 0.0, 0.0, 0.15, 0.3, 0.45)


@dataclass(frozen=True)
class Look:
    """How one group of fields looks.

    Attributes:
        label_font: font of the labels.
        value_font: font of the values.
        label_size: points.
        value_size: points.
        label_ink: 0 for black to 1 for white.
        value_ink: the same for values.
        tracking: points added behind each character of a label.
        separator: printed after a label.
        place: `inline`, `column`, `right` or `above`: where the value stands, seen from the label.
        decor: `none`, `rules`, `box`, `stripes`, `labels` (shaded) or `cells` (a grid).
        upper: whether labels are printed in capitals.
        line: distance between the rows of fields, in points.
    """

    label_font: str
    value_font: str
    label_size: float
    value_size: float
    label_ink: float
    value_ink: float
    tracking: float
    separator: str
    place: str
    decor: str
    upper: bool
    line: float


def draw_look(rng: random.Random, faces: Sequence[tuple[str, str]]) -> Look:
    """A random look.

    Args:
        rng: source of chance.
        faces: regular and bold font of each face.
    """
    labels = rng.choice(faces)
    values = labels if rng.random() < 0.7 else rng.choice(faces)
    label_size = rng.uniform(8, 11) if rng.random() < 0.7 else rng.uniform(7, 14)
    value_size = label_size if rng.random() < 0.6 else min(14.0, max(7.0, label_size * rng.uniform(0.8, 1.35)))
    place = rng.choice(_PLACES)
    biggest = max(label_size, value_size)
    return Look(
        label_font=labels[rng.random() < 0.4],
        value_font=values[rng.random() < 0.25],
        label_size=label_size,
        value_size=value_size,
        label_ink=rng.choice(_GREYS),
        value_ink=rng.choice(_GREYS[:4]),
        tracking=rng.uniform(0.2, 1.2) if rng.random() < 0.1 else 0.0,
        separator=rng.choice(_SEPARATORS),
        place=place,
        decor=rng.choice(_DECORS),
        upper=rng.random() < 0.1,
        line=biggest * (rng.uniform(2.5, 3.3) if place == "above" else rng.uniform(1.4, 2.2)),
    )


def place_group(
    rng: random.Random,
    look: Look,
    values: Sequence[tuple[Field, str]],
    columns: int,
    left: float,
    top: float,
    room: float,
) -> tuple[list[Run], list[Shape], float] | None:
    """Runs and shapes of a group of fields whose first baseline is ``top``, and the baseline of the lowest run.

    Args:
        rng: source of the free distances.
        look: of the group.
        values: fields in reading order with their values.
        columns: how many fields stand side by side.
        left: left edge, points.
        top: first baseline, points.
        room: width for all columns, points.

    Returns:
        None when something would not fit into its column.
    """
    rows, width, gap = -(-len(values) // columns), room / columns, rng.uniform(5, 22)
    texts = [_printed_label(field, look) for field, _ in values]
    widest = max(text_width(text, look.label_font, look.label_size) + look.tracking * len(text) for text in texts)
    inset = 4.0 if look.decor in ("box", "cells", "stripes", "labels") else 0.0
    runs: list[Run] = []
    lowest = top
    for number, ((field, value), text) in enumerate(zip(values, texts, strict=True)):
        x, y = left + number // rows * width + inset, top + number % rows * look.line
        right = left + (number // rows + 1) * width - 4 - inset
        label = Run(text, x, y, look.label_font, look.label_size, f"label:{field.key}", look.label_ink, look.tracking)
        value_width = text_width(value, look.value_font, look.value_size)
        value_y = y
        if look.place == "above":
            value_x, value_y = x, y + 1.2 * max(look.label_size, look.value_size)
        elif look.place == "column":
            value_x = x + widest + gap
        elif look.place == "right":
            value_x = right - value_width
        else:
            value_x = label.box.x1 + (2.4 if look.separator == "" else 1.0) * 0.28 * look.value_size
        apart = look.place == "above" or value_x >= label.box.x1 + 2
        if not apart or max(label.box.x1, value_x + value_width) > right:
            return None
        runs += [
            label,
            Run(value, value_x, value_y, look.value_font, look.value_size, f"value:{field.key}", look.value_ink),
        ]
        lowest = max(lowest, value_y)
    return runs, _shapes(rng, look, columns, rows, left, top, room, widest), lowest


def _printed_label(field: Field, look: Look) -> str:
    return (field.label.upper() if look.upper else field.label) + look.separator


def _shapes(
    rng: random.Random, look: Look, columns: int, rows: int, left: float, top: float, room: float, widest: float
) -> list[Shape]:
    """What is drawn below a group's text."""
    above, width = 1.15 * max(look.label_size, look.value_size), room / columns
    y0, y1 = top - above, top - above + rows * look.line
    light, line = rng.uniform(0.85, 0.97), rng.uniform(0.0, 0.6)
    if look.decor == "rules":
        return [
            Shape(Box(left, y0 + r * look.line, left + room - 4, y0 + r * look.line), stroke=line)
            for r in range(1, rows + 1)
        ]
    if look.decor == "box":
        return [Shape(Box(left, y0, left + room - 4, y1), fill=light if rng.random() < 0.5 else None, stroke=line)]
    if look.decor == "stripes":
        return [
            Shape(Box(left, y0 + r * look.line, left + room - 4, y0 + (r + 1) * look.line), fill=light)
            for r in range(0, rows, 2)
        ]
    if look.decor == "labels" and look.place in ("column", "right"):
        return [Shape(Box(left + c * width, y0, left + c * width + widest + 6, y1), fill=light) for c in range(columns)]
    if look.decor == "cells":
        return [
            Shape(
                Box(left + c * width, y0 + r * look.line, left + (c + 1) * width - 4, y0 + (r + 1) * look.line),
                stroke=line,
            )
            for c in range(columns)
            for r in range(rows)
        ]
    return []
