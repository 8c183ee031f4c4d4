from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipeline.pages.renderer import RenderChild


@pytest.fixture(scope="module")
def child() -> Iterator[RenderChild]:
    """One render child for all tests of a module."""
    with RenderChild() as shared:
        yield shared
