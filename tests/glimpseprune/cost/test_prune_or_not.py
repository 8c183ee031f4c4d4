from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from glimpseprune.cost import prune_or_not as planner
from glimpseprune.cost.flops import DecoderShape, PageWork, pruned_flops, unpruned_flops
from glimpseprune.cost.prune_or_not import EXPECTED_RETENTION, PagePlan, expected_retention, plan_page, plan_questions
from glimpseprune.errors import InputError
from glimpseprune.methods.glimpse.addon_config import BaseShape, new_addon_config
from glimpseprune.rule import KeepRule
from pipeline.answering.bundle_answerer import BundleAnswerer
from pipeline.answering.page_answerer import ModelAnswer, Reader
from pipeline.loop import run_loop
from pipeline.output.attempts import Markers
from pipeline.output.folder import Folder
from pipeline.output.publish import publish
from pipeline.output.store import OutputStore
from pipeline.pages.documents import list_documents
from pipeline.pages.renderer import RenderChild
from pipeline.records import Ask, PageCount
from pipeline.units import make_bundles, make_units
from tests.support.colours import WHITE, make_pdf
from tests.support.helpers import SETTINGS, questions

SHAPE = DecoderShape(28, 3584, 28, 4, 128, 18944, 152064)  # the 7B model and its published add-on
ADDON = new_addon_config(BaseShape(3584, 28, 28, 1280, 32), 4, 1e-6)
RULE = KeepRule(max_ratio=0.3)
ASKS = [
    Ask(name, text, "text", limit, RULE, planned=True)
    for name, text, limit in [("a", "What is the total?", 9), ("b", "Who?", 5), ("c", "When is it due?", 40)]
]


def page(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (308, 224, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def reader(tiny_base: Path, tiny_addon: Path) -> Reader:
    return Reader.load(str(tiny_base), str(tiny_addon), "cpu", "auto", "auto", 0)


def cheaper(monkeypatch: pytest.MonkeyPatch, choice: str) -> None:
    """Make one of the two ways the cheaper one."""
    monkeypatch.setattr(planner, "unpruned_flops", lambda *_: 0 if choice == "dense" else 10**15)


def plan_7b(count: int, takes_bias: bool = True) -> PagePlan:
    work = PageWork(5020, 5000, [30] * count, [16] * count)
    return plan_page(SHAPE, ADDON, [work], [work] if takes_bias else work.apart(), EXPECTED_RETENTION)


def test_few_questions_are_pruned_and_many_are_not() -> None:
    choices = [plan_7b(count).choice for count in range(1, 61)]
    pays_until = choices.count("glimpse")
    assert choices == ["glimpse"] * pays_until + ["dense"] * (60 - pays_until)
    # Pruning saves 9 layers over 5020 tokens once, and runs 9 layers over 0.04 x 5000 + 20 more for each question:
    # even at 22.8, less a little for the predictor.
    assert 15 <= pays_until <= 25


def test_questions_that_share_nothing_without_pruning_are_always_pruned() -> None:
    """Flash attention prefills unpruned questions one by one."""
    for count in (1, 10, 60):
        plan = plan_7b(count, takes_bias=False)
        assert plan.choice == "glimpse"
        assert plan.tflops_dense == pytest.approx(count * plan_7b(1).tflops_dense, rel=0.01)


def test_one_question_apart_is_one_question() -> None:
    work = PageWork(5020, 5000, [30], [16])
    (apart,) = work.apart()
    assert unpruned_flops(SHAPE, apart) == pytest.approx(unpruned_flops(SHAPE, work), rel=0.002)
    assert pruned_flops(SHAPE, ADDON, apart, 0.04) == pytest.approx(pruned_flops(SHAPE, ADDON, work, 0.04), rel=0.002)


@pytest.mark.parametrize(
    ("rule", "visual", "share"),
    [
        (KeepRule(), 5000, EXPECTED_RETENTION),
        (KeepRule(max_ratio=0.111), 5000, EXPECTED_RETENTION),
        (KeepRule(max_ratio=0.02), 5000, 0.02),
        (KeepRule(max_ratio=0.02, min_tokens=500), 5000, 0.1),
        (KeepRule(min_tokens=500), 100, 1.0),
        (KeepRule(), 0, EXPECTED_RETENTION),
    ],
)
def test_the_rule_bounds_what_is_expected(rule: KeepRule, visual: int, share: float) -> None:
    assert expected_retention(rule, visual) == share


def test_the_figures_are_those_of_the_prompts(reader: Reader) -> None:
    grid = (22, 16)
    prompts = [reader.processor.prompt(ask.prompt, grid) for ask in ASKS]
    rules = [KeepRule(max_ratio=0.02), KeepRule(min_tokens=9), KeepRule()]
    lengths = [prompt.numel() for prompt in prompts]
    shared = next(i for i in range(min(lengths)) if len({int(prompt[i]) for prompt in prompts}) > 1)
    work = PageWork(shared, 88, [length - shared for length in lengths], [9, 5, 16])
    config: Any = reader.model.base.config
    shape = DecoderShape.of(config.text_config)
    assert reader.model.glimpse is not None
    addon = reader.model.glimpse.config

    plan = plan_questions(reader.model, prompts, rules, [9, 5, 40])
    assert plan.tflops_glimpse == pytest.approx(pruned_flops(shape, addon, work, 9 / 88) / 1e12)
    assert plan.tflops_dense == pytest.approx(unpruned_flops(shape, work) / 1e12)
    apart = plan_questions(reader.model, prompts, rules, [9, 5, 40], share=False)
    assert apart.tflops_dense == pytest.approx(sum(unpruned_flops(shape, one) for one in work.apart()) / 1e12)
    assert plan == plan_questions(reader.model, prompts, rules, [9, 5, 40])
    with pytest.raises(InputError, match="glimpse add-on"):
        plan_questions(dataclasses.replace(reader.model, glimpse=None), prompts, rules, [9, 5, 40])


def said(answers: Sequence[ModelAnswer]) -> list[Any]:
    return [
        (a.text, a.new_tokens, a.finish_reason, a.stats.kept_tokens, None if a.keep is None else a.keep.tolist())
        for a in answers
    ]


@pytest.mark.parametrize("choice", ["glimpse", "dense"])
def test_planned_answers_are_those_of_what_was_chosen(
    reader: Reader, choice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cheaper(monkeypatch, choice)
    fixed = [dataclasses.replace(ask, planned=False, rule=RULE if choice == "glimpse" else None) for ask in ASKS]
    planned, unplanned = reader.answer_page(page(), ASKS), reader.answer_page(page(), fixed)
    assert said(planned) == said(unplanned)
    assert [answer.plan for answer in unplanned] == [None] * 3
    plan = planned[0].plan
    assert plan is not None
    assert plan.choice == choice
    assert [answer.plan for answer in planned] == [plan] * 3
    if choice == "dense":
        assert [(a.stats.retention, a.stats.kept_tokens, a.scores) for a in planned] == [(1.0, 88, None)] * 3


def test_a_mask_and_a_question_without_a_rule_are_not_planned(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    cheaper(monkeypatch, "dense")
    masks = [np.arange(88) < 5] * 3
    assert [(a.plan, a.stats.kept_tokens) for a in reader.answer_page(page(), ASKS, masks)] == [(None, 5)] * 3
    mixed = [dataclasses.replace(ASKS[0], rule=None, planned=False), *ASKS[1:]]
    assert [answer.plan is None for answer in reader.answer_page(page(), mixed)] == [True, False, False]


@pytest.mark.parametrize("prune", ["off", "glimpse", "auto"])
def test_the_rows_say_what_was_chosen(
    reader: Reader, prune: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cheaper(monkeypatch, "dense")
    (tmp_path / "in").mkdir()
    make_pdf(tmp_path / "in" / "a.pdf", [WHITE] * 2)
    settings = dataclasses.replace(SETTINGS, rule=None if prune == "off" else RULE, planned=prune == "auto")
    documents, asked = list_documents([str(tmp_path / "in")]), questions("id: a, text: A", "id: b, text: B")
    counts = {documents[0].document_id: PageCount(documents[0].document_id, 2)}
    units = make_units(documents, counts, asked, settings)
    bundles = make_bundles(units, documents, asked, settings, counts)
    folder = Folder(str(tmp_path / "out"))
    store = OutputStore(folder)
    with RenderChild() as child:
        (receipt,) = run_loop(bundles, child, BundleAnswerer(reader, store, Markers(folder)), settings)
    assert 0 < receipt.model_ms < receipt.busy_ms
    assert receipt.began_at_s < receipt.ended_at_s
    publish(store, {})
    rows = pq.read_table(tmp_path / "out" / "answers").to_pylist()
    assert len(rows) == 4
    if prune != "auto":
        columns = ("plan", "plan_tflops_glimpse", "plan_tflops_dense")
        assert {row[name] for row in rows for name in columns} == {None}
        return
    assert {(row["plan"], row["plan_tflops_dense"], row["retention"]) for row in rows} == {("dense", 0.0, 1.0)}
    assert all(row["plan_tflops_glimpse"] > 0 and row["kept_tokens"] == row["visual_tokens"] for row in rows)
    assert [row["evidence"] for row in rows] == [None] * 4
