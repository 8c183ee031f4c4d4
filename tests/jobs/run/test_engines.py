"""Both engines keep one contract: the same rows, whichever does the work, also one after the other."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pymupdf
import pytest
import torch

from jobs.run import job
from jobs.run.engine import Engine, choose_engine
from jobs.run.job import run_job
from jobs.run.loop_engine import LoopEngine
from jobs.run.ray_engine import RayEngine
from jobs.run.ray_workers import ActorConfig
from jobs.settings import RunSettings
from pipeline.answering.bundle_answerer import BundleAnswerer
from pipeline.errors import EngineError
from pipeline.records import Receipt, RenderedBundle
from tests.support.apart import exit_code, start_loop
from tests.support.colours import RED, WHITE, load_colours, make_pdf
from tests.support.engines import QUESTIONS, Stuck, settings_of

DOCUMENTS = 60
TIMES = {"prefill_ms", "decode_ms", "vision_ms", "prefix_ms", "render_ms", "peak_rss_bytes", "peak_memory_bytes"} | {
    "run_id",
    "answered_at",
}


@pytest.fixture(scope="module")
def pdfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 documents: most sound, some cut short, encrypted, empty or no PDF at all."""
    folder = tmp_path_factory.mktemp("pdfs")
    for number in range(DOCUMENTS):
        path = folder / f"{number:02}.pdf"
        make_pdf(path, [WHITE] * (1 + number % 5))
        if number % 12 == 3:
            path.write_bytes(path.read_bytes()[:40])
        elif number % 12 == 5:
            with pymupdf.open() as locked:
                locked.new_page()
                locked.save(path, encryption=pymupdf.PDF_ENCRYPT_AES_256, user_pw="secret")
        elif number % 12 == 7:
            path.write_bytes(b"")
        elif number % 12 == 11:
            path.write_bytes(b"no PDF")
    return folder


def rows(out: Path, table: str) -> list[dict[str, Any]]:
    found = pq.read_table(out / table).to_pylist()
    kept = [{k: v for k, v in row.items() if k not in TIMES and k != "command"} for row in found]
    return sorted(kept, key=lambda row: json.dumps(row, sort_keys=True, default=str))


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_the_engines_give_the_same_rows_taking_over_from_each_other(
    pdfs: Path, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = run_job(settings_of(pdfs, tmp_path / "alone", "local", tiny_base), QUESTIONS, load=load_colours)
    assert (alone["engine"], alone["engine_why"]) == ("local", "requested by --engine")
    want = {table: rows(tmp_path / "alone", table) for table in ("answers", "pages", "documents", "failures")}
    assert alone["counts"]["failed"] == len(want["failures"]) == 2 * DOCUMENTS // 3
    assert "EncryptedDocument" in {row["error_type"] for row in want["failures"]}

    for first, second in (("local", "ray"), ("ray", "local")):
        out = tmp_path / f"{first}-{second}"
        with monkeypatch.context() as patch:
            interrupt_after(1, patch)
            halted = run_job(settings_of(pdfs, out, first, tiny_base), QUESTIONS, load=load_slowly)
        assert (halted["engine"], halted["engine_why"]) == (first, "requested by --engine")
        assert (halted["interrupted"], halted["exit_code"]) == (True, 130)
        assert 0 < halted["this_run"]["bundles"] < alone["this_run"]["bundles"]
        resumed = run_job(settings_of(pdfs, out, second, tiny_base), QUESTIONS, load=load_colours)
        assert (resumed["engine"], resumed["counts"]) == (second, alone["counts"])
        assert resumed["this_run"]["bundles"] > 0
        assert {table: rows(out, table) for table in want} == want


def load_slowly(config: ActorConfig) -> BundleAnswerer:
    """Half a second for each bundle, so that an interruption finds some undone."""
    answerer = load_colours(config)
    original = answerer.run

    def run(rendered: RenderedBundle) -> Receipt:
        time.sleep(0.5)
        return original(rendered)

    answerer.run = run  # type: ignore[method-assign]
    return answerer


def interrupt_after(receipts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Press Ctrl-C once so many bundles are committed, under either engine."""
    original = job._Job._publish_now_and_then

    def publish_or_interrupt(self: job._Job) -> None:
        original(self)
        if self.outcome.bundles >= receipts:
            raise KeyboardInterrupt

    monkeypatch.setattr(job._Job, "_publish_now_and_then", publish_or_interrupt)


@pytest.mark.parametrize(
    ("given", "address", "pages", "engine", "why"),
    [
        ({}, None, 63, LoopEngine, "pages to do: 63"),
        ({}, None, 64, RayEngine, "64 pages"),
        ({}, "auto", 1, RayEngine, "submitted"),
        ({"actors": 2}, None, 1, RayEngine, "--actors"),
        ({"actors": 1}, None, 1, LoopEngine, "pages to do: 1"),
        ({"engine": "ray"}, None, 1, RayEngine, "requested by --engine"),
        ({"engine": "local"}, None, 10**6, LoopEngine, "requested by --engine"),
    ],
)
def test_which_engine_a_run_takes(
    given: dict[str, Any], address: str | None, pages: int, engine: type[Engine], why: str
) -> None:
    run = RunSettings(input=("in",), questions="q", output="o", **given)
    found, reason = choose_engine(run, address, pages)
    assert type(found) is engine
    assert why in reason


def test_a_model_that_hangs_ends_the_process_with_a_word(tmp_path: Path, tiny_base: Path) -> None:
    (tmp_path / "in").mkdir()
    make_pdf(tmp_path / "in" / "a.pdf", [WHITE])
    out = tmp_path / "out"
    assert exit_code(start_loop("load_stuck", tiny_base, tmp_path / "in", out, deadline=1)) == 3
    assert "a page took too long" in (tmp_path / "out.log").read_text()
    assert list(out.glob("parts/*.parquet")) == []


def test_a_page_that_kills_the_loop_costs_that_page_once_the_command_is_run_again(
    tmp_path: Path, tiny_base: Path
) -> None:
    (tmp_path / "in").mkdir()
    make_pdf(tmp_path / "in" / "a.pdf", [WHITE, RED, (9, 9, 9)])
    out = tmp_path / "out"
    codes = [exit_code(start_loop("load_colours", tiny_base, tmp_path / "in", out)) for _ in range(4)]
    assert codes == [-signal.SIGSEGV] * 3 + [0]
    (failure,) = rows(out, "failures")
    assert (failure["page"], failure["error_type"], failure["attempts"]) == (2, "ModelCrash", 4)
    found = {(row["page"], row["status"]) for row in rows(out, "answers")}
    assert found == {(1, "answered"), (2, "failed"), (3, "answered")}


def test_ctrl_c_ends_the_loop_and_blames_no_page(tmp_path: Path, tiny_base: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(24):  # two of them do not fit into one bundle; enough to be interrupted on a busy machine
        make_pdf(tmp_path / "in" / f"{number}.pdf", [WHITE] * 17)
    out = tmp_path / "out"
    process = start_loop("load_slowly_answering", tiny_base, tmp_path / "in", out)
    deadline = time.monotonic() + 60
    while not list(out.glob("parts/*.parquet")) and process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert process.pid is not None
    os.killpg(process.pid, signal.SIGINT)  # to the whole group, as a terminal does
    assert exit_code(process) == 130, (tmp_path / "out.log").read_text()
    report = json.loads((out / "run.json").read_text())
    assert report["interrupted"]
    assert 0 < report["counts"]["answered"] == len(rows(out, "answers"))
    assert report["counts"]["pending"] > 0
    assert report["counts"]["failed"] == 0
    assert not list((out / "inflight").iterdir())
    assert not (out / ".docpipe.lock").exists()


def test_a_failing_device_ends_the_run_with_a_word(tmp_path: Path, tiny_base: Path) -> None:
    (tmp_path / "in").mkdir()
    make_pdf(tmp_path / "in" / "a.pdf", [WHITE])

    def load(config: ActorConfig) -> Any:
        class Failing(Stuck):
            page_started_at = None  # type: ignore[assignment]

            def run(self, rendered: object) -> Receipt:
                raise torch.AcceleratorError("CUDA error: unspecified launch failure")

        return Failing()

    with pytest.raises(EngineError, match="the device failed.*run the same command again"):
        run_job(settings_of(tmp_path / "in", tmp_path / "out", "local", tiny_base), QUESTIONS, load=load)
