"""Finds a benchmark by the name of its module."""

from __future__ import annotations

import pkgutil
from importlib import import_module

from pipeline.errors import UsageError
from pipeline.evaluation import benchmarks
from pipeline.evaluation.benchmarks.base import Benchmark


def benchmark_names() -> list[str]:
    """List the names that :func:`find_benchmark` knows, sorted."""
    own = [module.name for module in pkgutil.iter_modules(benchmarks.__path__)]
    return sorted(name.replace("_", "-") for name in own if hasattr(import_module(_path(name)), "BENCHMARK"))


def find_benchmark(name: str) -> Benchmark:
    """Find a benchmark.

    Args:
        name: its name, such as ``docvqa`` or ``mp-docvqa``.

    Raises:
        UsageError: there is no such benchmark.
    """
    known = benchmark_names()
    if name not in known:
        raise UsageError(f"--benchmark {name}: expected one of {', '.join(known)}")
    benchmark: Benchmark = import_module(_path(name)).BENCHMARK
    return benchmark


def _path(name: str) -> str:
    return f"{benchmarks.__name__}.{name.replace('-', '_')}"
