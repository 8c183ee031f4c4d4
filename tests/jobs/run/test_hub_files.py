"""A run takes model and add-on of the hub at the commits of its start, and each node downloads them once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from jobs.run.hub_files import fetch_on_nodes
from jobs.run.job import run_job
from jobs.settings import RunSettings
from pipeline.answering.checkpoints import fetch, fingerprint, pinned, resolve_model
from pipeline.errors import ModelError
from pipeline.questions.file import parse_questions
from pipeline.records import AnswerSettings
from tests.support.colours import WHITE, make_pdf
from tests.support.helpers import SETTINGS

MODEL, ADDON = "org/tiny", "org/tiny-glimpse"
HEAD, ONE, TWO, GONE = ("00" * 28, "11" * 28, "22" * 28, "33" * 28)  # nodes, as Ray names them
FIRST, SECOND, ADDON_COMMIT = "a" * 40, "b" * 40, "c" * 40

Put = Callable[[str, str, Path], Path]


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Put:
    """Put a commit of a repository into an offline cache of the hub, and make it the head of its main branch."""
    cache = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    def put(name: str, commit: str, content: Path) -> Path:
        folder = cache / f"models--{name.replace('/', '--')}"
        shutil.copytree(content, folder / "snapshots" / commit)
        (folder / "refs").mkdir(exist_ok=True)
        (folder / "refs" / "main").write_text(commit)
        return folder / "snapshots" / commit

    return put


@pytest.fixture
def settings(put: Put, tiny_base: Path, tiny_addon: Path) -> AnswerSettings:
    put(MODEL, FIRST, tiny_base)
    put(ADDON, ADDON_COMMIT, tiny_addon)
    return replace(
        SETTINGS, model=MODEL, model_fingerprint=FIRST, glimpse=ADDON, glimpse_fingerprint=ADDON_COMMIT, revision=None
    )


def test_a_run_by_hub_ids_names_their_commits(settings: AnswerSettings, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    make_pdf(tmp_path / "in" / "a.pdf", [WHITE])
    run = RunSettings(
        input=(str(tmp_path / "in"),),
        questions="q.yaml",
        output=str(tmp_path / "out"),
        model=MODEL,
        glimpse=ADDON,
        max_visual_tokens=16,
        quiet=True,
    )
    report = run_job(run, parse_questions('version: 1\nquestions: [{id: a, text: "A?"}]', "q.yaml"))
    assert report["exit_code"] == 0
    told = json.dumps(report)
    assert FIRST in told
    assert ADDON_COMMIT in told


def test_what_is_loaded_later_is_the_commit_of_the_start(settings: AnswerSettings, put: Put, tiny_base: Path) -> None:
    assert fingerprint(resolve_model(MODEL)) == FIRST
    put(MODEL, SECOND, tiny_base)
    assert fingerprint(resolve_model(MODEL)) == SECOND
    assert resolve_model(MODEL, pinned(MODEL, settings.model_fingerprint)).name == FIRST


def test_what_is_on_this_machine_has_no_commit(tiny_base: Path, tiny_addon: Path) -> None:
    assert pinned(None, None) is None
    assert pinned("nano", "0123") is None
    assert pinned(str(tiny_base), "0123") is None


def test_a_commit_that_the_hub_lacks_is_a_fault_of_the_model(settings: AnswerSettings) -> None:
    fetch(settings)
    with pytest.raises(ModelError, match=f"--model {MODEL}: no such folder, and no hub repository"):
        fetch(replace(settings, model_fingerprint="d" * 40))
    with pytest.raises(ModelError, match=f"--glimpse {ADDON}: no such folder"):
        fetch(replace(settings, glimpse_fingerprint="d" * 40))


class FakeRay:
    """Ray's part in bringing files to nodes: each task runs at once and is noted with its node."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Any]] = []

    def remote(self, **given: Any) -> Callable[[Callable[..., Any]], Any]:
        assert given == {"num_cpus": 0}  # a node whose cores are taken downloads too
        fake = self

        class Task:
            def __init__(self, function: Callable[..., Any], node: str = "") -> None:
                self.function, self.node = function, node

            def options(self, scheduling_strategy: Any) -> Task:
                return Task(self.function, scheduling_strategy.node_id)

            def remote(self, settings: AnswerSettings) -> None:
                fake.seen.append((self.node, settings))
                self.function(settings)

        return Task

    def nodes(self) -> list[dict[str, Any]]:
        return [
            {"NodeID": HEAD, "Alive": True, "Resources": {"CPU": 8.0}},
            {"NodeID": ONE, "Alive": True, "Resources": {"CPU": 8.0, "GPU": 4.0}},
            {"NodeID": TWO, "Alive": True, "Resources": {"CPU": 8.0, "GPU": 4.0}},
            {"NodeID": GONE, "Alive": False, "Resources": {"CPU": 8.0, "GPU": 4.0}},
        ]


@pytest.mark.parametrize(("gpus", "nodes"), [(True, [ONE, TWO]), (False, [HEAD, ONE, TWO])])
def test_each_node_that_can_hold_a_model_downloads_it_once(
    settings: AnswerSettings, monkeypatch: pytest.MonkeyPatch, gpus: bool, nodes: list[str]
) -> None:
    fake = FakeRay()
    for name in ("remote", "nodes"):
        monkeypatch.setattr(f"ray.{name}", getattr(fake, name))
    monkeypatch.setattr("ray.get", lambda found: found)
    fetch_on_nodes(settings, gpus)
    assert fake.seen == [(node, settings) for node in nodes]


def test_a_model_on_this_machine_asks_nothing_of_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.nodes", lambda: pytest.fail("no node has to be asked"))
    fetch_on_nodes(replace(SETTINGS, model="nano", glimpse="nano"), gpus=False)
