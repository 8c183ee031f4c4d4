"""Runs a model of any size without its weights: floats have shapes only, whole numbers and masks have values.

Prompts, positions, windows and masks are whole numbers, by which the code decides where things go; they are computed.
Whatever comes of weights is on the meta device, where nothing takes memory, and where a value that the host asks for
raises an error. One such question has an answer: which tokens a step chose, as rows of token, log-probability and that
of the next best one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, UntypedStorage
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

META = torch.device("meta")
CHOSEN = (7, -0.5, -1.5)  # the token of every step


@dataclass
class Walk:
    """What was seen on the way.

    Attributes:
        reads: shapes of the tensors of which the host read what a step chose.
        real_bytes: size of the largest tensor that had values.
        overwritten: storages of whole numbers into which something without a value was written.
    """

    reads: list[tuple[int, ...]] = field(default_factory=list)
    real_bytes: int = 0
    overwritten: dict[int, UntypedStorage] = field(default_factory=dict)

    def unknown(self, tensor: Tensor) -> bool:
        """Tell whether a tensor has no values, or no longer those that it holds."""
        return tensor.device == META or tensor.untyped_storage()._cdata in self.overwritten

    def overwrite(self, tensor: Tensor) -> None:
        """Note that a tensor, and whatever shares its memory, has no values any more."""
        if tensor.device != META:
            storage = tensor.untyped_storage()
            self.overwritten[storage._cdata] = storage


@contextmanager
def shapes_only() -> Iterator[Walk]:
    """Hold all within: a model on the meta device is walked through, with prompts that have values."""
    walk = Walk()
    with _Values(walk), _Reads(walk):
        yield walk


@dataclass(frozen=True)
class _Layout:
    shape: torch.Size
    stride: tuple[int, ...]
    dtype: torch.dtype


def _layout(tensor: Tensor) -> _Layout:
    return _Layout(tensor.shape, tensor.stride(), tensor.dtype)


def _of_layout(layout: _Layout) -> Tensor:
    return torch.empty_strided(layout.shape, layout.stride, dtype=layout.dtype, device=META)


class _Values(TorchDispatchMode):
    """Computes whole numbers on the CPU, wherever they are asked to be, unless they come of floats."""

    def __init__(self, walk: Walk) -> None:
        super().__init__()
        self.walk = walk
        self.known: dict[tuple[Any, ...], Any] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        found: list[Tensor] = []
        tree_map_only(Tensor, found.append, (args, kwargs))
        if any(map(self.walk.unknown, found)):
            return self._on_meta(func, args, kwargs)
        out = func(*args, **kwargs)
        if kwargs.get("device") == META and isinstance(out, Tensor) and not out.is_floating_point():
            out = func(*args, **{**kwargs, "device": torch.device("cpu")})
        tree_map_only(Tensor, self._look_at, out)
        return out

    def _on_meta(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Run an operation on shapes; one that was run on the same shapes is not run again, as layers are many."""
        mutable = func._schema.is_mutable
        if mutable:
            self.walk.overwrite(args[0])
        if func in _INDEXED:  # a mask that has values says how many places it means
            args = [args[0], [place for one in args[1] for place in _places(one)], *args[2:]]
        leaves, tree = tree_flatten((args, kwargs))
        key = (func, str(tree), *(_layout(leaf) if isinstance(leaf, Tensor) else leaf for leaf in leaves))
        views = not mutable and any(result.alias_info is not None for result in func._schema.returns)
        if views or key not in self.known:
            same, others = tree_map_only(Tensor, lambda tensor: tensor.to(META), (args, kwargs))
            out = func(*same, **others)
            self.known[key] = tree_map_only(Tensor, _layout, out)
            return args[0] if mutable else out
        return args[0] if mutable else tree_map_only(_Layout, _of_layout, self.known[key])

    def _look_at(self, tensor: Tensor) -> None:
        if tensor.device != META:
            self.walk.real_bytes = max(self.walk.real_bytes, tensor.nbytes)


class _Reads(TorchFunctionMode):
    """Tells the host which tokens a step chose; any other question about what has no value fails."""

    def __init__(self, walk: Walk) -> None:
        super().__init__()
        self.walk = walk

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in (Tensor.tolist, Tensor.numpy) and self.walk.unknown(args[0]):
            if func is Tensor.numpy or args[0].shape[-1:] != (len(CHOSEN),):
                return func(args[0].to(META))  # which fails
            self.walk.reads.append(tuple(args[0].shape))
            return _rows(args[0].shape[:-1])
        out = func(*args, **(kwargs or {}))
        if func is torch.tensor and out.device == META and not out.is_floating_point():
            out = torch.tensor(*args, **{**(kwargs or {}), "device": torch.device("cpu")})
        return out


_INDEXED = (torch.ops.aten.index.Tensor, torch.ops.aten.index_put_.default, torch.ops.aten.index_put.default)


def _places(index: Tensor | None) -> Sequence[Tensor | None]:
    """The whole numbers that a mask stands for; any other index is what it is."""
    masks = index is not None and index.dtype == torch.bool and index.device != META
    return index.nonzero().unbind(1) if masks else [index]


def _rows(shape: Sequence[int]) -> Any:
    return [_rows(shape[1:]) for _ in range(shape[0])] if shape else list(CHOSEN)
