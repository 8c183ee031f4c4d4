"""Linear layers for CPUs whose weights are laid out for oneDNN's kernels once, instead of for MKL's in every call."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from glimpseprune.probing import fastest_s
from glimpseprune.row_sizes import in_rounded_rows

_ROWS = 64  # of the inputs that the layout is chosen for
_PROBE = (768, 4096)  # inputs and outputs of the timed layer
_PREFILL_ROWS, _DECODE_ROWS, _STEPS = 384, 16, 16  # of a page: one product over many rows, then many over few
_LEAST_GAIN = 1.15
_TOLERANCE = 2e-2  # bfloat16 has three digits


class PackedLinear(nn.Module):
    """Computes what an ``nn.Linear`` does, on a CPU and without gradients.

    Args:
        linear: layer to replace, in float32 or bfloat16; its weight is copied.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight = linear.weight.detach().contiguous()
        self.register_buffer("weight", torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS), persistent=False)
        self.bias = None if linear.bias is None else linear.bias.detach()

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer: ``[..., in_features] -> [..., out_features]``."""
        return in_rounded_rows(self._product, x)

    def _product(self, rows: Tensor) -> Tensor:
        out: Tensor = torch.ops.mkldnn._linear_pointwise(rows, self.weight, self.bias, "none", [], "")
        return out


def pack_linears(module: nn.Module) -> None:
    """Replace every ``nn.Linear`` below a module, whose weights are freed one by one."""
    for name, child in module.named_children():
        if type(child) is nn.Linear:
            setattr(module, name, PackedLinear(child))
        else:
            pack_linears(child)


def packing_pays(dtype: torch.dtype) -> bool:
    """Tell whether packed layers are clearly faster on this machine, which takes a fraction of a second.

    Products of bfloat16 are oneDNN's in either case, and lay plain weights out again in every call. In float32 it is
    measured, prefill and decode together: MKL is as fast as oneDNN where rows are many, and takes two or three times as
    long where they are few. Packed layers do not pay where they compute something else: oneDNN leaves out a part of a
    product if OpenMP gives it fewer threads than it counts on, as ``OMP_THREAD_LIMIT`` does, and is twice as fast.

    Args:
        dtype: type of the weights.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    if dtype != torch.float32 and not (dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()):
        return False
    linear = nn.Linear(*_PROBE, dtype=dtype).requires_grad_(False)
    packed = PackedLinear(linear)
    many, few = (torch.ones(rows, linear.in_features, dtype=dtype) for rows in (_PREFILL_ROWS, _DECODE_ROWS))
    with torch.inference_mode():
        for x in (few, many):  # what takes little first
            if not torch.allclose(packed(x).float(), linear(x).float(), rtol=_TOLERANCE, atol=_TOLERANCE):
                return False
        if dtype == torch.bfloat16:
            return True
        runs = [partial(layer, x) for layer in (linear, packed) for x in (many, few)]
        plain_many, plain_few, packed_many, packed_few = fastest_s(many.device, *runs)
    return plain_many + _STEPS * plain_few > _LEAST_GAIN * (packed_many + _STEPS * packed_few)
