from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.pages.renderer import RenderChild
from pipeline.records import Document
from tests.support.hostile import Put, as_document


@pytest.fixture(scope="module")
def child() -> Iterator[RenderChild]:
    """One render child for all tests of a module."""
    with RenderChild() as shared:
        yield shared


@pytest.fixture
def put(tmp_path: Path) -> Put:
    """Write a file, and return it as a listing would."""

    def write(name: str, data: bytes) -> Document:
        (tmp_path / name).write_bytes(data)
        return as_document(tmp_path / name)

    return write
