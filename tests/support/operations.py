"""Counts what a piece of code asks of torch, since each operation costs time however small its tensors are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

_WHOLE = {"linear", "rms_norm"}  # composed on a CPU, one kernel on a GPU
_READS = {"_local_scalar_dense", "nonzero", "masked_select"}
_SILENT_READS = {"tolist", "cpu", "numpy"}  # no operations, where the tensor is in host memory
_UPLOADS = {"tensor", "as_tensor", "from_numpy"}


class Operations(TorchDispatchMode):
    """Counts the operations inside a ``with`` block; composed ones count as their parts.

    Attributes:
        calls: number of calls of each operation, views included.
        reads: calls for which the host would wait for a GPU.
        uploads: calls that copy from the host.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self.reads: list[str] = []
        self.uploads: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        if name not in _WHOLE:
            with self:
                out = func.decompose(*args, **kwargs)
            if out is not NotImplemented:
                return out
        self.calls[name] += 1
        places = args[1] if name in ("index", "index_put_") else ()
        if name in _READS or any(place is not None and place.dtype == torch.bool for place in places):
            self.reads.append(name)
        return func(*args, **kwargs)


class _HostCalls(TorchFunctionMode):
    """Notes what is no operation on a CPU, but a copy on a GPU."""

    def __init__(self, found: Operations) -> None:
        super().__init__()
        self.found = found

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        if name in _SILENT_READS:
            self.found.reads.append(name)
        if name in _UPLOADS:
            self.found.uploads.append(name)
        return func(*args, **(kwargs or {}))


def count(run: Callable[[], object]) -> Operations:
    """Count the operations of one call."""
    with Operations() as found, _HostCalls(found), torch.inference_mode():
        run()
    return found
