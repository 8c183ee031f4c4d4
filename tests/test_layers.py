from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

ROOT = Path(__file__).parent.parent


def test_imports_run_one_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert lint_imports(no_cache=True) == EXIT_STATUS_SUCCESS


def test_files_stay_readable() -> None:
    lengths = {
        path.relative_to(ROOT): len(path.read_text().splitlines())
        for package in ("glimpseprune", "pipeline", "jobs")
        for path in (ROOT / package).rglob("*.py")
    }
    assert {path: length for path, length in lengths.items() if length > 350} == {}
    assert statistics.median(lengths.values()) <= 130


def test_no_test_imports_another() -> None:
    helpers = re.compile(r"^\s*(?:from|import) tests\.(?!support\b)", re.MULTILINE)
    assert [path.name for path in (ROOT / "tests").rglob("*.py") if helpers.search(path.read_text())] == []


def test_commands_start_without_what_a_model_needs() -> None:
    """Every module of jobs leaves torch, transformers, pymupdf and Ray to the functions that use them."""
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "jobs").rglob("*.py")
        if path.name not in ("__init__.py", "__main__.py")
    ]
    code = f"import importlib, sys; [importlib.import_module(name) for name in {names}]; print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "transformers", "pymupdf", "ray"} & set(ast.literal_eval(done.stdout))
