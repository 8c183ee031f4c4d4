"""Pages of no kind: prose, verse, tables of figures, pictures, other scripts and empty paper; every answer is n/a."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from pipeline.samples.held_out_words import WordLists
from pipeline.samples.open_values import pronounceable
from pipeline.samples.text import Box, Run, Shape, text_width

_SCRIPTS = ((0x391, 0x3C9), (0x410, 0x44F), (0x3041, 0x3096), (0x4E00, 0x9FA5), (0xAC00, 0xD7A3))
_SCRIPT_FONT = "cjk"  # PyMuPDF's own fallback font: Greek, Cyrillic and the East Asian scripts
Placed = tuple[list[Run], list[Shape]]


def draw_foreign(
    rng: random.Random, faces: Sequence[tuple[str, str]], words: WordLists, width: float, height: float
) -> Placed:
    """Runs and shapes of one page without a labelled field."""
    kinds: tuple[Callable[..., Placed], ...] = (_prose, _prose, _figures, _picture, _script, _nothing)
    return rng.choice(kinds)(rng, rng.choice(faces), words, width, height)


def _lines(rng: random.Random, width: float, height: float) -> tuple[float, list[tuple[float, float, float]]]:
    """A font size, and x, baseline and width of the lines of a page."""
    size, left, y = rng.uniform(8, 12), rng.uniform(12, 40), rng.uniform(24, 60)
    step, places = size * rng.uniform(1.2, 1.6), []
    while y < height - 12:
        places.append((left, y, width - 2 * left))
        y += step * (2 if rng.random() < 0.08 else 1)
    return size, places


def _prose(rng: random.Random, face: tuple[str, str], words: WordLists, width: float, height: float) -> Placed:
    size, places = _lines(rng, width, height)
    ragged = rng.random() < 0.3  # verse has short lines
    runs = []
    for x, y, room in places:
        text, room = "", room * (rng.uniform(0.4, 0.8) if ragged else 1.0)
        while True:
            word = rng.choice(words.items) if rng.random() < 0.5 else pronounceable(rng, 2, 9)
            longer = f"{text} {word.lower()}{rng.choice(('', '', '', '', ',', '.'))}".strip()
            if text_width(longer, face[0], size) > room:
                break
            text = longer
        runs.append(Run(text, x, y, face[0], size))
    return [run for run in runs if run.text], []


def _figures(rng: random.Random, face: tuple[str, str], words: WordLists, width: float, height: float) -> Placed:
    size, places = _lines(rng, width, height)
    columns = rng.randint(3, 6)
    runs = [
        Run(f"{rng.uniform(-99, 999):.{digits}f}", x + column * room / columns, y, face[0], size)
        for digits in [rng.randint(0, 3)]
        for x, y, room in places
        for column in range(columns)
    ]
    return runs, []


def _picture(rng: random.Random, face: tuple[str, str], words: WordLists, width: float, height: float) -> Placed:
    side = rng.uniform(4, 14)
    x0, y0, x1, y1 = width * 0.08, height * 0.1, width * 0.92, height * rng.uniform(0.5, 0.9)
    shapes, y, light = [], y0, rng.random()
    while y < y1:
        x = x0
        while x < x1:
            light = min(1.0, max(0.0, light + rng.uniform(-0.2, 0.2)))
            shapes.append(Shape(Box(x, y, min(x + side, x1), min(y + side, y1)), fill=light))
            x += side
        y += side
    return [], shapes


def _script(rng: random.Random, face: tuple[str, str], words: WordLists, width: float, height: float) -> Placed:
    size, places = _lines(rng, width, height)
    low, high = rng.choice(_SCRIPTS)
    runs = []
    for x, y, room in places:
        letters = [" " if rng.random() < 0.15 else chr(rng.randint(low, high)) for _ in range(int(room / size))]
        runs.append(Run("".join(letters), x, y, _SCRIPT_FONT, size))
    return runs, []


def _nothing(rng: random.Random, face: tuple[str, str], words: WordLists, width: float, height: float) -> Placed:
    if rng.random() < 0.5:
        return [], []
    return [Run(str(rng.randint(1, 400)), width / 2, height - 20, face[0], 9.0)], []
