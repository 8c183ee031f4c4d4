from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.tiny_model import make_tiny_addon, make_tiny_checkpoint

ROOT = Path(__file__).parent.parent
# Render children and Ray's workers import toys and stand-ins from here.
os.environ["PYTHONPATH"] = os.pathsep.join(part for part in (str(ROOT), os.environ.get("PYTHONPATH")) if part)


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "base")


@pytest.fixture(scope="session")
def tiny_addon(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_addon(tmp_path_factory.mktemp("tiny") / "glimpse")
