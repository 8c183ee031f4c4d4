"""Stands in for CUDA graphs on a CPU: runs steps as on CUDA, and checks that a graph could repeat them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from glimpseprune.decode.greedy import Choice

Call = tuple[object, ...]


class Trace(TorchDispatchMode):
    """Notes the operations inside a ``with`` block: their numbers, shapes, and addresses of tensors from outside."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self._made: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        leaves = tree_leaves((args, kwargs))
        given = {_storage(leaf) for leaf in leaves if isinstance(leaf, Tensor)}
        self.calls.append((str(func), *map(self._noted, leaves)))
        out = func(*args, **(kwargs or {}))
        self._made |= {_storage(leaf) for leaf in tree_leaves(out) if isinstance(leaf, Tensor)} - given
        return out

    def _noted(self, leaf: object) -> object:
        if not isinstance(leaf, Tensor):
            return leaf
        outside = None if _storage(leaf) in self._made else leaf.data_ptr()
        return leaf.shape, leaf.stride(), leaf.dtype, outside


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


class RepeatedSteps:
    """Runs the first step of each key, and repeats that one instead of those that follow.

    As a graph does, it leaves the results where those of the first step were, and as a graph has to, it finds every
    number and every tensor from outside unchanged.

    Attributes:
        keys: key of each step.
        repeats: number of steps that were repeats.
    """

    def __init__(self, device: torch.device) -> None:
        self.keys: list[tuple[int, int]] = []
        self.repeats = 0
        self._first: dict[tuple[int, int], tuple[Callable[[], Choice], Choice, list[Call]]] = {}

    def forget(self) -> None:
        self._first.clear()

    def run(self, key: tuple[int, int], step: Callable[[], Choice], left: int) -> Choice:
        assert left > 0
        self.keys.append(key)
        if key not in self._first:
            with Trace() as trace:
                self._first[key] = step, step(), trace.calls
            return self._first[key][1]
        first, choice, calls = self._first[key]
        with Trace() as trace:
            again = first()
        assert trace.calls == calls
        for field in fields(choice):
            getattr(choice, field.name).copy_(getattr(again, field.name))
        self.repeats += 1
        return choice


def repeat_steps(monkeypatch: pytest.MonkeyPatch) -> list[RepeatedSteps]:
    """Decode as on CUDA from now on; the list gets what stands in for the graphs of each pool and page."""
    made: list[RepeatedSteps] = []

    def graphs_for(device: torch.device) -> RepeatedSteps:
        made.append(RepeatedSteps(device))
        return made[-1]

    for module in ("glimpseprune.decode.step", "glimpseprune.page"):
        monkeypatch.setattr(f"{module}.graphs_for", graphs_for)
    return made
