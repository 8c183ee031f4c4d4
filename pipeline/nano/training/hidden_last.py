"""Cells that a model is not shown go behind those it is: attention over the page is then causal and nothing else."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from pipeline.nano.training.language import Questions
from pipeline.nano.training.targets import IGNORE
from pipeline.nano.training.tower import Rotary

_OF_CELLS = ("tags", "offsets", "starts")


def hidden_last(
    image: Tensor, left: Tensor, questions: Questions, rotary: Rotary, seen: Tensor
) -> tuple[Tensor, Tensor, Questions, Rotary, Tensor]:
    """Order the cells of each page anew.

    On a CPU the cells that no page shows are cut off; a GPU would have to wait for their number.

    Args:
        image: ``[B, N, WIDTH]`` visual tokens in raster order.
        left: ``[B, N, SLOTS]`` what stands to the left of each.
        questions: their cells in raster order.
        rotary: cosines and sines ``[1 or B, 1, 1 + N + T, head]``.
        seen: ``[B, N]`` bool, the cells that the model is shown.

    Returns:
        The same, with the cells that are shown in raster order first.
    """
    batch, cells = seen.shape
    order = torch.argsort((~seen).to(torch.uint8), dim=1, stable=True)
    place = torch.empty_like(order).scatter_(1, order, torch.arange(cells, device=order.device).expand(batch, -1))
    if seen.device.type == "cpu":
        order = order[:, : int(seen.sum(1).max())]
    there = seen.gather(1, order)
    moved = {name: torch.where(there, getattr(questions, name).gather(1, order), IGNORE) for name in _OF_CELLS} | {
        name: torch.where(cell >= 0, place.gather(1, cell.clamp(min=0)), cell)
        for name, cell in (("pointer", questions.pointer), ("label", questions.label))
    }
    left = torch.where(there[..., None], left.gather(1, order[..., None].expand(-1, -1, left.shape[2])), IGNORE)
    image = image.gather(1, order[..., None].expand(-1, -1, image.shape[2]))
    cos, sin = (_turns(turns.expand(batch, -1, -1, -1), order, cells) for turns in rotary)
    return image, left, replace(questions, **moved), (cos, sin), there


def _turns(turns: Tensor, order: Tensor, cells: int) -> Tensor:
    of_cells = turns[:, :, 1 : 1 + cells].gather(2, order[:, None, :, None].expand(-1, 1, -1, turns.shape[3]))
    return torch.cat((turns[:, :, :1], of_cells, turns[:, :, 1 + cells :]), 2)
