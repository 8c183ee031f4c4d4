"""Selects the visual tokens that stay, from their scores and a keep rule."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from glimpseprune.rule import KeepRule


@dataclass(frozen=True, slots=True)
class Selection:
    """Holds a selection of the visual tokens of one image.

    Attributes:
        keep: mask of the visual tokens that stay, bool ``[N]``.
        floor_hit: true if the rule's floor decided.
        cap_hit: true if the rule's cap decided.
    """

    keep: Tensor
    floor_hit: bool
    cap_hit: bool


def select(
    scores: Tensor,
    rule: KeepRule,
    grid: tuple[int, int],
    cells: Tensor | None = None,
    inked: Tensor | None = None,
) -> Selection:
    """Apply a rule to the scores of one image.

    If the cap or the floor decides, the tokens with the best scores stay. The cap is a share of the whole grid.

    Args:
        scores: importance logits ``[N]``, higher = keep.
        rule: keep rule.
        grid: rows and columns of visual tokens.
        cells: raster indices ``[N]`` of the tokens, increasing; ``None`` for the whole grid, N = rows * columns.
        inked: tokens that are no blank paper, bool ``[N]``; ``None`` counts all as such.
    """
    total, whole = scores.numel(), grid[0] * grid[1]
    likely = torch.sigmoid(scores.float())
    passed = likely > rule.threshold
    if rule.reach or rule.margin:
        passed = _grown(passed, likely > rule.reach_threshold, inked, rule, grid, cells)
    keep = passed | _anchors(passed, rule.anchor, grid, cells)
    cap_hit = rule.max_ratio is not None and int(keep.sum()) > rule.max_ratio * whole
    if rule.max_ratio is not None and cap_hit:
        passed = keep = _best(scores, int(rule.max_ratio * whole))
    floor_hit = int(passed.sum()) < min(rule.min_tokens, total)
    if floor_hit:
        best = _best(scores, min(rule.min_tokens, total))
        keep = best if cap_hit else keep | best
    return Selection(keep, floor_hit, cap_hit)


def _grown(
    keep: Tensor,
    reachable: Tensor,
    inked: Tensor | None,
    rule: KeepRule,
    grid: tuple[int, int],
    cells: Tensor | None,
) -> Tensor:
    """Grow a mask ``[N]`` to the right within reach, over a mask ``[N]``, then by the margin, over tokens with ink."""
    places = slice(None) if cells is None else cells
    masks = keep.new_zeros(3, grid[0] * grid[1])
    masks[:, places] = torch.stack((keep, reachable, torch.ones_like(keep) if inked is None else inked))
    area, within_reach, within_margin = masks.view(3, *grid).unbind()
    edge = area
    for _ in range(rule.reach):
        edge = F.pad(edge[:, :-1], (1, 0)) & within_reach
        area = area | edge
    if rule.margin:
        side = 2 * rule.margin + 1
        around = F.max_pool2d(area[None].float(), side, stride=1, padding=rule.margin)[0] > 0
        area = area | (around & within_margin)
    return area.flatten()[places]


def _anchors(like: Tensor, every: int, grid: tuple[int, int], cells: Tensor | None) -> Tensor:
    """Mark one token per ``every`` columns in one row per ``every`` rows, bool ``[N]``; none for 0."""
    if not every:
        return torch.zeros_like(like)
    area = like.new_zeros(grid)
    area[::every, ::every] = True
    return area.flatten() if cells is None else area.flatten()[cells]


def _best(scores: Tensor, count: int) -> Tensor:
    """Mark the ``count`` highest scores, bool ``[N]``."""
    keep = torch.zeros_like(scores, dtype=torch.bool)
    keep[scores.topk(count).indices] = True
    return keep
