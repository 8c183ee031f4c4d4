"""What a run does around its engine: passes, publications, reports, interruptions; the engine is a plain loop here."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from jobs.interrupts import interruptible
from jobs.progress import Progress
from jobs.run import job as run_module
from jobs.run.job import run_job
from jobs.run.loop_engine import LoopEngine
from jobs.run.prepare import count_pages
from jobs.run.ray_workers import ActorConfig
from jobs.run.resources import Resources, plan_resources
from jobs.settings import RunSettings
from pipeline.answering.bundle_answerer import BundleAnswerer
from pipeline.errors import DocpipeError, EngineError, ModelError, SettingsChangedError, UsageError
from pipeline.output.attempts import Markers
from pipeline.output.folder import Folder
from pipeline.output.lock import OutputLock
from pipeline.output.store import OutputStore
from pipeline.pages.documents import list_documents
from pipeline.pages.renderer import RenderChild
from pipeline.questions.file import parse_questions
from pipeline.records import Bundle, Document, Receipt
from tests.support.colours import WHITE, make_pdf
from tests.support.helpers import FakePageAnswerer
from tests.support.loop import run_loop

QUESTIONS = parse_questions('version: 1\nquestions: [{id: a, text: "A?"}, {id: b, text: "B?", pages: "1"}]', "q.yaml")
ROWS = 3 * 18

Engine = Callable[[Sequence[Bundle], ActorConfig, Resources], Iterator[Receipt]]


def loop(bundles: Sequence[Bundle], config: ActorConfig, resources: Resources) -> Iterator[Receipt]:
    folder = Folder(config.output)
    with RenderChild() as child:
        answerer = BundleAnswerer(
            FakePageAnswerer(), OutputStore(folder, config.command, config.run_id), Markers(folder)
        )  # type: ignore[arg-type]
        yield from run_loop(bundles, child, answerer, config.settings)


@pytest.fixture
def settings(tmp_path: Path, tiny_base: Path) -> RunSettings:
    (tmp_path / "in").mkdir()
    for number in range(3):  # each too long to share a bundle
        make_pdf(tmp_path / "in" / f"{number}.pdf", [WHITE] * 17)
    return RunSettings(
        input=(str(tmp_path / "in"),),
        questions="q.yaml",
        output=str(tmp_path / "out"),
        model=str(tiny_base),
        max_visual_tokens=16,
        quiet=True,
    )


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Callable[[Engine], None]:
    """Put another engine in Ray's place."""

    def put(one: Engine) -> None:
        class Other(LoopEngine):
            def receipts(self, bundles: Any, config: Any, resources: Any, load: Any) -> Iterator[Receipt]:
                return one(list(bundles), config, resources)

        monkeypatch.setattr(run_module, "choose_engine", lambda *_: (Other(), "a test"))

    put(loop)
    return put


def stored(settings: RunSettings) -> dict[str, Any]:
    run: dict[str, Any] = json.loads(Path(settings.output, "run.json").read_text())
    counts = run["counts"]
    assert counts["planned"] == ROWS == sum(value for key, value in counts.items() if key != "planned")
    assert pq.read_table(Path(settings.output, "answers")).num_rows == ROWS - counts["pending"]
    with OutputLock(Folder(settings.output)):  # is free again
        return run


def test_what_a_run_reports(settings: RunSettings, engine: Callable[[Engine], None]) -> None:
    report = run_job(settings, QUESTIONS)
    assert stored(settings) == json.loads(json.dumps(report))
    assert {key: report[key] for key in ("documents", "pages", "units", "failed_share", "exit_code", "error")} == {
        "documents": 3,
        "pages": 51,
        "units": 6,
        "failed_share": 0.0,
        "exit_code": 0,
        "error": None,
    }
    assert report["counts"]["answered"] == ROWS
    assert {key: report["this_run"][key] for key in ("passes", "bundles", "retried_bundles", "pages", "rows")} == {
        "passes": 1,
        "bundles": 3,
        "retried_bundles": 0,
        "pages": 51,
        "rows": ROWS,
    }
    assert report["versions"].keys() == {
        "python",
        "glimpse-docpipe",
        "torch",
        "transformers",
        "ray",
        "pymupdf",
        "pyarrow",
    }
    assert None not in report["versions"].values()
    assert report["settings"]["model"] == settings.choice.model
    assert len(report["answer_settings"]["model_fingerprint"]) == 16
    assert report["started_at"] <= report["finished_at"]
    assert report["wall_s"] > report["this_run"]["engine_wall_s"] > 0
    assert 0 < report["this_run"]["model_busy_share"] < report["this_run"]["busy_share"]

    again = run_job(settings, QUESTIONS)
    assert again["counts"] == report["counts"]
    assert again["totals"] == report["totals"]
    measured = ("engine_wall_s", "pages_per_s", "rows_per_s", "busy_share", "model_busy_share", "resources")
    assert {key: again["this_run"][key] for key in measured} == dict.fromkeys(measured)


def test_lost_bundles_are_tried_again(settings: RunSettings, engine: Callable[[Engine], None]) -> None:
    passes: list[int] = []

    def forgetful(bundles: Sequence[Bundle], *rest: Any) -> Iterator[Receipt]:
        passes.append(len(bundles))
        yield from loop(bundles[:1], *rest)

    engine(forgetful)
    assert run_job(settings, QUESTIONS)["this_run"]["passes"] == 3
    assert passes == [3, 2, 1]
    assert stored(settings)["counts"]["pending"] == 0


def test_bundles_that_stay_lost_are_an_engine_fault(settings: RunSettings, engine: Callable[[Engine], None]) -> None:
    engine(lambda bundles, *rest: loop(bundles[1:] if len(bundles) == 3 else [], *rest))
    with pytest.raises(EngineError, match=f"18 of {ROWS} rows are still missing after 3 passes"):
        run_job(settings, QUESTIONS)
    run = stored(settings)
    assert (run["exit_code"], run["counts"]["answered"], run["counts"]["pending"]) == (3, 36, 18)
    assert "18 of" in run["error"]


@pytest.mark.parametrize("error", [EngineError("Ray gave up"), ModelError("no weights")])
def test_what_was_done_before_a_fault_is_published(
    settings: RunSettings, engine: Callable[[Engine], None], error: DocpipeError
) -> None:
    def failing(bundles: Sequence[Bundle], *rest: Any) -> Iterator[Receipt]:
        yield from loop(bundles[:1], *rest)
        raise error

    engine(failing)
    with pytest.raises(type(error), match=str(error)):
        run_job(settings, QUESTIONS)
    run = stored(settings)
    assert (run["exit_code"], run["error"], run["counts"]["pending"]) == (3, str(error), 36)
    engine(loop)
    assert run_job(settings, QUESTIONS)["this_run"]["bundles"] == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_publishes_and_resumes(
    settings: RunSettings, engine: Callable[[Engine], None], number: signal.Signals
) -> None:
    def interrupted(bundles: Sequence[Bundle], config: ActorConfig, resources: Resources) -> Iterator[Receipt]:
        yield from loop(bundles[:1], config, resources)
        Markers(Folder(config.output)).begin(bundles[1].bundle_id)
        os.kill(os.getpid(), number)
        signal.pause()

    engine(interrupted)
    report = run_job(settings, QUESTIONS)
    assert (report["exit_code"], report["interrupted"], report["counts"]["pending"]) == (130, True, 36)
    stored(settings)
    assert not list(Path(settings.output, "inflight").iterdir())  # a stop on purpose blames no page
    engine(loop)
    report = run_job(settings, QUESTIONS)
    assert (report["exit_code"], report["this_run"]["bundles"], report["this_run"]["retried_bundles"]) == (0, 2, 0)


class Interrupting(FakePageAnswerer):
    """Ctrl-C comes while the model works on a page."""

    def __init__(self, page: int, number: signal.Signals) -> None:
        super().__init__()
        self.page = page
        self.number = number

    def _answer_page(self, page: Any, asks: Any) -> Any:
        if self.pages == self.page:
            os.kill(os.getpid(), self.number)
            signal.pause()
        return super()._answer_page(page, asks)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_in_the_middle_of_a_bundle_keeps_its_finished_pages(
    settings: RunSettings, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    def load(page_answerer: FakePageAnswerer) -> Callable[[ActorConfig], BundleAnswerer]:
        def answerer(config: ActorConfig) -> BundleAnswerer:
            folder = Folder(config.output)
            return BundleAnswerer(page_answerer, OutputStore(folder, config.command), Markers(folder))  # type: ignore[arg-type]

        return answerer

    followed: list[Callable[[], int]] = []

    def following(progress: Progress, count: Callable[[], int]) -> AbstractContextManager[None]:
        followed.append(count)
        return nullcontext()

    monkeypatch.setattr(Progress, "following", following)
    run = settings.model_copy(update={"engine": "local"})
    report = run_job(run, QUESTIONS, load=load(Interrupting(20, number)))
    assert [count() for count in followed] == [20]  # progress moves page by page
    assert (report["exit_code"], report["interrupted"], report["counts"]["pending"]) == (130, True, ROWS - 22)
    assert {key: report["this_run"][key] for key in ("bundles", "pages", "rows")} == {
        "bundles": 1,
        "pages": 20,
        "rows": 22,
    }
    stored(settings)
    rest = FakePageAnswerer()
    report = run_job(run, QUESTIONS, load=load(rest))
    assert (report["exit_code"], report["this_run"]["pages"], rest.pages) == (0, 31, 31)
    assert stored(settings)["counts"]["answered"] == ROWS


def test_tables_can_be_read_while_the_run_goes_on(
    settings: RunSettings, engine: Callable[[Engine], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def watched(bundles: Sequence[Bundle], config: ActorConfig, resources: Resources) -> Iterator[Receipt]:
        for receipt in loop(bundles, config, resources):
            yield receipt
            answers = Path(config.output, "answers")
            seen.append(pq.read_table(answers).num_rows if answers.exists() else 0)

    engine(watched)
    monkeypatch.setattr(run_module, "_PAGES_A_PUBLICATION", 18)
    run_job(settings, QUESTIONS)
    assert seen == [0, 36, 36]
    assert stored(settings)["counts"]["answered"] == ROWS
    for number in range(3, 6):
        make_pdf(Path(settings.input[0], f"{number}.pdf"), [WHITE] * 17)
    run_job(settings, QUESTIONS)
    assert seen[3:] == [ROWS, ROWS, 2 * ROWS], "what an earlier run did was not counted, or no table came after it"


def test_numbers_of_two_devices_do_not_mix(
    settings: RunSettings, engine: Callable[[Engine], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine(lambda bundles, *rest: loop(bundles[:1], *rest))
    monkeypatch.setattr(run_module, "_PASSES", 1)
    with pytest.raises(EngineError, match="36 of 54"):
        run_job(settings, QUESTIONS)
    there = plan_resources(8.0, 1.0, 8 << 30, None, None, "auto")  # another machine, with a GPU
    monkeypatch.setattr(LoopEngine, "resources", lambda self, run: there)
    with pytest.raises(SettingsChangedError, match="--device .with --dtype auto. was cpu, is cuda"):
        run_job(settings, QUESTIONS)


def test_a_folder_in_use_is_refused(settings: RunSettings, engine: Callable[[Engine], None]) -> None:
    with OutputLock(Folder(settings.output)), pytest.raises(UsageError, match=f"process {os.getpid()} on"):
        run_job(settings, QUESTIONS)


def test_page_counts_outlive_an_interruption(
    settings: RunSettings, engine: Callable[[Engine], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def count(documents: Sequence[Document], *rest: Any) -> None:
        asked.append([document.path for document in documents])
        count_pages(documents, *rest)

    monkeypatch.setattr("jobs.run.prepare.count_pages", count)
    with monkeypatch.context() as patch:
        patch.setattr("jobs.run.prepare.Progress.add", _interrupt_at(2))
        with pytest.raises(KeyboardInterrupt):
            run_job(settings, QUESTIONS)
    saved = OutputStore(Folder(settings.output)).page_counts()
    known = {document_id for rows in saved for document_id in rows["document_id"].to_pylist()}
    assert len(known) >= 2
    left = [d.path for d in list_documents(settings.input) if d.document_id not in known]
    run_job(settings, QUESTIONS)
    # On a busy machine all three may be counted before the interruption is noticed; then nothing is left to count.
    assert asked == [["0.pdf", "1.pdf", "2.pdf"], *([left] if left else [])]


def _interrupt_at(number: int) -> Callable[..., None]:
    calls: list[int] = []

    def add(progress: Progress, count: int = 1) -> None:
        calls.append(count)
        if len(calls) == number:
            os.kill(os.getpid(), signal.SIGINT)

    return add


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_interrupt_and_handlers_are_put_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)

    def interrupted() -> None:
        with interruptible():
            os.kill(os.getpid(), number)
            signal.pause()

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert signal.getsignal(number) is before


def test_an_interruption_is_said_at_once_and_once(capfd: pytest.CaptureFixture[str]) -> None:
    with interruptible(lambda: "interrupted; wait"), interruptible():  # as around Ray
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
    assert capfd.readouterr().err == "interrupted; wait\n"
