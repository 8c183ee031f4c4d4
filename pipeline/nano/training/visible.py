"""Pages that are seen without some of their visual tokens, for a tower that runs a batch of pages at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.nano.training.tower import raster_order

HIDDEN = -1e9  # added to the attention scores of what is not there


@dataclass(frozen=True, slots=True)
class Visible:
    """Which visual tokens of B pages are seen, at most K of a page; pages that have fewer are filled up.

    Attributes:
        cells: ``[B, K]`` places in raster order, ascending; what fills up is 0.
        present: ``[B, K]`` bool, false for what fills up.
        windowed: ``[B, K]`` the same places in the order of the merged tokens, ascending, what fills up last.
        known: ``[B, K]`` bool, ``present`` in that order.
        raster: ``[B, K]`` for each of ``cells`` its index in ``windowed``.
    """

    cells: Tensor
    present: Tensor
    windowed: Tensor
    known: Tensor
    raster: Tensor

    @property
    def hidden(self) -> Tensor:
        """``[B, K]`` to add to attention scores over the cells in raster order."""
        return torch.where(self.present, 0.0, HIDDEN)

    @property
    def patches(self) -> Tensor:
        """``[B, 4 K]`` the patches of ``windowed`` in window order."""
        four = torch.arange(4, device=self.windowed.device)
        return (self.windowed[..., None] * 4 + four).flatten(1)

    def to(self, device: torch.device) -> Visible:
        """The same on a device."""
        return Visible(*(getattr(self, name).to(device) for name in Visible.__slots__))

    def of_cells(self, values: Tensor) -> Tensor:
        """Values ``[B, N, ...]`` in raster order at ``cells``."""
        return values.take_along_dim(_like(self.cells, values), 1)

    def of_windowed(self, values: Tensor, filler: int) -> Tensor:
        """Values ``[B, N, ...]`` in the order of the merged tokens at ``windowed``; what fills up gets ``filler``."""
        found = values.take_along_dim(_like(self.windowed, values), 1)
        return torch.where(_like(self.known, values), found, torch.full_like(found, filler))

    def in_raster_order(self, values: Tensor) -> Tensor:
        """Values ``[B, K, D]`` at ``windowed`` in the order of ``cells``."""
        return values.take_along_dim(_like(self.raster, values), 1)


def make_visible(masks: Tensor, rows: int, columns: int) -> Visible:
    """The visible tokens of pages from masks ``[B, N]`` (bool, raster order)."""
    most = int(masks.sum(1).max())
    order = torch.argsort(~masks, dim=1, stable=True)[:, :most]
    present = masks.gather(1, order)
    cells = torch.where(present, order, 0)
    places = torch.where(present, raster_order(rows, columns).to(masks.device)[cells], rows * columns)
    windowed, by_window = places.sort(dim=1)
    known = windowed < rows * columns
    return Visible(cells, present, torch.where(known, windowed, 0), known, by_window.argsort(dim=1))


def _like(index: Tensor, values: Tensor) -> Tensor:
    return index.view(*index.shape, *[1] * (values.ndim - 2))
