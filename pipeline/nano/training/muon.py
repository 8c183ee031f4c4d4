"""Optimisers of the embedded model: Muon for the matrices inside its blocks, AdamW for everything else.

With AdamW alone the same characters take about five times the steps.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

_MOMENTUM = 0.95
_INSIDE = (".blocks.", ".layers.", ".merger.")


def fast_dtype(device: torch.device) -> torch.dtype:
    """Precision to train in: bfloat16 where the hardware multiplies it, else float32, which is ten times faster."""
    hardware = device.type != "cpu" or torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.bfloat16 if hardware else torch.float32


class Muon(torch.optim.Optimizer):
    """Momentum, then the nearest semi-orthogonal step (Jordan et al., 2024, "Muon").

    The matrices of a group have one shape. A group's ``stacked`` says how many matrices each of its parameters holds
    one above the other: 3 for a joint q, k, v.
    """

    def __init__(self, groups: Iterable[dict[str, Any]]) -> None:
        super().__init__(groups, {"lr": 0.02, "stacked": 1})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient; a closure is not supported and is ignored."""
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not parameters:
                continue
            for parameter in parameters:
                if not self.state[parameter]:
                    self.state[parameter]["momentum"] = torch.zeros_like(parameter)
            gradients: list[Tensor] = [parameter.grad for parameter in parameters if parameter.grad is not None]
            momenta: list[Tensor] = [self.state[parameter]["momentum"] for parameter in parameters]
            torch._foreach_lerp_(momenta, gradients, 1 - _MOMENTUM)
            ahead = torch.stack(torch._foreach_lerp(gradients, momenta, _MOMENTUM))  # Nesterov
            matrices = ahead.view(len(parameters) * group["stacked"], -1, ahead.shape[-1])
            tall = max(1.0, matrices.shape[-2] / matrices.shape[-1]) ** 0.5
            updates = orthogonalise(matrices).view_as(ahead).unbind()
            torch._foreach_add_(parameters, updates, alpha=-group["lr"] * tall)


def orthogonalise(matrices: Tensor, steps: int = 5) -> Tensor:
    """All singular values towards 1, by a quintic Newton-Schulz iteration: ``[..., rows, columns]``."""
    x = matrices.to(fast_dtype(matrices.device))
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        square = x @ x.mT
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    out: Tensor = (x.mT if tall else x).to(matrices.dtype)
    return out


def make_optimizers(
    named: Iterable[tuple[str, nn.Parameter]], muon_rate: float, adam_rate: float
) -> list[torch.optim.Optimizer]:
    """Optimisers over named parameters."""
    inside: dict[tuple[torch.Size, int], list[nn.Parameter]] = {}
    adam: list[nn.Parameter] = []
    for name, parameter in named:
        if parameter.ndim == 2 and any(part in name for part in _INSIDE):
            inside.setdefault((parameter.shape, 3 if ".qkv." in name else 1), []).append(parameter)
        else:
            adam.append(parameter)
    muon = [{"params": same, "stacked": stacked, "lr": muon_rate} for (_, stacked), same in inside.items()]
    return [Muon(muon), torch.optim.AdamW(adam, lr=adam_rate, betas=(0.9, 0.95), weight_decay=0.0)]
