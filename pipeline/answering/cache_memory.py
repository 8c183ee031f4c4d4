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
"""Free memory that a prefill needs, as a multiple of the largest peak seen. The surplus covers slightly larger pages
and fragmentation: a measured peak counts the bytes of tensors, but the allocator needs them in one piece."""

_REFUSED = "DefaultCPUAllocator: can't allocate memory"  # torch has no type for it


class CacheMemory:
    """Tells whether the KV caches leave room for another page.

    On CUDA the caches may fill all memory beside the weights, except what the largest prefill so far needed on top. The
    device is asked for its free memory each time, so several processes can share a GPU. On the CPU no peak is measured.
    There the caches may take as much memory as the weights, but at most this process's share of half the memory that
    was available when the model was loaded. A decoding step must read weights and caches: beyond the size of the
    weights, more sequences gain little and take memory from other programs.

    Args:
        device: device of the model.
        weights_bytes: size of the model's weights.
        free_bytes: function that returns the bytes that can still be allocated there; ``None`` asks the device.

    Attributes:
        prefill_peak_bytes: most memory that a prefill added to what was allocated when it began; 0 before the first.
        limit_bytes: most memory that the caches may take, whatever is free; it decreases when memory runs out.
    """

    def __init__(self, device: torch.device, weights_bytes: int, free_bytes: Callable[[], int] | None = None) -> None:
        self.device = device
        self.free_bytes = free_bytes or partial(_free_bytes, device)
        self.prefill_peak_bytes = 0
        self._begun = 0
        self._peaks: list[tuple[int, int]] = []  # spans begun, and the peak of the last of them until the next
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

    def begin(self) -> int:
        """Begin a span whose peak is asked for later; spans may overlap, as pages do.

        Returns:
            Mark of the span's beginning, for :meth:`peak_since`.
        """
        if self.device.type == "cuda":
            # The device knows one peak, so what it knew of the spans that are open is noted before it forgets. Of
            # earlier peaks, those that a later one exceeds will never be asked for.
            peak = int(torch.cuda.max_memory_allocated(self.device))
            while self._peaks and self._peaks[-1][1] <= peak:
                self._peaks.pop()
            self._peaks.append((self._begun, peak))
            torch.cuda.reset_peak_memory_stats(self.device)
        self._begun += 1
        return self._begun

    def peak_since(self, mark: int) -> int | None:
        """Return the most bytes allocated on the device since a span began; ``None`` without CUDA."""
        if self.device.type != "cuda":
            return None
        noted = (peak for begun, peak in self._peaks if begun >= mark)
        return max(*noted, int(torch.cuda.max_memory_allocated(self.device)), 0)

    @contextmanager
    def prefill(self) -> Iterator[None]:
        """Measure the peak memory of the prefill inside the context, if it succeeds.

        For a page that needed several attempts, the last one counts.

        Raises:
            torch.OutOfMemoryError: memory is too short, of a device or of the host.
        """
        mark = self.begin()
        before = torch.cuda.memory_allocated(self.device) if self.device.type == "cuda" else 0
        try:
            yield
        except RuntimeError as error:
            if _REFUSED not in str(error):
                raise
            raise torch.OutOfMemoryError(str(error)) from error
        peak = self.peak_since(mark)
        if peak is not None:
            self.prefill_peak_bytes = max(self.prefill_peak_bytes, peak - before)


def _free_bytes(device: torch.device) -> int:
    """Return the bytes that can still be allocated; on CUDA, unused ones reserved by this process count."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + unused
    return int(psutil.virtual_memory().available)
