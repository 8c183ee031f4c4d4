"""What is installed is ours: from the clone or from the wheel, never a stranger's distribution from the index."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.support.markdown import ROOT, documents

NOT_OURS = {".git", ".venv", "build", "dist", "demo", "__pycache__"}
FOLDERS = ("glimpseprune", "pipeline", "jobs", "tests", "docs", "examples", "benchmarks")
TEXT = {".md", ".py", ".toml", ".txt", ".yaml", ".jinja", ""}
BY_NAME = re.compile(r"pip3? install\b(?:[^\n`]*[ '\"]|\s*\n['\"]?)(?:glimpse-)?docpipe\b(?![-/_])", re.IGNORECASE)
"""An installation by name, which an index would answer; the line may be broken behind ``install``."""


def texts() -> list[Path]:
    """Every text file of the project: documents, code and its messages, settings."""
    patterns = ("*", ".ci/*", *(f"{folder}/**/*" for folder in FOLDERS))
    found = {path for pattern in patterns for path in ROOT.glob(pattern) if path.is_file() and path.suffix in TEXT}
    return sorted(found - {Path(__file__)})


@pytest.mark.parametrize(
    "words",
    [
        "pip install docpipe",
        "pip install 'docpipe[gpu]'",
        'pip install "docpipe[train]" now',
        "pip install glimpse-docpipe",
        "pip3 install --upgrade docpipe==1",
        "`pip install\n'glimpse-docpipe[train]'`",
    ],
)
def test_an_installation_by_name_is_found(words: str) -> None:
    assert BY_NAME.search(words)


@pytest.mark.parametrize(
    "words",
    ["pip install -e '.[gpu]'` gives docpipe", "pip install dist/glimpse_docpipe-*.whl", "pip install -e .\ndocpipe"],
)
def test_an_installation_from_the_clone_is_not(words: str) -> None:
    assert not BY_NAME.search(words)


def test_point_20_nobody_is_sent_to_a_foreign_distribution() -> None:
    found = [path for path in texts() if BY_NAME.search(path.read_text(encoding="utf-8"))]
    assert found == []
    assert set(documents()) < set(texts())
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["name"] == "glimpse-docpipe"


def test_point_20_readme_says_where_the_command_is() -> None:
    install = (ROOT / "README.md").read_text(encoding="utf-8").split("## Install")[1].split("\n## ")[0]
    for words in ("make wheel", "dist/glimpse_docpipe-*.whl", "source .venv/bin/activate", ".venv/bin/docpipe"):
        assert words in install


@pytest.mark.slow
def test_point_20_make_wheel_builds_a_wheel_that_works(tmp_path: Path) -> None:
    clone, target = tmp_path / "clone", tmp_path / "venv"
    shutil.copytree(ROOT, clone, ignore=shutil.ignore_patterns(*NOT_OURS, "*.egg-info", ".*_cache"))
    (clone / ".venv").symlink_to(sys.prefix)
    (clone / "build/lib/jobs").mkdir(parents=True)
    (clone / "build/lib/jobs/stale.py").write_text("")  # of an earlier build
    subprocess.run(["make", "--old-file=.venv/.ready", "wheel"], cwd=clone, check=True, capture_output=True)
    (wheel,) = (clone / "dist").glob("glimpse_docpipe-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {info.filename: info.file_size for info in archive.infolist()}
    data = [path for part in ("base", "glimpse") for path in (ROOT / "pipeline/nano" / part).iterdir()]
    assert len(data) >= 9
    assert {path: held.get(str(path.relative_to(ROOT))) for path in data} == {
        path: path.stat().st_size for path in data
    }
    assert not [name for name in held if name.startswith("tests") or "stale" in name]

    subprocess.run([sys.executable, "-m", "venv", "--without-pip", target], check=True)
    pip = [sys.executable, "-m", "pip", "--python", target / "bin/python", "install", "--no-deps", "--no-index", "-q"]
    subprocess.run([*pip, wheel], check=True, env={})
    library = next(target.glob("lib/*/site-packages"))
    code = "from pipeline.answering.checkpoints import resolve_model; print(resolve_model('nano'))"
    others = next(path for path in map(Path, sys.path) if (path / "typer").is_dir())
    for words, said in (
        ((target / "bin/docpipe", "--version"), f"docpipe {wheel.name.split('-')[1]}\n"),
        ((target / "bin/python", "-c", code), f"{library}/pipeline/nano/base\n"),
    ):
        done = subprocess.run(words, cwd=tmp_path, env={"PYTHONPATH": str(others)}, capture_output=True, text=True)
        assert (done.stdout, done.returncode) == (said, 0), done.stderr
