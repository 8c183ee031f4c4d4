"""A file of somebody else among the tables ends a run before the model works, and stays as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.run.job import run_job
from jobs.run.ray_workers import ActorConfig
from jobs.settings import RunSettings
from pipeline.answering.bundle_answerer import BundleAnswerer
from pipeline.errors import UsageError
from pipeline.output.attempts import Markers
from pipeline.output.folder import Folder
from pipeline.output.store import OutputStore
from pipeline.questions.file import parse_questions
from tests.support.colours import WHITE, make_pdf
from tests.support.helpers import FakePageAnswerer

QUESTIONS = parse_questions('version: 1\nquestions: [{id: a, text: "A?"}]', "q.yaml")


def load(config: ActorConfig) -> BundleAnswerer:
    folder = Folder(config.output)
    return BundleAnswerer(FakePageAnswerer(), OutputStore(folder), Markers(folder))  # type: ignore[arg-type]


def load_nothing(_config: ActorConfig) -> BundleAnswerer:
    raise AssertionError("a model was loaded")


@pytest.fixture
def settings(tmp_path: Path) -> RunSettings:
    make_pdf(tmp_path / "a.pdf", [WHITE])
    return RunSettings(
        input=(str(tmp_path / "a.pdf"),), questions="q", output=str(tmp_path / "out"), engine="local", quiet=True
    )


@pytest.mark.parametrize("table", ["answers", "failures"])
@pytest.mark.parametrize("content", [b"junk", b""])
def test_a_file_of_somebody_else_is_to_be_moved(settings: RunSettings, table: str, content: bytes) -> None:
    foreign = Path(settings.output, table, "foreign.parquet")
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(content)
    with pytest.raises(UsageError, match=rf"{table}/foreign\.parquet is not a file of docpipe, .* move it elsewhere"):
        run_job(settings, QUESTIONS, load=load_nothing)
    assert foreign.read_bytes() == content
    foreign.unlink()
    assert run_job(settings, QUESTIONS, load=load)["exit_code"] == 0


@pytest.mark.parametrize("table", ["answers", "failures", "pages"])
def test_a_damaged_table_is_to_be_deleted_and_is_made_again(settings: RunSettings, table: str) -> None:
    run_job(settings, QUESTIONS, load=load)
    (damaged,) = Path(settings.output, table).iterdir()
    damaged.write_bytes(b"half a file")
    with pytest.raises(UsageError, match=rf"{table}/{damaged.name} is not a file of this version .* delete it"):
        run_job(settings, QUESTIONS, load=load_nothing)
    damaged.unlink()
    assert run_job(settings, QUESTIONS, load=load_nothing)["counts"]["answered"] == 1


def test_a_foreign_file_is_not_deleted_while_a_run_publishes(settings: RunSettings) -> None:
    foreign = Path(settings.output, "failures", "foreign.parquet")

    def load_late(config: ActorConfig) -> BundleAnswerer:
        foreign.parent.mkdir(parents=True, exist_ok=True)
        foreign.write_bytes(b"junk")
        return load(config)

    with pytest.raises(UsageError, match="move it elsewhere"):
        run_job(settings, QUESTIONS, load=load_late)
    assert foreign.read_bytes() == b"junk"
