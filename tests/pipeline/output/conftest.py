from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest


@pytest.fixture(params=["local", "file", "memory"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An output folder on the disk, on the disk behind a URL, and in memory."""
    if request.param == "memory":
        name = f"memory://{uuid.uuid4().hex}/out"
        yield name
        fsspec.filesystem("memory").rm(name.rsplit("/", 1)[0], recursive=True)
    else:
        yield str(tmp_path / "a b" / "out") if request.param == "local" else f"file://{tmp_path}/out"
