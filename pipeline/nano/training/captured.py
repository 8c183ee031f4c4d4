"""Losses with their gradients as CUDA graphs: the model is so small that launching its kernels takes longest.

Nearly all batches have one of a few shapes. Each shape is captured once, and replayed on other tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

Inputs = dict[str, Tensor]
Work = Callable[[Inputs], tuple[Tensor, dict[str, Tensor]]]
_WARM_UPS = 2  # kernels are chosen and constants made before anything is captured


class CapturedLosses:
    """Computes a loss of tensors as a graph for each set of their names and shapes.

    Args:
        work: computes loss and figures of tensors on the device, without waiting for it.
        parameters: what the loss is differentiated by.
    """

    def __init__(self, work: Work, parameters: Sequence[nn.Parameter]) -> None:
        self._work, self._parameters = work, parameters
        self._graphs: dict[Any, _Graph] = {}
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, inputs: Inputs) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute loss and figures, which hold until the next call; gradients of the loss are ready.

        Args:
            inputs: tensors on the device.
        """
        key = tuple((name, tensor.shape) for name, tensor in inputs.items())
        if key not in self._graphs:
            self._graphs[key] = _Graph(self._work, self._parameters, inputs, self._pool)
        graph = self._graphs[key]
        graph.replay(inputs)
        return _Ready.apply(graph, *graph.parameters), graph.figures  # type: ignore[no-untyped-call]


class _Graph:
    """One shape's graph with its inputs and outputs, which stay where they are."""

    def __init__(self, work: Work, parameters: Sequence[nn.Parameter], inputs: Inputs, pool: Any) -> None:
        self._inputs = {name: tensor.clone() for name, tensor in inputs.items()}
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UPS):
                loss, _ = work(self._inputs)
                gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        torch.cuda.current_stream().wait_stream(aside)
        pairs = [pair for pair in zip(parameters, gradients, strict=True) if pair[1] is not None]
        self.parameters = [parameter for parameter, _ in pairs]
        # Outside the pool, which all graphs write to.
        self.gradients = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.loss = torch.zeros_like(loss.detach())
        self.figures: dict[str, Tensor] = {}
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, pool=pool, capture_error_mode="thread_local"):
            loss, figures = work(self._inputs)
            found = torch.autograd.grad(loss, self.parameters)
            torch._foreach_copy_(self.gradients, list(found))
            self.loss.copy_(loss.detach())
            self.figures = figures

    def replay(self, inputs: Inputs) -> None:
        torch._foreach_copy_(list(self._inputs.values()), [inputs[name] for name in self._inputs])
        self._graph.replay()


class _Ready(torch.autograd.Function):
    """A loss whose gradients are known."""

    @staticmethod
    def forward(ctx: Any, graph: _Graph, *parameters: Tensor) -> Tensor:
        ctx.gradients = graph.gradients
        return graph.loss.clone()

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> Any:
        return None, *torch._foreach_mul(ctx.gradients, outer[0])
