"""Where characters stand on the token grid: what the vision tower is taught to say about each patch and each cell.

A cell is one visual token, 2 x 2 patches. A character belongs to the patch and the cell that hold its middle: across,
the middle of its ink, since how much room a font leaves beside it cannot be seen; down, a height above the baseline.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.nano.training.shape import CELL, PATCH
from pipeline.nano.training.vocabulary import CHARSET

CLASS_OF = {char: i + 1 for i, char in enumerate(CHARSET)}
NOTHING, BLANK = 0, 1  # classes: no character here, and a space
CLASSES = len(CHARSET) + 1
COLUMNS = 4  # a patch is told apart in so many columns
SLOTS = 8  # characters of a cell, in reading order
IGNORE = -100  # class of what is not to be learned
# Of a character on the border of two cells, half a pixel decides whose it is. To insist on that teaches the tower to
# call it "nothing" on both sides; left alone, the answers teach it to be seen from both.
CELL_MARGIN, POINTER_MARGIN = 0.5, 1.0  # pixels
COLUMN_MARGIN = 0.7  # pixels: an empty column that a character comes so close to may be said to hold it

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class CharacterTargets:
    """Classes of the characters of one image.

    Attributes:
        patch: ``[rows * 2, columns * 2, COLUMNS]``, the character whose middle is in each column of a patch.
        cell: ``[rows, columns, SLOTS]``, the characters of each cell in reading order.
        where: for each character given, its cell in raster order, -1 outside the image.
        slot: for each character given, its place among its cell's characters, -1 where the cell has too many.
        unsure: ``[rows, columns]`` bool, cells with a character on their border, on this side or the other; their
            slots are ``IGNORE`` in ``cell``.
        blurred: for each character given, whether its middle is too close to a border to say in which cell it is.
    """

    patch: Ints
    cell: Ints
    where: Ints
    slot: Ints
    unsure: Bools
    blurred: Bools


def character_targets(classes: Ints, x: Floats, y: Floats, height: int, width: int) -> CharacterTargets:
    """Targets of an image of ``height`` x ``width`` pixels with characters of ``classes`` whose middles are x, y.

    In a patch column a space gives way to any other character.
    """
    rows, columns = height // CELL, width // CELL
    patch = np.zeros((rows * 2, columns * 2, COLUMNS), np.int64)
    cell = np.zeros((rows * columns, SLOTS), np.int64)
    where = np.full(len(classes), -1, np.int64)
    slot = np.full(len(classes), -1, np.int64)
    inside = np.flatnonzero((x >= 0) & (y >= 0) & (x < columns * CELL) & (y < rows * CELL))
    for spaces in (True, False):
        chosen = inside[(classes[inside] == BLANK) == spaces]
        at = (y[chosen] // PATCH).astype(int), (x[chosen] // PATCH).astype(int)
        patch[(*at, (x[chosen] % PATCH * COLUMNS / PATCH).astype(int))] = classes[chosen]
    _blur_columns(patch, x[inside], y[inside])
    where[inside] = (y[inside] // CELL).astype(np.int64) * columns + (x[inside] // CELL).astype(np.int64)
    order = inside[np.lexsort((x[inside], np.round(y[inside]), where[inside]))]  # by cell, then line, then column
    starts = np.flatnonzero(np.diff(where[order], prepend=-1))
    rank = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
    fits = rank < SLOTS
    slot[order[fits]] = rank[fits]
    cell[where[order[fits]], rank[fits]] = classes[order[fits]]
    unsure = _border_cells(x, y, rows, columns)
    cell[unsure.ravel()] = IGNORE
    blurred = (_to_border(x) < POINTER_MARGIN) | (_to_border(y) < POINTER_MARGIN)
    return CharacterTargets(patch, cell.reshape(rows, columns, SLOTS), where, slot, unsure, blurred)


def _blur_columns(patch: Ints, x: Floats, y: Floats) -> None:
    """Insist on nothing in empty columns next to which a character's middle lies."""
    rows, columns, _ = patch.shape
    flat = patch.reshape(rows, columns * COLUMNS)
    for dy in (-COLUMN_MARGIN, 0.0, COLUMN_MARGIN):
        for dx in (-COLUMN_MARGIN, 0.0, COLUMN_MARGIN):
            row = np.clip((y + dy) // PATCH, 0, rows - 1).astype(int)
            column = np.clip((x + dx) // (PATCH / COLUMNS), 0, columns * COLUMNS - 1).astype(int)
            near = flat[row, column] == NOTHING
            flat[row[near], column[near]] = IGNORE


def _to_border(at: Floats) -> Floats:
    """Distance of coordinates to the nearest border of a cell, in pixels."""
    distance: Floats = np.minimum(at % CELL, CELL - at % CELL)
    return distance


def _border_cells(x: Floats, y: Floats, rows: int, columns: int) -> Bools:
    """Cells on either side of a border that a character's middle lies on, ``[rows, columns]``."""
    unsure = np.zeros((rows, columns), bool)
    home = np.floor(y / CELL).astype(int), np.floor(x / CELL).astype(int)
    for dy in (-CELL_MARGIN, 0.0, CELL_MARGIN):
        for dx in (-CELL_MARGIN, 0.0, CELL_MARGIN):
            moved = np.floor((y + dy) / CELL).astype(int), np.floor((x + dx) / CELL).astype(int)
            crossed = (moved[0] != home[0]) | (moved[1] != home[1])
            for row, column in (home, moved):
                inside = crossed & (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
                unsure[row[inside], column[inside]] = True
    return unsure
