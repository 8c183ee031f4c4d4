"""Keeps attention away from cuDNN, which plans anew for every length of the keys.

For 16 bits on Hopper GPUs, torch's own choice is cuDNN first. Each step of decode has other lengths, so on an H200
nearly all of its time went into plans. The backward pass of cuDNN's attention also gave gradients that are not finite.
"""

from __future__ import annotations

import threading
from contextlib import ContextDecorator
from types import TracebackType

from torch.backends import cuda


class _WithoutCudnn(ContextDecorator):
    """Counts who is inside, since torch's switch is one for all threads: the last to leave puts it back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before = True

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._before = bool(cuda.cudnn_sdp_enabled())  # type: ignore[no-untyped-call]
                cuda.enable_cudnn_sdp(False)
            self._inside += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                cuda.enable_cudnn_sdp(self._before)


without_cudnn = _WithoutCudnn()
"""Context or decorator in which ``scaled_dot_product_attention`` chooses among its other kernels.

The switch is torch's, so threads beside this one leave cuDNN out too for as long.
"""
