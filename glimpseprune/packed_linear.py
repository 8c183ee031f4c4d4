"""Linear layers for CPUs whose weights are laid out for oneDNN's kernels once, instead of for MKL's in every call."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glimpseprune.probing import fastest_s

_ROWS = 64  # of the inputs that the layout is chosen for
_PROBE = (384, 768)  # rows and width: a product of 0.5 GFLOP, like those of a page
_LEAST_GAIN = 1.2
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
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
        return out


def pack_linears(module: nn.Module) -> None:
    """Replace every ``nn.Linear`` below a module, whose weights are freed one by one."""
    for name, child in module.named_children():
        if type(child) is nn.Linear:
            setattr(module, name, PackedLinear(child))
        else:
            pack_linears(child)


def packing_pays(dtype: torch.dtype) -> bool:
    """Measure whether packed layers are clearly faster on this machine, which takes a fraction of a second.

    They are not where they compute something else: oneDNN leaves out a part of a product if OpenMP gives it fewer
    threads than it counts on, as ``OMP_THREAD_LIMIT`` does, and is twice as fast then.

    Args:
        dtype: type of the weights.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    if dtype != torch.float32 and not (dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()):
        return False
    rows, width = _PROBE
    linear = nn.Linear(width, width, dtype=dtype).requires_grad_(False)
    packed, x = PackedLinear(linear), torch.ones(rows, width, dtype=dtype)
    with torch.inference_mode():
        found, want = packed(x).float(), F.linear(x, linear.weight, linear.bias).float()
        if not torch.allclose(found, want, rtol=_TOLERANCE, atol=_TOLERANCE):
            return False
        plain_s, packed_s = fastest_s(x.device, lambda: F.linear(x, linear.weight, linear.bias), lambda: packed(x))
    return plain_s > _LEAST_GAIN * packed_s
