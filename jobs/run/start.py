"""Makes a process that holds a model start sooner."""

from __future__ import annotations

import atexit
import gc
import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

# The first is what all model families of transformers build on, and takes most of the time.
_LIBRARIES = ("transformers.modeling_utils", "pipeline.answering.page_answerer", "pipeline.answering.bundle_answerer")


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
        atexit.register(gc.unfreeze)  # duckdb would complain at the exit of objects that nobody collected
        if enabled:
            gc.enable()


def leave_out_pandas() -> None:
    """Keep pyarrow from importing pandas, which takes most of a second.

    It would do so at the first conversion, to recognise columns of pandas, of which docpipe has none. Whoever asks
    pyarrow for pandas later still gets it.
    """
    import pyarrow as pa

    if "pandas" in sys.modules:
        return
    hidden = _NoPandas()
    sys.meta_path.insert(0, hidden)
    try:
        pa.array([0])  # pyarrow looks for pandas once, and now
    finally:
        sys.meta_path.remove(hidden)


class _NoPandas(MetaPathFinder):
    """Makes Python treat pandas as not installed."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name == "pandas":
            raise ModuleNotFoundError(name)
        return None
