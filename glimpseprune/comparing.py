"""Prefills the questions of a page by the methods that GlimpsePrune is compared with, at a given number of tokens."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from glimpseprune.decode.prefilled import Prefilled
from glimpseprune.errors import UnsupportedModelError
from glimpseprune.families.base import TellsTowerAttention
from glimpseprune.generation import measured
from glimpseprune.methods.attention import FASTV_LAYER, MeanAttention
from glimpseprune.methods.base import Method
from glimpseprune.methods.cdpruner import CDPruner
from glimpseprune.methods.divprune import DivPrune
from glimpseprune.methods.early import EarlyMethod
from glimpseprune.methods.grid import UniformGrid
from glimpseprune.methods.pyramiddrop import PyramidDrop, StagedMethod
from glimpseprune.methods.visionzip import VisionZip
from glimpseprune.methods.vscan import GlobalAndLocalScan, OneDrop, VScan
from glimpseprune.model import GlimpseModel
from glimpseprune.page import EncodedPage
from glimpseprune.prefill.early import prefill_early, reduced_prompt
from glimpseprune.prefill.staged import prefill_staged
from glimpseprune.prefill.visible import over_all_tokens
from glimpseprune.received_attention import ReceivedAttention
from glimpseprune.stats import PruneStats, now_ms
from glimpseprune.without_cudnn import without_cudnn

Apart = EarlyMethod | StagedMethod | VScan
"""Methods that need a prefill of their own."""
Contender = Method | Apart


def contender(name: str, model: GlimpseModel) -> Contender:
    """Make a method to compare with; where its paper leaves the layer open, that of the model's add-on holds.

    Args:
        name: ``glimpse-fixed``, ``mean-attention``, ``last-token``, ``fastv``, ``grid``, ``pyramiddrop``,
            ``visionzip``, ``vscan``, ``divprune`` or ``cdpruner``.
        model: model with an add-on.

    Raises:
        UnsupportedModelError: the model has no add-on, or lacks what the method needs.
    """
    glimpse, shape = model.method, model.backbone.shape
    if glimpse is None:
        raise UnsupportedModelError(f"{name} takes its layer from an add-on, found none; load one beside the model")
    if name in ("visionzip", "vscan") and not isinstance(model.backbone, TellsTowerAttention):
        raise UnsupportedModelError(
            f"{name} needs a family whose vision tower tells its attention; leave the method out"
        )
    pyramid = PyramidDrop(shape.num_hidden_layers)
    if name == "pyramiddrop":
        shape.check_prune_layer(min(pyramid.layers))
    made: dict[str, Contender] = {
        "glimpse-fixed": glimpse,
        "mean-attention": MeanAttention(glimpse.prune_layer, glimpse),
        "last-token": MeanAttention(glimpse.prune_layer),
        "fastv": MeanAttention(max(FASTV_LAYER, shape.deep_layers)),
        "grid": UniformGrid(glimpse.prune_layer),
        "pyramiddrop": pyramid,
        "visionzip": VisionZip(),
        "vscan": VScan(GlobalAndLocalScan(), OneDrop(max(1, glimpse.prune_layer))),
        "divprune": DivPrune(),
        "cdpruner": CDPruner(),
    }
    return made[name]


@torch.inference_mode()
@without_cudnn
def prefill_compared(
    page: EncodedPage, method: Apart, questions: Sequence[Tensor], counts: Sequence[int]
) -> tuple[list[Prefilled], list[PruneStats]]:
    """Prefill questions about one page, each alone.

    Args:
        page: page with one image.
        method: method that works before the language model, in stages, or both.
        questions: token ids ``[T_q]`` of each prompt after the prefix.
        counts: number of visual tokens that stay for each, in 1..N.

    Raises:
        InputError: a question is empty.
    """
    (image,), backbone = page.images, page.model.backbone
    early = method.early if isinstance(method, VScan) else method
    tower = _tower(page) if isinstance(early, EarlyMethod) and early.reads_tower else None
    sequences, stats = [], []
    for prompt, count in zip(page.prompts(questions), counts, strict=True):
        start, seen = now_ms(backbone.device), min(count, len(image.tokens))
        if isinstance(method, VScan):
            first = method.first_count(len(image.tokens), seen)
            shorter, some, keep = reduced_prompt(backbone, method.early, prompt, image, tower, first)
            sequence = prefill_staged(backbone, method.staged, shorter, some, seen)
            sequence.keep = keep.masked_scatter(keep, sequence.keep)
            sequence.scores = torch.where(sequence.keep, 1.0, -1.0)
        elif isinstance(method, EarlyMethod):
            sequence = prefill_early(backbone, method, prompt, image, tower, seen)
        else:
            sequence = prefill_staged(backbone, method, prompt, image, seen)
        sequences.append(sequence)
        token_bytes = sequence.cache.nbytes // sequence.cache.tokens
        stats.append(measured(prompt, sequence, token_bytes, now_ms(backbone.device) - start))
    return (sequences, stats) if page.visible is None else over_all_tokens(sequences, stats, page.visible)


def _tower(page: EncodedPage) -> ReceivedAttention:
    backbone = page.model.backbone
    if not isinstance(backbone, TellsTowerAttention):
        raise UnsupportedModelError("expected a backbone that tells the attention of its tower; see contender()")
    return backbone.tower_attention(page.pixels[0], page.grids[0], page.visible)
