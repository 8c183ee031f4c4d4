"""What happens when the renderer hangs, dies, runs out of memory or is interrupted."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import EngineError
from pipeline.pages.child_process import ChildProcess
from pipeline.pages.limits import RenderLimits
from pipeline.pages.renderer import RenderChild, decode_image
from pipeline.records import PageFailure, PageImage, PixelBudget
from tests.support.hostile import Put, content_bomb, raw_pdf, text_pdf
from tests.support.written_pdf import endless_pdf

BUDGET = PixelBudget(28, 3136, 28 * 28 * 256, "pipeline.families.qwen2_5_vl")
GIB = 1 << 30


def test_a_page_that_takes_too_much_memory_costs_that_page_only(put: Put) -> None:
    bomb, sound = put("bomb.pdf", content_bomb()), put("a.pdf", text_pdf(1))
    with RenderChild(RenderLimits(memory_bytes=GIB // 2)) as child:
        assert child.count_pages(bomb) == 1
        first = child.pid
        (result,) = child.render(bomb, [1], 72, BUDGET)
        assert isinstance(result, PageFailure)
        assert (result.failure.stage, result.failure.error_type) == ("render", "RenderOutOfMemory")
        assert isinstance(next(child.render(sound, [1], 72, BUDGET)), PageImage)
        assert child.pid != first
        limits = dict(re.findall(r"Max ([a-z ]+?) +\d+ +(\d+) ", Path(f"/proc/{child.pid}/limits").read_text()))
        assert [limits[name] for name in ("address space", "file size", "open files", "core file size")] == [
            str(GIB // 2),
            str(GIB // 2),
            "64",
            "0",
        ]


def test_a_child_that_cannot_start_is_a_fault_of_the_machine(put: Put) -> None:
    with (
        RenderChild(RenderLimits(memory_bytes=64 << 20)) as child,
        pytest.raises(EngineError, match="does not start within 64 MiB of address space: .+"),
    ):
        child.count_pages(put("a.pdf", text_pdf(1)))


def test_a_page_that_hangs_one_renderer_is_drawn_by_the_other(put: Put) -> None:
    document = put("a.pdf", text_pdf(3))
    with RenderChild(RenderLimits(page_seconds=1.5)) as child:
        pages = child.render(document, [1, 2, 3], 72, BUDGET)
        assert isinstance(next(pages), PageImage)
        hung = child.pid
        assert hung is not None
        os.kill(hung, signal.SIGSTOP)
        started = time.monotonic()
        second = next(pages)
        assert isinstance(second, PageImage)
        assert (second.page, second.renderer) == (2, "pdfium")
        assert second.warnings == "MuPDF: not done within 1.5 s; the renderer was killed"
        assert time.monotonic() - started < 10
        assert not Path(f"/proc/{hung}").exists()
        third = next(pages)
        assert isinstance(third, PageImage)
        assert (third.page, third.renderer, third.warnings) == (3, "mupdf", None)
        assert child.pid != hung


def test_a_document_that_hangs_one_renderer_when_opened_is_opened_by_the_other(put: Put) -> None:
    document, other = put("a.pdf", text_pdf(3)), put("b.pdf", text_pdf(1))
    with RenderChild(RenderLimits(open_seconds=1.0)) as child:
        child.count_pages(other)
        assert child.pid is not None
        os.kill(child.pid, signal.SIGSTOP)
        started = time.monotonic()
        results = list(child.render(document, [1, 2, 3], 72, BUDGET))
        assert time.monotonic() - started < 10
    assert [(r.page, r.renderer) for r in results if isinstance(r, PageImage)] == [(n, "pdfium") for n in (1, 2, 3)]


@pytest.fixture
def die(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, signal.Signals, int], None]:
    """Sends a signal to the child as soon as it is asked to do something, and to those that take its place."""
    original, left = ChildProcess.ask, [("", signal.SIGKILL, 0)]

    def ask(self: ChildProcess, request: dict[str, Any], seconds: float) -> Any:
        what, number, times = left[0]
        if request["do"] == what and times:
            left[0] = (what, number, times - 1)
            os.kill(self.pid, number)
        return original(self, request, seconds)

    def at(what: str, number: signal.Signals, times: int) -> None:
        left[0] = (what, number, times)

    monkeypatch.setattr(ChildProcess, "ask", ask)
    return at


@pytest.mark.parametrize(
    ("number", "times", "said"), [(signal.SIGSEGV, 1, "signal 11"), (signal.SIGKILL, 2, "signal 9")]
)
def test_a_page_that_crashes_one_renderer_is_drawn_by_the_other(
    put: Put, die: Callable[[str, signal.Signals, int], None], number: signal.Signals, times: int, said: str
) -> None:
    document = put("a.pdf", text_pdf(3))
    with RenderChild() as child:
        pages = child.render(document, [1, 2, 3], 72, BUDGET)
        next(pages)
        die("render", number, times)
        second, third = pages
    assert isinstance(second, PageImage)
    assert (second.renderer, second.warnings) == ("pdfium", f"MuPDF: the renderer died ({said})")
    assert isinstance(third, PageImage)
    assert third.renderer == "mupdf"


@pytest.mark.parametrize("what", ["open", "sha256", "measure", "render"])
def test_a_renderer_that_somebody_kills_costs_nothing_and_no_document_is_blamed(
    put: Put, die: Callable[[str, signal.Signals, int], None], what: str
) -> None:
    document = put("a.pdf", text_pdf(2))
    with RenderChild() as child:
        die(what, signal.SIGKILL, 1)
        assert child.count_pages(document) == 2
        assert child.sha256(document) == hashlib.sha256(Path(document.uri).read_bytes()).hexdigest()
        assert all(child.measure(document, [1, 2], 72, BUDGET))
        found = list(child.render(document, [1, 2], 72, BUDGET))
    seen = [(page.page, page.renderer, page.warnings) for page in found if isinstance(page, PageImage)]
    assert seen == [(1, "mupdf", None), (2, "mupdf", None)]


def test_a_renderer_that_somebody_kills_while_it_starts_is_started_again(
    put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, killed = ChildProcess._receive, []

    def receive(self: ChildProcess, deadline: float) -> Any:
        if not killed:
            killed.append(self.pid)
            os.kill(self.pid, signal.SIGKILL)
        return original(self, deadline)

    monkeypatch.setattr(ChildProcess, "_receive", receive)
    with RenderChild() as child:
        assert child.count_pages(put("a.pdf", text_pdf(2))) == 2
        assert child.pid not in killed


def test_a_child_that_died_between_two_pages_costs_nothing(put: Put) -> None:
    document = put("a.pdf", text_pdf(2))
    with RenderChild() as child:
        pages = child.render(document, [1, 2], 72, BUDGET)
        next(pages)
        before = child.pid
        assert before is not None
        os.kill(before, signal.SIGSEGV)
        os.waitid(os.P_PID, before, os.WEXITED | os.WNOWAIT)
        assert isinstance(next(pages), PageImage)
        assert child.pid != before


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt, also where whoever started the tests in the background had it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_after_an_interrupt_no_answer_is_taken_for_another(put: Put) -> None:
    document = put("a.pdf", text_pdf(2))
    with RenderChild() as child:
        expected = [decode_image(p) for p in child.render(document, [1, 2], 72, BUDGET) if isinstance(p, PageImage)]
        assert child.pid is not None
        os.kill(child.pid, signal.SIGSTOP)
        timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            next(child.render(document, [1], 72, BUDGET))
        timer.join()
        (again,) = child.render(document, [2], 72, BUDGET)
        assert isinstance(again, PageImage)
        assert np.array_equal(decode_image(again), expected[1])


def test_the_child_goes_when_its_parent_is_killed(put: Put) -> None:
    document = put("a.pdf", text_pdf(1))
    program = (
        "import sys, time\nfrom pipeline.records import Document\nfrom pipeline.pages.renderer import RenderChild\n"
        f"child = RenderChild()\nchild.count_pages({document!r})\nprint(child.pid, flush=True)\ntime.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        os.kill(pid, signal.SIGSTOP)  # not even one that cannot see its input end
        parent.kill()
    deadline = time.monotonic() + 20
    while (stat := Path(f"/proc/{pid}/stat")).exists() and stat.read_text().split()[2] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_closing_leaves_nothing_behind_and_opening_starts_anew(put: Put) -> None:
    document = put("a.pdf", text_pdf(1))
    descriptors = len(os.listdir("/proc/self/fd"))
    child = RenderChild()
    child.count_pages(document)
    first = child.pid
    child.close()
    assert child.pid is None
    assert not Path(f"/proc/{first}").exists()
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert child.count_pages(document) == 1
    child.close()
    child.close()


def test_the_child_prints_nothing_dumps_no_core_and_loads_no_neural_network(
    put: Put, capfd: pytest.CaptureFixture[str]
) -> None:
    complaints = put("a.pdf", raw_pdf(content=b"BT /Nope 12 Tf (x) Tj ET [ ( << Q Q Q"))
    with RenderChild() as child:
        assert isinstance(next(child.render(complaints, [1], 72, BUDGET)), PageImage)
        limits = Path(f"/proc/{child.pid}/limits").read_text()
        maps = Path(f"/proc/{child.pid}/maps").read_text()
    assert "/pymupdf/" in maps
    assert not [name for name in ("onnxruntime", "torch", "tokenizers", "pyarrow") if f"/{name}/" in maps]
    assert capfd.readouterr() == ("", "")
    assert limits.split("Max core file size")[1].split()[:2] == ["0", "0"]


def test_the_folder_it_is_started_in_does_not_matter(put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("json.py", "pipeline.py", "pymupdf.py"):
        (tmp_path / name).write_text("raise SystemExit(3)")
    monkeypatch.chdir(tmp_path)
    with RenderChild() as child:
        assert child.count_pages(put("a.pdf", text_pdf(1))) == 1


def test_the_driver_stays_light() -> None:
    names = (
        "questions.page_ranges questions.file pages.documents families.qwen2_5_vl pages.renderer pages.child_process"
    )
    imports = "; ".join(f"import pipeline.{name}" for name in [*names.split(), "records", "errors"])
    heavy = "{'torch', 'transformers', 'pymupdf', 'ray'}"
    command = [sys.executable, "-c", f"{imports}; import sys; print(sorted({heavy} & set(sys.modules)))"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_page_that_hangs_is_not_waited_for_once_it_is_cancelled(put: Put) -> None:
    document = put("a.pdf", endless_pdf(1))
    with RenderChild() as child, ThreadPoolExecutor(1) as thread:
        assert child.count_pages(document) == 1
        hanging = thread.submit(lambda: list(child.render(document, [1], 72, BUDGET)))
        time.sleep(0.5)
        child.cancel()
        with pytest.raises(CancelledError):
            hanging.result(timeout=5)


def test_a_cancelled_child_begins_nothing_more(put: Put) -> None:
    with RenderChild() as child:
        child.cancel()
        with pytest.raises(CancelledError):
            child.count_pages(put("a.pdf", text_pdf(1)))
