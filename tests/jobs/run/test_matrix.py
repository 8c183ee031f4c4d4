"""Every family with every method under every engine, from PDFs to published tables: the toys beside what ships."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

import glimpseprune as gp
from glimpseprune.families import registry as tensor_families
from jobs.run.engine import Engine
from jobs.run.loop_engine import LoopEngine
from jobs.run.ray_engine import RayEngine
from jobs.run.ray_workers import ActorConfig, load_answerer
from jobs.run.resources import Resources
from pipeline.answering.bundle_answerer import BundleAnswerer
from pipeline.answering.page_answerer import PageAnswerer
from pipeline.confidence.signals import Signals
from pipeline.families import registry as page_families
from pipeline.output.folder import Folder
from pipeline.output.publish import publish
from pipeline.output.store import OutputStore
from pipeline.pages.documents import list_documents
from pipeline.pages.renderer import RenderChild, decode_image
from pipeline.questions.file import parse_questions
from pipeline.records import AnswerSettings, Bundle, PageCount, Receipt, RenderedBundle
from pipeline.units import make_bundles, make_units
from tests.support import toy_family, toy_family_input
from tests.support.bundles import with_counts
from tests.support.colours import make_pdf
from tests.support.published import everything, rounded
from tests.support.toy_method import EverySecondToken

_QUESTIONS = "{id: a, text: What, max_new_tokens: 4}, {id: b, text: Who is it, max_new_tokens: 5}"
_TOGETHER = "{id: c, text: How many, max_new_tokens: 5, pages: 1+2}"
QUESTIONS = {
    "toy": parse_questions(f"version: 1\nquestions: [{_QUESTIONS}]", "q.yaml"),  # it takes one image
    "shipped": parse_questions(f"version: 1\nquestions: [{_QUESTIONS}, {_TOGETHER}]", "q.yaml"),
}
RESOURCES = Resources(
    actors=1, actor_cpus=0.5, actor_gpus=0.0, actor_threads=1, renders=1, render_cpus=1.0, render_memory_bytes=2**30
)
FAMILIES = ("shipped", "toy")
METHODS = ("none", "glimpse", "every second")
IDS = {method: f"{number:016x}" for number, method in enumerate(METHODS)}


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The toy family is known to this process, and its page side to whatever it starts."""
    monkeypatch.setattr(tensor_families, "_registered", {})
    monkeypatch.setattr(page_families, "_registered", {})
    register_toy()


def register_toy() -> None:
    gp.register_family(toy_family.MODEL_TYPE, "tests.support.toy_family")
    page_families.register_family(toy_family_input.MODEL_TYPE, toy_family_input.MODULE)


@pytest.fixture(scope="module")
def pdfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("matrix")
    for number in range(3):
        make_pdf(folder / f"{number}.pdf", [(40 * page + 9, 200 - 60 * number, 130) for page in range(2)])
    return folder


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> dict[str, Path]:
    toy = toy_family_input.write_toy_config(tmp_path_factory.mktemp("toy") / "base")
    return {"shipped": tiny_base, "toy": toy}


def load(method: str, config: ActorConfig) -> BundleAnswerer:
    """Load a model of either family, and give it a method."""
    register_toy()
    answerer = load_answerer(config)
    model, processor = answerer.page_answerer.model, answerer.page_answerer.processor
    answerer.page_answerer = PageAnswerer(replace(model, method=make_method(method, model)), processor)
    return answerer


class AllMethods:
    """One answerer per method, each with an output folder of its own; the id of a bundle is that of its method."""

    def __init__(self, configs: dict[str, ActorConfig]) -> None:
        self.answerers = {IDS[method]: load(method, config) for method, config in configs.items()}
        self.working: BundleAnswerer | None = None

    @property
    def page_started_at(self) -> float | None:
        return None if self.working is None else self.working.page_started_at

    @property
    def pages_done(self) -> int:
        return sum(answerer.pages_done for answerer in self.answerers.values())

    def run(self, rendered: RenderedBundle) -> Receipt:
        self.working = self.answerers[rendered.bundle.bundle_id]
        return self.working.run(rendered)


def load_all(configs: dict[str, ActorConfig], config: ActorConfig) -> BundleAnswerer:
    return AllMethods(configs)  # type: ignore[return-value]


def make_method(name: str, model: gp.GlimpseModel) -> Any:
    if name == "every second":
        return EverySecondToken(prune_layer=1)
    if name == "glimpse":
        torch.manual_seed(3)
        return gp.new_glimpse(model).requires_grad_(False).eval()
    return None


def bundles_of(pdfs: Path, settings: AnswerSettings) -> list[Bundle]:
    documents = list_documents([str(pdfs)])
    counts = {document.document_id: PageCount(document.document_id, 2) for document in documents}
    asked = QUESTIONS[settings.model_fingerprint]
    counted = with_counts(documents, counts)
    return list(make_bundles(make_units(counted, asked, settings), counted, asked, settings))


def rows(out: Path) -> dict[str, list[dict[str, Any]]]:
    """The rows of each table, without what differs from one execution to the next by nature."""
    store = OutputStore(Folder(str(out)))
    assert len(store.done().units) > 0
    publish(store, {}, everything(store))
    return {name: sorted(_kept(out / name), key=_text) for name in ("answers", "pages", "documents", "failures")}


def _kept(table: Path) -> list[dict[str, Any]]:
    found = pq.read_table(table).to_pylist()
    return [{k: v for k, v in row.items() if not k.endswith(("_ms", "_at")) and "peak_" not in k} for row in found]


def _text(row: dict[str, Any]) -> str:
    return json.dumps(row, sort_keys=True, default=str)


def settings_of(family: str, method: str, base: Path) -> AnswerSettings:
    return AnswerSettings(
        model=str(base),
        model_fingerprint=family,
        glimpse=None,
        glimpse_fingerprint=None if method == "none" else method,
        rule=None if method == "none" else gp.KeepRule(threshold=0.5, min_tokens=2),
        dpi=72,
        budget=page_families.find_family(base).read_budget(base, 16),
        dtype="float32",
        seed=0,
        look_again=1.0 if method == "glimpse" else 0.0,
    )


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_both_engines_give_the_same_rows_with_every_method(
    ray_session: None, pdfs: Path, checkpoints: dict[str, Path], tmp_path: Path, family: str
) -> None:
    """An engine does all methods in one go, since each process of Ray that holds a model takes seconds to start."""
    settings = {method: settings_of(family, method, checkpoints[family]) for method in METHODS}
    bundles = [
        replace(bundle, bundle_id=IDS[method]) for method in METHODS for bundle in bundles_of(pdfs, settings[method])
    ]
    found = {}
    threads = torch.get_num_threads()
    engines: dict[str, Engine] = {"local": LoopEngine(), "ray": RayEngine(None)}
    for name, engine in engines.items():
        configs = {
            method: ActorConfig(
                settings[method], str(tmp_path / name / method), "docpipe run", "test-run", "cpu", "auto", 1, None
            )
            for method in METHODS
        }
        receipts = list(engine.receipts(bundles, configs["none"], RESOURCES, partial(load_all, configs)))
        assert {receipt.bundle_id: receipt.pages for receipt in receipts} == dict.fromkeys(IDS.values(), 6)
        found[name] = {method: rows(tmp_path / name / method) for method in METHODS}
    torch.set_num_threads(threads)
    for method in METHODS:
        local, ray = found["local"][method], found["ray"][method]
        check_answers(local.pop("answers"), ray.pop("answers"), family, method)
        assert [len(local[name]) for name in ("pages", "failures")] == [6, 0]
        assert rounded(local) == rounded(ray)


def check_answers(local: list[dict[str, Any]], ray: list[dict[str, Any]], family: str, method: str) -> None:
    for ours, theirs in zip(local, ray, strict=True):
        for name in (field.name for field in fields(Signals)):
            assert ours.pop(name) == pytest.approx(theirs.pop(name), abs=1e-4)
        ours_boxes, theirs_boxes = ours.pop("evidence"), theirs.pop("evidence")
        assert (ours_boxes is None) == (theirs_boxes is None) == (method == "none")
        assert ours == theirs
    assert len(local) == (12 if family == "toy" else 15)
    assert len({row["answer"] for row in local}) > 1
    retentions = {row["retention"] for row in local}
    assert retentions == {1.0} if method == "none" else max(retentions) <= 1.0
    if method == "every second":
        assert retentions == {0.5 if family == "toy" else 5 / 9}  # 4 x 4 tokens, 3 x 3 tokens


@pytest.mark.parametrize("method", METHODS)
def test_the_toy_answers_page_by_page_what_it_answers_together(
    pdfs: Path, checkpoints: dict[str, Path], tmp_path: Path, method: str
) -> None:
    base = checkpoints["toy"]
    rule = None if method == "none" else gp.KeepRule(threshold=0.5, min_tokens=2)
    budget = page_families.find_family(base).read_budget(base, None)
    settings = AnswerSettings(str(base), "toy", None, None, rule, 72, budget, "float32", 0)
    answerer = load(method, ActorConfig(settings, str(tmp_path), "c", "test-run", "cpu", "auto", 1, None))
    reader = answerer.page_answerer
    (bundle,) = bundles_of(pdfs, settings)
    with RenderChild() as child:
        images = [image for document in bundle.documents for image in child.render(document, [1], 72, budget)]
    pages = [(decode_image(image), bundle.asks_of(image.document_id, 1)) for image in images]  # type: ignore[arg-type]
    alone = [[answer.text for answer in reader.answer_page(page, [ask])] for page, asks in pages for ask in asks]
    pooled = dict(reader.answer_pages((i, partial(reader.prepare, *page)) for i, page in enumerate(pages)))
    together = [[answer.text] for i in range(len(pages)) for answer in pooled[i]]  # type: ignore[union-attr]
    assert together == alone
