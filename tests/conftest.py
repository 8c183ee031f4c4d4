from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny_model import make_tiny_addon, make_tiny_checkpoint


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "base")


@pytest.fixture(scope="session")
def tiny_addon(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_addon(tmp_path_factory.mktemp("tiny") / "glimpse")
