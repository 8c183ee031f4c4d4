from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# For this process and all that tests start, read when torch is imported. The models are so small that a second thread
# gains little, and loses much where another process takes its core: each operation then waits for that thread's turn.
os.environ["OMP_THREAD_LIMIT"] = "1"
# Exactness is tested in float32, which `--dtype auto` takes on a CPU without products of bfloat16.
os.environ["ONEDNN_MAX_CPU_ISA"] = "AVX512_CORE"
# PyMuPDF imports it if it is installed, and with it a neural network that no render child has either.
sys.modules["pymupdf.layout"] = None  # type: ignore[assignment]
# The collector takes a fifth of the time of the imports of all tests, which are not garbage.
gc.disable()

settings.register_profile("same every time", derandomize=True, deadline=None)
settings.load_profile("same every time")
ROOT = Path(__file__).parent.parent
# Render children and Ray's workers import toys and stand-ins from here.
os.environ["PYTHONPATH"] = os.pathsep.join(part for part in (str(ROOT), os.environ.get("PYTHONPATH")) if part)


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    gc.unfreeze()  # duckdb would complain at the exit of objects that nobody collected


@pytest.fixture(scope="session", autouse=True)
def _no_tuning_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("user-cache"))


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.support.tiny_model import make_tiny_checkpoint

    return make_tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "base")


@pytest.fixture(scope="session")
def tiny_addon(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.support.tiny_model import make_tiny_addon

    return make_tiny_addon(tmp_path_factory.mktemp("tiny") / "glimpse")


@pytest.fixture
def one_thread() -> Iterator[None]:
    """No more threads than OpenMP may start in tests, since oneDNN leaves out what it gives to others."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
