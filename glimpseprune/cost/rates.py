"""Measures what operations of each kind take on a machine, which counts of operations do not tell.

A fused attention or a small product takes several times as long per operation as a large product, and a layer that
decodes few tokens takes as long as it takes to begin it. A small predictor spends its time between its products. The
kinds are timed on one layer, in a second or a few.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

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
_SIDES = (14, 28)  # rows and columns of the two timed images
_QUESTIONS = 2


@dataclass(frozen=True, slots=True)
class Rates:
    """Holds the seconds that one of each kind takes (:class:`~glimpseprune.cost.flops.Operations`)."""

    linear: float
    attention: float
    predictor: float
    predictor_token: float
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
            + operations.predictor_tokens * self.predictor_token
            + runs * self.layer_run
        )


EQUAL = Rates(1e-12, 1e-12, 1e-12, 0.0, 0.0)
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
    few, many = shape.layer(_SHORT, _SHORT), shape.layer(_LONG, _LONG)
    linear, attention = _solved((few.linear, few.attention, short - once), (many.linear, many.attention, long - once))
    if min(linear, attention) <= 0:
        linear = attention = (long - once) / many.flops
    predictor, token = (linear, 0.0) if model.method is None else _predictor_rates(backbone, model.method)
    return Rates(linear, attention, predictor, token, once)


def _solved(first: tuple[float, float, float], second: tuple[float, float, float]) -> tuple[float, float]:
    """Solve two equations ``a x + b y = seconds``, given as (a, b, seconds), of two runs that differ in size."""
    (a, b, short), (c, d, long) = first, second
    x, y = torch.linalg.solve(
        torch.tensor([[a, b], [c, d]], dtype=torch.float64), torch.tensor([short, long], dtype=torch.float64)
    ).tolist()
    return x, y


def _layer(backbone: Backbone, tokens: int) -> Callable[[], Tensor]:
    hidden = _ones(backbone, 1, tokens, backbone.shape.hidden_size)
    positions = torch.arange(tokens, device=backbone.device).expand(backbone.rotary_axes, 1, -1)
    rotary: Rotary = backbone.rotary(positions)
    return lambda: backbone.run_layer(0, hidden, rotary, PrefillCache())


def _predictor_rates(backbone: Backbone, method: Method) -> tuple[float, float]:
    """Time the predictor on a small image and a large one; its time is that of its operations and of its tokens."""
    width = len(method.attention_layers) * backbone.shape.num_attention_heads
    counts = []
    runs = []
    for side in _SIDES:
        cells = side * side
        features = [_ones(backbone, cells, backbone.shape.vision_hidden_size) for _ in method.vision_layers]
        attention = _ones(backbone, _QUESTIONS, cells, width)
        runs.append(partial(_score, method, attention, features, (side, side)))
        operations = method.precompute_flops(cells) + _QUESTIONS * method.score_flops(cells)
        counts.append((operations, _QUESTIONS * cells))
    short, long = fastest_s(backbone.device, *runs)
    (few, small), (many, large) = counts
    operation, token = _solved((few, small, short), (many, large, long))
    if token <= 0:
        return long / many, 0.0
    return (operation, token) if operation > 0 else (0.0, long / large)


def _score(method: Method, attention: Tensor, features: Sequence[Tensor], grid: tuple[int, int]) -> Tensor:
    return method.score(attention, method.precompute(features, grid))


def _ones(backbone: Backbone, *sizes: int) -> Tensor:
    return torch.ones(sizes, device=backbone.device, dtype=backbone.dtype)
