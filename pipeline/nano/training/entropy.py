"""Cross-entropies over what is to be learnt."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.nano.training.targets import IGNORE
from pipeline.nano.training.tower import linear


def told(x: Tensor, head: Any, target: Tensor) -> Tensor:
    """Cross-entropy of what a head tells from x; the classes of a target with more axes than x stand in its output.

    Args:
        x: ``[B, L, D]``.
        head: linear layer to C classes, or to K times C of them.
        target: ``[B, L]``, or ``[B, L, K]``.
    """
    logits = linear(x, head)
    return mean_entropy(logits.view(*target.shape, -1), target)


def looked_at(scores: Tensor, cell: Tensor) -> Tensor:
    """Cross-entropy of attention toward cells; the first key is the image's start.

    Args:
        scores: ``[B, T, page + T]`` before the softmax.
        cell: ``[B, T]``.
    """
    return mean_entropy(scores, torch.where(cell >= 0, cell + 1, cell))


def mean_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean cross-entropy over what is to be learnt; zero where nothing is, as on pages without fields."""
    flat = target.flatten()
    total = F.cross_entropy(logits.float().flatten(0, -2), flat, ignore_index=IGNORE, reduction="sum")
    return total / (flat != IGNORE).sum().clamp(min=1)
