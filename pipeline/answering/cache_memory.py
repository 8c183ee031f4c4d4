"""Limits the memory of unfinished answers, by what is free and what a prefill was seen to need."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import psutil
import torch

_MARGIN = 1.25
"""Room left for a prefill over the largest peak seen, for pages a little larger and for fragmentation: measured peaks
count the bytes of tensors, and the allocator needs them in one piece."""


class CacheMemory:
    """Tells whether the caches leave room for another page.

    On CUDA they may take everything that the weights leave, but for what the largest prefill so far took on top. What
    is free is asked each time, so that several processes can share a GPU. On the CPU, where no peak is measured, they
    may take as much as the weights, and no more than this process's part of half of what was available when the model
    was loaded: what a decoding step takes is the time to read the weights and the caches, so that beyond that further
    sequences make each little cheaper, and hold memory that other programs want.

    Args:
        device: device of the model.
        weights_bytes: size of the model's weights.
        free_bytes: bytes that can still be allocated there; ``None`` asks the device.

    Attributes:
        prefill_peak_bytes: most that a prefill took on top of what was allocated when it began; 0 until one was seen.
        limit_bytes: what the caches may take whatever else is free; it only ever sinks, to what the pool was halved to.
    """

    def __init__(self, device: torch.device, weights_bytes: int, free_bytes: Callable[[], int] | None = None) -> None:
        self.device = device
        self.free_bytes = free_bytes or partial(_free_bytes, device)
        self.prefill_peak_bytes = 0
        self.limit_bytes = sys.maxsize
        if device.type != "cuda":
            # Each core may hold an actor.
            self.limit_bytes = min(weights_bytes, self.free_bytes() // 2 // (os.cpu_count() or 1))

    def full(self, held_bytes: int) -> bool:
        """Tell whether no further page should begin while the caches hold so many bytes."""
        if held_bytes > self.limit_bytes:
            return True
        return self.prefill_peak_bytes > 0 and self.free_bytes() < _MARGIN * self.prefill_peak_bytes

    def ran_out(self, held_bytes: int) -> None:
        """Lower the limit to what was left when memory ran out while decoding."""
        self.limit_bytes = min(self.limit_bytes, held_bytes)

    @contextmanager
    def prefill(self) -> Iterator[None]:
        """Measure what is done inside, if it succeeds.

        Resets the device's peak: of a page that needed several attempts, the last one counts.
        """
        if self.device.type != "cuda":
            yield
            return
        torch.cuda.reset_peak_memory_stats(self.device)
        before = torch.cuda.memory_allocated(self.device)
        yield
        peak = torch.cuda.max_memory_allocated(self.device) - before
        self.prefill_peak_bytes = max(self.prefill_peak_bytes, peak)


def _free_bytes(device: torch.device) -> int:
    """Bytes that can still be allocated; on CUDA, with those that this process has reserved and does not use."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + unused
    return int(psutil.virtual_memory().available)
