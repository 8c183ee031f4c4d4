"""Chooses the type in which a CPU computes: float32, unless its products of bfloat16 are clearly faster and right."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glimpseprune import golden
from glimpseprune.errors import StackError
from glimpseprune.packed_linear import PackedLinear
from glimpseprune.probing import fastest_s

_TOKENS, _WIDTH, _MLP, _HEADS = 512, 768, 3072, 12  # of the timed piece of a layer, 10 GFLOP
_LEAST_GAIN = 1.2


def cpu_dtype() -> torch.dtype:
    """Choose the type of a model on this CPU, in a second or two.

    Emulated 16 bits, on a CPU without instructions for them, are slower than float32 and less exact.
    """
    if not _has_bfloat16_products():
        return torch.float32
    pieces = [_piece(dtype, layer) for dtype in (torch.float32, torch.bfloat16) for layer in (_plain, PackedLinear)]
    with torch.inference_mode():
        plain, packed, *halves = fastest_s(torch.device("cpu"), *pieces)
    if min(plain, packed) < _LEAST_GAIN * min(halves):
        return torch.float32
    try:
        golden.check("cpu", torch.bfloat16)
    except StackError:
        return torch.float32
    return torch.bfloat16


def _has_bfloat16_products() -> bool:
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _plain(linear: nn.Linear) -> nn.Module:
    return linear


def _piece(dtype: torch.dtype, wrap: Callable[[nn.Linear], nn.Module]) -> Callable[[], Tensor]:
    """Make a piece of a decoder layer: attention, and an MLP whose linear layers are wrapped."""
    up, down = (
        wrap(nn.Linear(*sizes, dtype=dtype).requires_grad_(False)) for sizes in ((_WIDTH, _MLP), (_MLP, _WIDTH))
    )
    x = torch.ones(1, _HEADS, _TOKENS, _WIDTH // _HEADS, dtype=dtype)

    def run() -> Tensor:
        attended = F.scaled_dot_product_attention(x, x, x, is_causal=True).transpose(1, 2).flatten(2)
        out: Tensor = down(F.silu(up(attended)))
        return out

    return run
