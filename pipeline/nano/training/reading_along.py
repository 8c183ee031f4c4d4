"""Whoever is asked for printed words finds them first, reading along with the question: what training tells of that.

A string is found among many by what stands before each of its characters. So cells are told what stands to their left,
the tokens of a question which ones precede them, and the head that looks for labels where each character stands.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline.nano.training import vocabulary
from pipeline.nano.training.entropy import looked_at, told
from pipeline.nano.training.shape import WIDTH
from pipeline.nano.training.targets import CLASSES, IGNORE, SLOTS
from pipeline.nano.training.tower import silence

_BACK = 3  # tokens of a question
LEFT_WEIGHT, BACK_WEIGHT, LOOK_WEIGHT = 0.6, 0.3, 1.0  # against each other


class AlongHeads(nn.Module):
    """Heads that exist in training only: characters of the cell to the left, and the tokens before."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Linear(WIDTH, SLOTS * CLASSES)
        self.back = nn.ModuleList(nn.Linear(WIDTH, vocabulary.SIZE) for _ in range(_BACK))
        silence(self)


@dataclass(frozen=True, slots=True)
class Along:
    """What reading along would tell of a batch.

    Attributes:
        heads: the heads.
        left: ``[B, N, SLOTS]`` the characters of the cell to the left of each.
        own: ``[B, T]`` the cell in which a token's own character is printed.
    """

    heads: AlongHeads
    left: Tensor
    own: Tensor

    def told(self, cells: Tensor, words: Tensor, ids: Tensor) -> Tensor:
        """Loss of what cells ``[B, N, WIDTH]`` and tokens ``[B, T, WIDTH]`` know of what stands before them."""
        loss = LEFT_WEIGHT * told(cells, self.heads.left, self.left)
        for number, head in enumerate(self.heads.back, 1):
            before = torch.where(self.own >= 0, ids.roll(number, 1), IGNORE)
            loss = loss + BACK_WEIGHT * told(words, head, before)
        return loss

    def looked(self, scores: Tensor) -> Tensor:
        """Loss of attention ``[B, T, 1 + N + T]``, which should look at each token's own character."""
        return LOOK_WEIGHT * looked_at(scores, self.own)


def left_of(cell: Tensor) -> Tensor:
    """The characters to the left of each cell, of cells beside print alone.

    Args:
        cell: ``[B, rows, columns, SLOTS]`` in raster order.

    Returns:
        ``[B, rows * columns, SLOTS]``.
    """
    left = torch.full_like(cell, IGNORE)
    left[:, :, 1:] = cell[:, :, :-1]
    printed = (left > 0).any(-1, keepdim=True)
    return torch.where(printed, left, IGNORE).flatten(1, 2)


def own_cells(pointer: Tensor, number: Tensor) -> Tensor:
    """The cell of each token's own character, which the token before it points at: ``[B, T]``.

    Args:
        pointer: ``[B, T]`` the cell of the character that follows a token.
        number: ``[B, T]`` the token's question.
    """
    own = torch.full_like(pointer, IGNORE)
    own[:, 1:] = torch.where(number[:, 1:] == number[:, :-1], pointer[:, :-1], IGNORE)
    return own
