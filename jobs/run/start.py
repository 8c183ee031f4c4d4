"""Makes a process that holds a model start sooner."""

from __future__ import annotations

import gc
import importlib
from collections.abc import Iterator
from contextlib import contextmanager

# The first is what every model family of transformers builds on, and most of the time.
_LIBRARIES = ("transformers.modeling_utils", "pipeline.answering.bundle_answerer")


def import_libraries() -> None:
    """Import what loads and runs a model, which takes seconds."""
    with collector_paused():
        for name in _LIBRARIES:
            importlib.import_module(name)


@contextmanager
def collector_paused() -> Iterator[None]:
    """Pause Python's garbage collector, which takes a fifth of the time of large imports.

    What was made meanwhile is set aside: modules live as long as the process and need no scanning.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()
