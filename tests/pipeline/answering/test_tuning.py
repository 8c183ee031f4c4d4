"""What decides answers is settled once per output folder; what was tuned on the machine is used where it can be."""

from __future__ import annotations

import dataclasses
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

import glimpseprune as gp
from glimpseprune.cost.rates import Rates
from glimpseprune.model import GlimpseModel
from pipeline.answering import tuning
from pipeline.answering.tuning import (
    StoredDtype,
    StoredRates,
    Tuning,
    measured_dtype,
    read_tuning,
    settle_dtype,
    settle_rates,
    tuning_file,
    write_tuning,
)
from pipeline.errors import UsageError
from pipeline.output.folder import Folder
from pipeline.output.store import OutputStore
from tests.support.helpers import SETTINGS

RATES = StoredRates(linear=1e-11, attention=2e-11, predictor=3e-11, layer_run=1e-3)


@pytest.fixture
def store(tmp_path: Path) -> OutputStore:
    return OutputStore(Folder(str(tmp_path / "out")))


@pytest.fixture(scope="module")
def model(tiny_base: Path, tiny_addon: Path) -> GlimpseModel:
    return gp.load(tiny_base, glimpse=tiny_addon, device="cpu")


def test_the_first_process_of_a_folder_settles_the_rates(
    store: OutputStore, model: GlimpseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = settle_rates(store, model, Tuning())
    monkeypatch.setattr(tuning, "measure_rates", lambda model: pytest.fail("measured again"))
    assert settle_rates(store, model, Tuning(rates=RATES)) == first
    assert store.settled("tuning") == {"rates": dataclasses.asdict(first)}


def test_a_process_measures_the_type_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = iter([torch.bfloat16])
    measured_dtype.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(tuning, "cpu_dtype", lambda: next(measured))
        stores = [OutputStore(Folder(str(tmp_path / name))) for name in ("a", "b")]
        found = [settle_dtype(store, SETTINGS, "cpu", Tuning()) for store in stores]
    measured_dtype.cache_clear()
    assert found == ["bfloat16", "bfloat16"]


def test_processes_that_start_together_agree(
    store: OutputStore, model: GlimpseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    together, lock, measured = threading.Barrier(8), threading.Lock(), []

    def measure(model: GlimpseModel) -> Rates:
        together.wait()
        with lock:
            measured.append(Rates(1e-12 * (len(measured) + 1), 1e-12, 1e-12, 0.0, 0.0))
            return measured[-1]

    monkeypatch.setattr(tuning, "measure_rates", measure)
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: settle_rates(store, model, Tuning()), range(8)))
    assert len(measured) == 8
    assert len(found) == 1


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"linear": 1}', '{"linear": -1e-12, "attention": 1, "predictor": 1}']
)
def test_a_damaged_file_says_what_to_do(
    store: OutputStore, model: GlimpseModel, content: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.output.store._WRITTEN_SECONDS", 0.0)
    store.folder.write("tuning/rates.json", content.encode())
    with pytest.raises(UsageError, match=r"tuning/rates\.json.*delete it, and the next run writes it again"):
        settle_rates(store, model, Tuning(rates=RATES))


def test_a_type_that_is_left_open_is_settled_on_a_cpu_alone(
    store: OutputStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = dataclasses.replace(SETTINGS, dtype="float16")
    assert settle_dtype(store, named, "cpu", Tuning()) == "float16"
    assert settle_dtype(store, SETTINGS, "cuda:0", Tuning()) == "auto"
    assert store.settled("tuning") == {}
    half = StoredDtype(dtype="bfloat16")
    assert settle_dtype(store, SETTINGS, "cpu", Tuning(dtype=half)) == "bfloat16"
    assert settle_dtype(store, SETTINGS, "cpu", Tuning(dtype=StoredDtype(dtype="float32"))) == "bfloat16"


def test_answers_that_stand_already_are_float32(store: OutputStore) -> None:
    store.folder.write("parts/a.parquet", b"")
    assert settle_dtype(store, SETTINGS, "cpu", Tuning(dtype=StoredDtype(dtype="bfloat16"))) == "float32"


def test_the_tuning_of_a_machine_is_of_one_model_and_type(tmp_path: Path) -> None:
    file = tuning_file(SETTINGS, "cpu", "5678")
    others = [
        tuning_file(SETTINGS, "cpu", None),
        tuning_file(dataclasses.replace(SETTINGS, model_fingerprint="x"), "cpu", "5678"),
        tuning_file(dataclasses.replace(SETTINGS, dtype="float32"), "cpu", "5678"),
    ]
    assert len({file, *others}) == 4
    assert tuning_file(dataclasses.replace(SETTINGS, seed=7), "cpu", "5678") == file
    found = Tuning(lane_threads=2, dtype=StoredDtype(dtype="float32"), rates=RATES)
    write_tuning(tmp_path / "a" / "b.json", found)
    assert read_tuning(tmp_path / "a" / "b.json") == found
    assert read_tuning(tmp_path / "none.json") == Tuning()


@pytest.mark.parametrize("content", ["", "null", '{"lane_threads": 0}', '{"lanes": 2}'])
def test_a_tuning_that_cannot_be_read_is_said_and_not_used(
    tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "t.json").write_text(content)
    assert read_tuning(tmp_path / "t.json") == Tuning()
    assert "docpipe doctor --tune" in caplog.text


def test_the_files_are_plain_json(store: OutputStore, model: GlimpseModel) -> None:
    settle_rates(store, model, Tuning(rates=RATES))
    assert json.loads(store.folder.read("tuning/rates.json") or b"") == RATES.model_dump()
