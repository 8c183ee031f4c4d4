from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jobs.run.ray_workers import ActorConfig, load_answerer
from pipeline.answering.page_answerer import PageAnswerer
from pipeline.answering.skipping import Skipping
from pipeline.errors import ModelError
from pipeline.families import registry
from tests.support.calibrations import word_reader
from tests.support.helpers import SETTINGS


def test_a_worker_knows_the_families_that_were_registered_in_the_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_registered", {"toy_vl": "tests.support.toy_family_input"})
    settings = replace(SETTINGS, repetition_penalty=1.1)
    sent = pickle.dumps(ActorConfig(settings, str(tmp_path), "docpipe run", "test-run", "cpu", "auto", 1, None))
    monkeypatch.setattr(registry, "_registered", {})
    known = []

    def load(*_: Any, **given: Any) -> Any:
        assert given["repetition_penalty"] == 1.1
        known.append(registry.registered_families())
        raise ModelError("enough")

    monkeypatch.setattr(PageAnswerer, "load", load)
    monkeypatch.setattr("torch.set_num_threads", lambda threads: None)
    with pytest.raises(ModelError, match="enough"):
        load_answerer(pickle.loads(sent))
    assert known == [{"toy_vl": "tests.support.toy_family_input"}]


def test_a_worker_leaves_out_the_pages_that_the_driver_says(
    tmp_path: Path, tiny_base: Path, tiny_addon: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(SETTINGS, model=str(tiny_base), glimpse=str(tiny_addon), skip_below=0.2)
    whole = ActorConfig(settings, str(tmp_path), "docpipe run", "test-run", "cpu", "auto", 1, None)
    monkeypatch.setattr("torch.set_num_threads", lambda threads: None)
    sent = pickle.dumps(replace(whole, presence=word_reader()))
    assert load_answerer(pickle.loads(sent)).page_answerer.skipping == Skipping(word_reader(), 0.2)
    assert load_answerer(replace(whole, settings=replace(settings, skip_below=None))).page_answerer.skipping is None
