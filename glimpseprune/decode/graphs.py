"""Repeats steps of decode as CUDA graphs, which launch hundreds of kernels with one call.

A step of few rows has little to compute for a GPU, so that launching one kernel after the other takes the host longer
than the device. A graph is recorded once per number of rows and of seen slots; until then, and where that fails, the
step runs as it is.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable

import torch

from glimpseprune.decode.greedy import Choice

MOST_ROWS = 64
"""Rows up to which steps are recorded; with more, the device should take longer than the host."""

_LEAST_STEPS = 8  # that are still to come: to record a step takes as long as some of them

Step = Callable[[], Choice]


def graphs_for(device: torch.device) -> StepGraphs | None:
    """Make graphs for the steps of a pool or page on CUDA; ``None`` elsewhere, where steps run as they are."""
    return StepGraphs(device) if device.type == "cuda" else None


def rows_for(count: int) -> int:
    """Return the number of rows that a step of ``count`` sequences runs with, so that few graphs serve all."""
    return count if count > MOST_ROWS else 1 << (count - 1).bit_length()


_streams = threading.local()


def _side_stream(device: torch.device) -> torch.cuda.Stream:
    """Return the stream of this thread that records for a device; libraries keep memory for each that they see."""
    if not hasattr(_streams, str(device)):
        setattr(_streams, str(device), torch.cuda.Stream(device))  # type: ignore[no-untyped-call]
    stream: torch.cuda.Stream = getattr(_streams, str(device))
    return stream


class StepGraphs:
    """Runs steps on a CUDA device, and repeats them as graphs.

    A step with the same key is the same function of the same tensors, until :meth:`forget` is called. All graphs share
    their memory, so the tensors of a choice hold until the next step.

    Args:
        device: device of the model.
    """

    _fail = False  # of the process: torch before 2.12 takes a recording that failed to go on for ever

    def __init__(self, device: torch.device) -> None:
        self._device, self._stream = device, _side_stream(device)
        self.forget()

    def forget(self) -> None:
        """Drop all graphs, because tensors that they use were replaced."""
        # Steps are kept for the tensors that belong to them, which the graphs use.
        self._graphs: dict[tuple[int, int], tuple[torch.cuda.CUDAGraph, Choice, Step]] = {}
        self._warm: set[tuple[int, int]] = set()
        self._memory = torch.cuda.graph_pool_handle()  # a handle without graphs cannot be used again

    def run(self, key: tuple[int, int], step: Step, left: int) -> Choice:
        """Run a step.

        Args:
            key: number of rows and of seen slots of the step.
            step: the step.
            left: largest number of steps that may follow before a sequence comes.

        Raises:
            torch.OutOfMemoryError: memory is too short for the step as it is.
        """
        if key not in self._graphs:
            if key[0] > MOST_ROWS or self._fail:
                return step()
            if key not in self._warm:
                choice = self._beside(step)
                self._warm.add(key)
                return choice
            if left < _LEAST_STEPS or not self._record(key, step):
                return step()
        graph, choice, _ = self._graphs[key]
        graph.replay()
        return choice

    def _beside(self, step: Step) -> Choice:
        """Run a step in the stream that records, so that libraries set up there what they set up once."""
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            choice = step()
        current.wait_stream(self._stream)
        return choice

    def _record(self, key: tuple[int, int], step: Step) -> bool:
        """Record a step without running it, and tell whether that went well."""
        graph, current = torch.cuda.CUDAGraph(), torch.cuda.current_stream(self._device)
        try:
            # Other threads may go on using the device meanwhile.
            with (
                torch.cuda.device(self._device),
                torch.cuda.graph(graph, self._memory, self._stream, capture_error_mode="thread_local"),
            ):
                choice = step()
        except RuntimeError as error:  # what torch makes of every CUDA error; the step itself has run before
            torch.cuda.set_stream(current)  # which torch leaves to us then
            StepGraphs._fail = True
            warnings.warn(
                f"expected to record a step of decode with {key[0]} rows as a CUDA graph, found {error}; decode goes "
                "on without graphs in this process and is slower. Report this with what `docpipe doctor` prints",
                stacklevel=2,
            )
            return False
        self._graphs[key] = graph, choice, step
        return True
