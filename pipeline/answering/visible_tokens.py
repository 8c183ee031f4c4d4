"""Chooses the visual tokens of pages that the model gets to see: those that are not blank paper."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.families.base import ModelInput, PreparedImage
from pipeline.pages.blank_paper import visible_cells
from pipeline.records import Image


def visible_tokens(processor: ModelInput, pages: Sequence[Image], images: Sequence[PreparedImage]) -> Tensor | None:
    """Return which visual tokens of some pages to show, bool ``[N]``, page by page; ``None`` for all.

    Args:
        processor: model input of the checkpoint.
        pages: the pixels of each page, ``[height, width, 3]``.
        images: the same pages, prepared.
    """
    chosen = [processor.visible(page, image, visible_cells) for page, image in zip(pages, images, strict=True)]
    if all(mask is None for mask in chosen):
        return None
    every = (torch.ones(math.prod(processor.token_grid(image)), dtype=torch.bool) for image in images)
    return torch.cat([whole if mask is None else mask for mask, whole in zip(chosen, every, strict=True)])


def seen_on_page(processor: ModelInput, page: Image, drop_blank: bool) -> Tensor:
    """Return which visual tokens of a page are shown to the model, bool ``[N]``.

    Args:
        processor: model input of the checkpoint.
        page: pixels ``[height, width, 3]``.
        drop_blank: whether blank paper is hidden.
    """
    image = processor.prepare(page)
    seen = visible_tokens(processor, [page], [image]) if drop_blank else None
    return torch.ones(math.prod(processor.token_grid(image)), dtype=torch.bool) if seen is None else seen
