"""Lay a document out: title, labelled fields in one or two columns, an item table, free text."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.samples import words
from pipeline.samples.fields import Field, company
from pipeline.samples.text import BOLD, Run, text_width

KINDS = ("Invoice", "Receipt", "Order", "Delivery Note", "Report Slip")
SIZES = (8.5, 9.0, 9.5, 10.0, 10.5, 11.0)
SEPARATORS = (":", " :", "")


@dataclass(frozen=True)
class Style:
    """How the labelled fields of a page look.

    Attributes:
        label_font: font of the labels.
        value_font: font of the values.
        label_size: points.
        value_size: points.
        separator: printed after a label.
        place: `inline`, `column` or `above`: where the value stands, seen from the label.
        columns: 1 or 2.
        line: distance between the rows of fields, in points.
    """

    label_font: str
    value_font: str
    label_size: float
    value_size: float
    separator: str
    place: str
    columns: int
    line: float


def draw_style(rng: random.Random, fonts: Sequence[str], columns: int) -> Style:
    """A random style of fields."""
    label_base, same = rng.choice(fonts), rng.random() < 0.6
    value_base = label_base if same else rng.choice(fonts)
    label_size = rng.choice(SIZES)
    value_size = label_size if rng.random() < 0.6 else rng.choice(SIZES)
    place = rng.choice(("inline", "column", "column", "above"))
    biggest = max(label_size, value_size)
    return Style(
        label_font=BOLD[label_base] if rng.random() < 0.4 else label_base,
        value_font=BOLD[value_base] if rng.random() < 0.25 else value_base,
        label_size=label_size,
        value_size=value_size,
        separator=rng.choice(SEPARATORS),
        place=place,
        columns=columns,
        line=biggest * (rng.uniform(2.5, 3.2) if place == "above" else rng.uniform(1.3, 2.1)),
    )


def place_fields(
    rng: random.Random, style: Style, values: Sequence[tuple[Field, str]], left: float, top: float, width: float
) -> tuple[list[Run], float] | None:
    """Runs of the labelled fields, and the baseline of the lowest one.

    Args:
        rng: source of the free distances.
        style: how the fields look.
        values: fields in page order with their values.
        left: left edge of the first column, points.
        top: baseline of the first row, points.
        width: room for all columns, points.

    Returns:
        None when something would not fit into its column.
    """
    rows = -(-len(values) // style.columns)
    room = width / style.columns
    gap = rng.uniform(6, 20)
    runs: list[Run] = []
    lowest = top
    for column in range(style.columns):
        part = values[column * rows : (column + 1) * rows]
        x = left + column * room
        labels = [field.label + style.separator for field, _ in part]
        widest = max((text_width(label, style.label_font, style.label_size) for label in labels), default=0.0)
        for row, ((field, value), label) in enumerate(zip(part, labels, strict=True)):
            y = top + row * style.line
            label_width = text_width(label, style.label_font, style.label_size)
            if style.place == "above":
                value_x, value_y = x, y + 1.2 * max(style.label_size, style.value_size)
            elif style.place == "column":
                value_x, value_y = x + widest + gap, y
            else:
                space = 2.2 if style.separator == "" else 1.0
                value_x, value_y = x + label_width + space * text_width(" ", style.label_font, style.label_size), y
            value_width = text_width(value, style.value_font, style.value_size)
            if max(x + label_width, value_x + value_width) > x + room - 6:
                return None
            runs.append(Run(label, x, y, style.label_font, style.label_size, f"label:{field.key}"))
            runs.append(Run(value, value_x, value_y, style.value_font, style.value_size, f"value:{field.key}"))
            lowest = max(lowest, value_y)
    return runs, lowest


def place_title(rng: random.Random, fonts: Sequence[str], left: float, width: float) -> list[Run]:
    """The title line: company and kind, on one baseline (the kind alone when both do not fit)."""
    font = BOLD[rng.choice(fonts)]
    size = rng.uniform(10, 13)
    kind = rng.choice(KINDS)
    y = rng.uniform(18, 30)
    title = f"{company(rng)} {rng.choice(('', '- '))}{kind}"
    return [Run(title if text_width(title, font, size) <= width else kind, left, y, font, size)]


def place_table(rng: random.Random, style: Style, left: float, top: float, width: float) -> tuple[list[Run], float]:
    """A small table (item, quantity, price) whose first baseline is `top`; with the baseline of its last row."""
    size = min(style.value_size, 10.0)
    xs = (left, left + width * 0.45, left + width * 0.72)
    font = style.value_font
    runs = [
        Run(head, x, top, style.label_font, size) for head, x in zip(("Item", "Quantity", "Price"), xs, strict=True)
    ]
    y = top
    for _ in range(rng.randint(2, 3)):
        y += size * 1.5
        cells = (
            rng.choice(words.ITEMS),
            str(rng.randint(1, 500)),
            f"{rng.randrange(1000)}.{rng.randrange(100):02d}",
        )
        runs += [Run(cell, x, y, font, size) for cell, x in zip(cells, xs, strict=True)]
    return runs, y


def place_free_text(
    rng: random.Random, fonts: Sequence[str], left: float, top: float, width: float
) -> tuple[list[Run], float]:
    """One or two lines of free text from baseline `top`; with the baseline of the last."""
    font, size = rng.choice(fonts), rng.choice(SIZES[:4])
    fitting = [line for line in words.FREE_TEXT if text_width(line, font, size) <= width]
    lines = rng.sample(fitting, min(len(fitting), rng.randint(1, 2)))
    runs = [Run(line, left, top + i * size * 1.4, font, size) for i, line in enumerate(lines)]
    return runs, runs[-1].y if runs else top
