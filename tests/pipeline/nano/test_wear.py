"""A worn page still shows its characters where the targets say."""

from __future__ import annotations

import random

import numpy as np
import torch

from pipeline.nano.training.pages import Asking, page_batch
from pipeline.nano.training.recipe import SOURCES
from pipeline.nano.training.wear import wear


def test_the_places_move_with_the_picture() -> None:
    rng = random.Random(1)
    x, y = np.array([40.5, 300.5, 610.5], np.float32), np.array([50.5, 200.5, 350.5], np.float32)
    moved = 0.0
    for _ in range(12):
        grey = np.full((400, 640), 255, np.uint8)
        for column, row in zip(x.astype(int), y.astype(int), strict=True):
            grey[row - 2 : row + 3, column - 2 : column + 3] = 0
        worn, new_x, new_y = wear(rng, grey, x, y)
        moved = max(moved, float(np.abs(new_x - x).max()), float(np.abs(new_y - y).max()))
        for column, row in zip(new_x, new_y, strict=True):
            around = worn[int(row) - 8 : int(row) + 9, int(column) - 8 : int(column) + 9].astype(float)
            weight = np.clip(around.max() - around - 60, 0, None)
            down, across = np.indices(around.shape)
            assert abs((weight * (down + int(row) - 8)).sum() / weight.sum() + 0.5 - row) < 1.0
            assert abs((weight * (across + int(column) - 8)).sum() / weight.sum() + 0.5 - column) < 1.0
    assert moved > 3


def test_a_worn_batch_has_the_questions_of_a_clean_one_and_other_pixels() -> None:
    family, asking = SOURCES["small"].family, Asking(4, 1, 128)
    clean = page_batch(5, 2, family, asking)
    worn, again = (page_batch(5, 2, family, asking, worn=True) for _ in range(2))
    assert torch.equal(worn.pixels, again.pixels)
    assert worn.pixels.shape == clean.pixels.shape
    assert not torch.equal(worn.pixels, clean.pixels)
