from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.run.ray_engine import RayEngine, _patience_s
from jobs.run.ray_workers import ActorConfig, from_table, load_answerer, read_receipt, receipt_table, to_table
from jobs.run.resources import Resources
from pipeline.answering.bundle_answerer import BundleAnswerer
from pipeline.errors import ModelError, OutputError
from pipeline.output.folder import Folder
from pipeline.output.publish import publish
from pipeline.output.store import OutputStore
from pipeline.pages.bundle_pages import render_bundle
from pipeline.pages.documents import list_documents
from pipeline.pages.renderer import RenderChild
from pipeline.questions.file import parse_questions
from pipeline.questions.values import Reading
from pipeline.records import AnswerSettings, Bundle, Failure, PageCount, PixelBudget, Receipt, Unit
from pipeline.units import make_bundles, make_units
from tests.support.bundles import with_counts
from tests.support.colours import (
    GREEN,
    RED,
    WHITE,
    load_and_commit_each_page,
    load_and_note_pids,
    load_onto_a_disk_for_one_part,
    load_slowly_answering,
    make_pdf,
)
from tests.support.no_model import load_nothing
from tests.support.published import everything, rounded

QUESTIONS = parse_questions(
    'version: 1\nquestions:\n  - {id: a, text: "A?", max_new_tokens: 3}\n'
    '  - {id: b, text: "B and more?", pages: "1", max_new_tokens: 2}\n',
    "questions.yaml",
)
SETTINGS = AnswerSettings(
    "nano", "f", None, None, None, 72, PixelBudget(28, 4 * 784, 16 * 784, "pipeline.families.qwen2_5_vl"), "float32", 0
)
RESOURCES = Resources(
    actors=1, actor_cpus=0.5, actor_gpus=0.0, actor_threads=1, renders=1, render_cpus=1.0, render_memory_bytes=2**30
)


def config(output: Path, settings: AnswerSettings = SETTINGS) -> ActorConfig:
    return ActorConfig(settings, str(output), "docpipe run --input {input}", "test-run", "cpu", "auto", 1, None)


run_bundles = RayEngine(None).receipts


def units_and_bundles(folder: Path, settings: AnswerSettings = SETTINGS) -> tuple[list[Unit], list[Bundle]]:
    documents = list_documents([str(folder)])
    with RenderChild() as child:
        counts = {d.document_id: PageCount(d.document_id, child.count_pages(d)) for d in documents}
    broken = [d for d in documents if d.path == "broken.pdf"]
    for d in broken:
        counts[d.document_id] = PageCount(d.document_id, None, Failure("open", "CorruptDocument", "no"))
    counted = with_counts(documents, counts)
    units = list(make_units(counted, QUESTIONS, settings))
    return units, list(make_bundles(units, counted, QUESTIONS, settings))


def tables(store: OutputStore) -> dict[str, list[dict[str, object]]]:
    """Everything published, without what differs from one execution to the next by nature."""
    publish(store, {"b": Reading(aggregate="first")}, everything(store))
    found = {}
    for name in ("answers", "pages", "failures", "documents"):
        table = pa.concat_tables(pq.read_table(file) for file in Path(store.folder.uri, name).glob("*.parquet"))
        volatile = [c for c in table.column_names if c.endswith("_ms") or c.startswith("peak_") or c == "answered_at"]
        rows = [rounded(row) for row in table.drop_columns(volatile).to_pylist()]
        found[name] = sorted(rows, key=lambda row: json.dumps(row, default=str))
    return found


def test_a_page_that_kills_the_model_costs_that_page(ray_session: None, tmp_path: Path) -> None:
    pdfs = tmp_path / "pdfs"
    pdfs.mkdir()
    make_pdf(pdfs / "a.pdf", [WHITE, RED, (9, 9, 9)])
    units, bundles = units_and_bundles(pdfs)
    engine = RayEngine(None)
    (receipt,) = engine.receipts(bundles, config(tmp_path / "out"), RESOURCES, load_and_commit_each_page)
    assert (receipt.attempt, receipt.pages, engine.pages_done()) == (4, 3, 3)
    store = OutputStore(Folder(str(tmp_path / "out")))
    assert [store.done().left_of(unit) for unit in units] == [None, None]
    assert len(store.parts()) == 3  # the page before the one that kills is committed once, by the first attempt
    found = tables(store)
    assert {(row["page"], row["question_id"], row["status"], row["answer"]) for row in found["answers"]} == {
        (1, "a", "answered", "a (255, 255, 255)"),
        (1, "b", "answered", "b (255, 255, 255)"),
        (2, "a", "failed", None),
        (3, "a", "answered", "a (9, 9, 9)"),
    }
    assert [(row["page"], row["error_type"], row["attempts"]) for row in found["failures"]] == [(2, "ModelCrash", 4)]
    assert not list((tmp_path / "out" / "inflight").iterdir())


@pytest.fixture(scope="module")
def with_a_bug(ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Bundle], list[Receipt]]:
    """The output folder, the bundles and the receipts of a run in which the model has a bug on one of two documents."""
    folder = tmp_path_factory.mktemp("bug")
    (folder / "pdfs").mkdir()
    make_pdf(folder / "pdfs" / "bug.pdf", [WHITE] * 17 + [GREEN])
    make_pdf(folder / "pdfs" / "fine.pdf", [WHITE] * 17)
    _, bundles = units_and_bundles(folder / "pdfs")
    (folder / "out").mkdir()
    return folder / "out", bundles, list(run_bundles(bundles, config(folder / "out"), RESOURCES, load_and_note_pids))


def test_a_bug_loses_its_bundle_and_no_other(with_a_bug: tuple[Path, list[Bundle], list[Receipt]]) -> None:
    out, (buggy, fine), receipts = with_a_bug
    assert [receipt.bundle_id for receipt in receipts] == [fine.bundle_id]
    done = OutputStore(Folder(str(out))).done().units
    assert done == {unit.unit_id for unit in fine.units}
    assert not done & {unit.unit_id for unit in buggy.units}


def test_rendering_stays_out_of_the_process_that_holds_the_model(
    with_a_bug: tuple[Path, list[Bundle], list[Receipt]],
) -> None:
    seen = [json.loads(path.read_text()) for path in with_a_bug[0].glob("*.json")]
    assert seen
    for process in seen:
        assert process["pid"] != os.getpid()
        assert not process["renders"]


def test_a_model_that_does_not_load_ends_the_run_with_its_reason(ray_session: None, tmp_path: Path) -> None:
    make_pdf(tmp_path / "a.pdf", [WHITE])
    with pytest.raises(ModelError, match="^no model on cpu$"):
        list(run_bundles(units_and_bundles(tmp_path)[1], config(tmp_path / "out"), RESOURCES, load_nothing))


@pytest.mark.slow
def test_point_19_a_disk_that_is_full_in_mid_run_ends_it_with_one_sentence(
    ray_session: None, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("logging.raiseExceptions", False)  # a handler of Ray may hold the output of an earlier test
    for name in ("a.pdf", "b.pdf", "c.pdf"):
        make_pdf(tmp_path / name, [WHITE] * 17)
    bundles = units_and_bundles(tmp_path)[1]
    assert len(bundles) == 3
    received: list[Receipt] = []
    with pytest.raises(OutputError, match=r"^cannot write .*/parts/.*\[Errno 28\][^\n]*run the same command again$"):
        received.extend(run_bundles(bundles, config(tmp_path / "out"), RESOURCES, load_onto_a_disk_for_one_part))
    assert len(received) <= 1
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.slow
def test_pages_in_flight_do_not_grow_with_the_number_of_documents(ray_session: None, tmp_path: Path) -> None:
    """Twice as many pixels as Ray's object store holds pass through it, and none of them is spilled to disk."""
    import ray

    pdfs = tmp_path / "pdfs"
    pdfs.mkdir()
    for i in range(12):
        make_pdf(pdfs / f"{i:02}.pdf", [WHITE] * 17, size_pt=700)
    settings = AnswerSettings(
        "nano", "f", None, None, None, 72, PixelBudget(28, 784, 600 * 784, "pipeline.families.qwen2_5_vl"), "float32", 0
    )
    bundles = units_and_bundles(pdfs, settings)[1]
    assert len(bundles) == 12
    with RenderChild() as child:
        rendered = render_bundle(bundles[0], child, settings)
    assert 12 * sum(len(image.data) for image in rendered.images) > 1.7 * 150 * 2**20
    receipts = list(run_bundles(bundles, config(tmp_path / "out", settings), RESOURCES, load_slowly_answering))
    assert len(receipts) == 12
    session = Path(ray._private.worker._global_node.get_session_dir_path())
    assert not [path for path in session.glob("ray_spilled_objects*/**/*") if path.is_file()]


def test_rendered_pages_and_receipts_cross_the_border_unchanged(tmp_path: Path) -> None:
    make_pdf(tmp_path / "a.pdf", [WHITE, RED])
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    documents = list_documents([str(tmp_path)])
    counts = {d.document_id: PageCount(d.document_id, 3) for d in documents}
    counted = with_counts(documents, counts)
    units = list(make_units(counted, QUESTIONS, SETTINGS))
    (bundle,) = make_bundles(units, counted, QUESTIONS, SETTINGS)
    with RenderChild() as child:
        rendered = render_bundle(bundle, child, SETTINGS)
    assert (len(rendered.images), len(rendered.failures)) == (2, 4)
    assert from_table(to_table(rendered)) == rendered
    receipt = Receipt("b", 3, 12.5, 9.5, 1.7e9, 1.7e9 + 0.0125, 2)
    (row,) = receipt_table(receipt).to_pylist()
    assert read_receipt(row) == receipt
    refusal = receipt_table(OutputError("cannot write out: the disk is full"))
    assert refusal.schema == receipt_table(receipt).schema
    with pytest.raises(OutputError, match="^cannot write out: the disk is full$"):
        read_receipt(refusal.to_pylist()[0])


@pytest.mark.parametrize(("deadline_s", "seconds"), [(None, 32 * 600), (10.0, 1800), (1000.0, 32_000)])
def test_ray_is_patient_with_a_bundle_of_slow_pages(deadline_s: float | None, seconds: float) -> None:
    assert _patience_s(deadline_s) == seconds


def test_the_loader_is_what_the_engine_takes() -> None:
    loader: Callable[[ActorConfig], BundleAnswerer] = load_answerer
    assert loader is RayEngine.receipts.__defaults__[0]  # type: ignore[index]
