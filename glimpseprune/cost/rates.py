"""Measures what operations of each kind take on a machine, which counts of operations do not tell.

A fused attention or a small product takes several times as long per operation as a large product, and a layer that
decodes few tokens takes as long as it takes to begin it. The kinds are timed on one layer, in a second or a few.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from glimpseprune.cost.flops import DecoderShape, Operations
from glimpseprune.decode.cache import PrefillCache
from glimpseprune.families.base import Backbone, Rotary
from glimpseprune.methods.base import Method
from glimpseprune.model import GlimpseModel
from glimpseprune.probing import fastest_s
from glimpseprune.without_cudnn import without_cudnn

_SHORT, _LONG = 128, 768  # tokens of the two timed runs
_SIDE = 28  # rows and columns of the timed image
_QUESTIONS = 2


@dataclass(frozen=True, slots=True)
class Rates:
    """Holds the seconds that one operation of each kind takes (:class:`~glimpseprune.cost.flops.Operations`)."""

    linear: float
    attention: float
    predictor: float
    layer_run: float

    def seconds(self, operations: Operations, pages_together: float = 1.0) -> float:
        """Predict the time of operations in seconds.

        Args:
            operations: counts by kind.
            pages_together: number of pages that share the runs that decode.
        """
        runs = operations.layer_runs - operations.decode_runs * (1 - 1 / pages_together)
        return (
            operations.linear * self.linear
            + operations.attention * self.attention
            + operations.predictor * self.predictor
            + runs * self.layer_run
        )


EQUAL = Rates(1e-12, 1e-12, 1e-12, 0.0)
"""Rates where nothing was measured: every operation takes the same, so that their number decides."""


@torch.inference_mode()
@without_cudnn
def measure_rates(model: GlimpseModel) -> Rates:
    """Time one layer and the predictor of a loaded model, with the threads that torch uses now.

    Args:
        model: loaded model with a pruning method.
    """
    backbone, shape = model.backbone, DecoderShape.of(model.backbone.shape)
    lengths = (1, _SHORT, _LONG)
    once, short, long = fastest_s(backbone.device, *(_layer(backbone, tokens) for tokens in lengths))
    # Two runs of a layer are two equations for the seconds of a linear and of an attention operation.
    few, many = shape.layer(_SHORT, _SHORT), shape.layer(_LONG, _LONG)
    counts = torch.tensor([[few.linear, few.attention], [many.linear, many.attention]], dtype=torch.float64)
    found = torch.linalg.solve(counts, torch.tensor([short - once, long - once], dtype=torch.float64)).tolist()
    linear, attention = (found[0], found[1]) if min(found) > 0 else [(long - once) / many.flops] * 2
    predictor = linear if model.method is None else _predictor_rate(backbone, model.method)
    return Rates(linear, attention, predictor, once)


def _layer(backbone: Backbone, tokens: int) -> Callable[[], Tensor]:
    hidden = _ones(backbone, 1, tokens, backbone.shape.hidden_size)
    positions = torch.arange(tokens, device=backbone.device).expand(backbone.rotary_axes, 1, -1)
    rotary: Rotary = backbone.rotary(positions)
    return lambda: backbone.run_layer(0, hidden, rotary, PrefillCache())


def _predictor_rate(backbone: Backbone, method: Method) -> float:
    cells = _SIDE * _SIDE
    features = [_ones(backbone, cells, backbone.shape.vision_hidden_size) for _ in method.vision_layers]
    width = len(method.attention_layers) * backbone.shape.num_attention_heads
    attention = _ones(backbone, _QUESTIONS, cells, width)
    grid = (_SIDE, _SIDE)
    (seconds,) = fastest_s(backbone.device, lambda: method.score(attention, method.precompute(features, grid)))
    return seconds / (method.precompute_flops(cells) + _QUESTIONS * method.score_flops(cells))


def _ones(backbone: Backbone, *sizes: int) -> Tensor:
    return torch.ones(sizes, device=backbone.device, dtype=backbone.dtype)
