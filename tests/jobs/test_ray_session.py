"""A local Ray leaves nothing in the temporary folder, unless somebody has to read its logs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import ray

from jobs import ray_session as module
from jobs.ray_session import ray_session
from pipeline.errors import EngineError, ModelError


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that a Ray without processes calls its own, beside one of somebody else."""
    mine = tmp_path / "session_1"
    (mine / "logs").mkdir(parents=True)
    (tmp_path / "session_2").mkdir()
    (tmp_path / "session_latest").symlink_to(mine)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda **_: SimpleNamespace(address_info={"session_dir": str(mine)}))
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.setattr(module, "_errors_only_on_the_console", lambda: None)
    return mine


def left(session: Path) -> set[str]:
    return {path.name for path in session.parent.iterdir()}


def test_the_folder_of_an_own_session_is_deleted(session: Path) -> None:
    with ray_session(None):
        assert (session / "logs").is_dir()
    assert left(session) == {"session_2"}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ModelError("no such model")])
def test_also_after_an_interruption_or_an_error_that_says_all(session: Path, error: BaseException) -> None:
    with pytest.raises(type(error)), ray_session(None):
        raise error
    assert left(session) == {"session_2"}


def test_after_an_engine_error_the_logs_stay(session: Path) -> None:
    with pytest.raises(EngineError), ray_session(None):
        raise EngineError("the log gives the reason")
    assert left(session) == {"session_1", "session_2", "session_latest"}


def test_the_link_of_a_later_session_stays(session: Path) -> None:
    with ray_session(None):
        latest = session.parent / "session_latest"
        latest.unlink()
        latest.symlink_to(session.parent / "session_2")
    assert left(session) == {"session_2", "session_latest"}


def test_the_session_of_a_cluster_or_of_somebody_else_stays(session: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ray_session("auto"):
        pass
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    with ray_session(None):
        pass
    assert left(session) == {"session_1", "session_2", "session_latest"}


def test_a_ray_that_does_not_start_is_a_sentence(session: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**_: object) -> None:
        raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(EngineError, match="^Ray does not start: The current node timed out"), ray_session(None):
        pass
