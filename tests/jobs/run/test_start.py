"""A run in this process starts soon: it imports little, waits for nothing that can go on beside it, and is quiet."""

from __future__ import annotations

import gc
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jobs.run import loop_engine
from jobs.run.children import for_each_document
from jobs.run.job import run_job
from jobs.run.ray_workers import ActorConfig, load_answerer
from jobs.run.start import collector_paused
from jobs.settings import RunSettings
from pipeline.answering.bundle_answerer import BundleAnswerer
from pipeline.pages.documents import list_documents
from pipeline.pages.renderer import RenderChild
from pipeline.questions.file import parse_questions
from pipeline.records import Document, PixelBudget
from tests.support.colours import WHITE, make_pdf
from tests.support.written_pdf import endless_pdf

QUESTIONS = 'version: 1\ndefaults: {max_new_tokens: 2}\nquestions: [{id: a, text: "What?"}]\n'
NOT_NEEDED = ("pandas", "scipy.ndimage", "ray", "pymupdf", "torchvision", "tensorboard", "peft", "matplotlib")
RUN = f"""\
import json, sys
from jobs.cli.main import app
try:
    app(args=sys.argv[1:])
except SystemExit as end:
    code = end.code
imported = [name for name in {NOT_NEEDED} if name in sys.modules]
import pyarrow as pa
rows = pa.table({{"a": [1, None]}}).to_pandas()
print(json.dumps([code, imported, len(rows), type(rows).__module__]))
"""


@pytest.fixture
def flags(tmp_path: Path, tiny_base: Path, tiny_addon: Path) -> dict[str, Any]:
    make_pdf(tmp_path / "a.pdf", [WHITE])
    (tmp_path / "q.yaml").write_text(QUESTIONS)
    return {
        "questions": str(tmp_path / "q.yaml"),
        "output": str(tmp_path / "out"),
        "model": str(tiny_base),
        "glimpse": str(tiny_addon),
        "device": "cpu",
        "max_visual_tokens": 16,
    }


def test_a_little_run_starts_no_ray_imports_nothing_needless_and_writes_progress_only(
    flags: dict[str, Any], tmp_path: Path
) -> None:
    words = [word for name, value in flags.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    done = subprocess.run(
        [sys.executable, "-c", RUN, "run", "--input", str(tmp_path / "a.pdf"), *words],
        capture_output=True,
        text=True,
        check=True,
    )
    code, imported, rows, home = json.loads(done.stdout.splitlines()[-1])
    assert (code, imported) == (0, [])
    assert json.loads((tmp_path / "out" / "run.json").read_text())["engine"] == "local"
    assert (rows, home.partition(".")[0]) == (2, "pandas")  # who asks for it gets it
    assert all(re.match(r"\d+ of \d+ (documents?|pages?)", line) for line in done.stderr.splitlines()), done.stderr


def test_the_first_pages_are_rendered_while_the_model_loads(
    flags: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered, render = threading.Event(), loop_engine.render_bundle

    def note(*args: Any, **more: Any) -> Any:
        found = render(*args, **more)
        rendered.set()
        return found

    def load(config: ActorConfig) -> BundleAnswerer:
        assert rendered.wait(60), "nothing is rendered before the model is loaded"
        return load_answerer(config)

    monkeypatch.setattr(loop_engine, "render_bundle", note)
    settings = RunSettings(input=(str(tmp_path / "a.pdf"),), quiet=True, **flags)
    assert run_job(settings, parse_questions(QUESTIONS, "q.yaml"), load=load)["counts"]["failed"] == 0


def test_the_calling_thread_has_other_work_while_documents_are_counted(tmp_path: Path) -> None:
    make_pdf(tmp_path / "a.pdf", [WHITE])
    busy, begun = threading.Event(), []

    def do(child: RenderChild, document: Document) -> bool:
        return busy.wait(60)

    def meanwhile() -> None:
        begun.append(threading.current_thread())
        busy.set()

    results: dict[str, bool] = {}
    for_each_document(list_documents([str(tmp_path)]), do, results, lambda: None, meanwhile)
    assert list(results.values()) == [True]
    for_each_document([], do, results, lambda: None, meanwhile)  # there is nothing to wait for
    assert begun == [threading.main_thread()]


def test_ctrl_c_does_not_wait_for_a_page_that_hangs(flags: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.pdf").write_bytes(endless_pdf(2))
    settings = RunSettings(input=(str(tmp_path / "in"),), quiet=True, **flags)
    pressed: list[float] = []

    def load(config: ActorConfig) -> Any:
        def press() -> None:
            pressed.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)

        threading.Timer(1.0, press).start()
        return SimpleNamespace(page_started_at=None, pages_done=0, run=None)

    report = run_job(settings, parse_questions(QUESTIONS, "q.yaml"), load=load)
    assert time.monotonic() - pressed[0] < 10
    assert (report["exit_code"], report["counts"]["pending"]) == (130, report["counts"]["planned"])


def test_work_on_documents_that_hang_ends_with_the_caller(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(endless_pdf(1))
    started: list[float] = []
    budget = PixelBudget(28, 3136, 28 * 28 * 256, "pipeline.families.qwen2_5_vl")

    def draw(child: RenderChild, document: Document) -> list[Any]:
        started.append(time.monotonic())
        return list(child.render(document, [1], 72, budget))

    def press() -> None:
        while not started:
            time.sleep(0.01)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        for_each_document(list_documents([str(tmp_path)]), draw, {}, lambda: None, press)
    assert time.monotonic() - started[0] < 10


def test_the_collector_works_again_after_a_pause() -> None:
    def fail() -> None:
        with collector_paused():
            assert not gc.isenabled()
            raise ValueError("the model does not load")

    with pytest.raises(ValueError, match="does not load"):
        fail()
    assert gc.isenabled()
