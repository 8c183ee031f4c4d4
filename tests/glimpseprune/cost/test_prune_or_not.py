from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from glimpseprune.cost import prune_or_not as planner
from glimpseprune.cost.flops import DecoderShape, Operations, PageWork, pruned_operations, unpruned_operations
from glimpseprune.cost.prune_or_not import (
    EXPECTED_RETENTION,
    PruningChoice,
    cheaper_way,
    choose_pruning,
    expected_retention,
)
from glimpseprune.cost.rates import EQUAL, Rates
from glimpseprune.decode.log_pool import MOST_PAGES
from glimpseprune.errors import InputError
from glimpseprune.families.shape import ModelShape
from glimpseprune.methods.glimpse.addon_config import new_addon_config
from glimpseprune.methods.glimpse.module import Glimpse
from glimpseprune.rule import KeepRule
from pipeline.answering.bundle_answerer import BundleAnswerer
from pipeline.answering.open_page import ModelAnswer
from pipeline.answering.page_answerer import PageAnswerer
from pipeline.output.attempts import Markers
from pipeline.output.folder import Folder
from pipeline.output.publish import publish
from pipeline.output.store import OutputStore
from pipeline.pages.documents import list_documents
from pipeline.pages.renderer import RenderChild
from pipeline.records import Ask, PageCount
from pipeline.units import make_bundles, make_units
from tests.support.bundles import with_counts
from tests.support.colours import WHITE, make_pdf
from tests.support.helpers import SETTINGS, questions
from tests.support.loop import run_loop
from tests.support.published import everything

SHAPE_7B = ModelShape(3584, 28, 28, 4, 128, 18944, 152064, 1e-6, 1280, 32, 4)
SHAPE = DecoderShape.of(SHAPE_7B)
with torch.device("meta"):
    ADDON = Glimpse(new_addon_config(SHAPE_7B))
RULE = KeepRule(max_ratio=0.3)
ASKS = [
    Ask(name, text, "text", limit, RULE, prune_auto=True)
    for name, text, limit in [("a", "What is the total?", 9), ("b", "Who?", 5), ("c", "When is it due?", 40)]
]


def page(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (308, 224, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def page_answerer(tiny_base: Path, tiny_addon: Path) -> PageAnswerer:
    return PageAnswerer.load(str(tiny_base), str(tiny_addon), "cpu", "auto", "auto", 0)


def cheaper(monkeypatch: pytest.MonkeyPatch, choice: str) -> None:
    """Make one of the two ways the cheaper one."""
    cost = Operations() if choice == "unpruned" else Operations(linear=10**15)
    monkeypatch.setattr(planner, "unpruned_operations", lambda *_: cost)


def choice_7b(count: int, rates: Rates = EQUAL) -> PruningChoice:
    work = PageWork(5020, 5000, [30] * count, [16] * count)
    return cheaper_way(SHAPE, ADDON, work, EXPECTED_RETENTION, rates)


def test_few_questions_are_pruned_and_many_are_not() -> None:
    choices = [choice_7b(count).choice for count in range(1, 61)]
    pays_until = choices.count("glimpse")
    assert choices == ["glimpse"] * pays_until + ["unpruned"] * (60 - pays_until)
    # Pruning saves 9 layers over 5020 tokens once, and runs 9 layers over 0.04 x 5000 + 20 more for each question:
    # even at 22.8, less a little for the predictor.
    assert 15 <= pays_until <= 25


def test_a_slow_predictor_makes_pruning_pay_for_fewer_questions() -> None:
    def pays_until(rates: Rates) -> int:
        return [choice_7b(count, rates=rates).choice for count in range(1, 61)].count("glimpse")

    slow = Rates(EQUAL.linear, EQUAL.attention, 50 * EQUAL.predictor, 0.0, 0.0)
    slow_attention = Rates(EQUAL.linear, 20 * EQUAL.attention, EQUAL.predictor, 0.0, 0.0)
    assert pays_until(slow) < pays_until(EQUAL) < pays_until(slow_attention)


def test_pages_that_decode_together_share_what_a_layer_takes_to_begin() -> None:
    """A layer that takes a millisecond to begin, where unpruned questions decode page by page, and with other pages."""
    slow_start = Rates(1e-15, 1e-15, 1e-15, 0.0, 0.001)
    quick_start = Rates(1e-15, 1e-15, 1e-15, 0.0, 0.0)
    work = PageWork(520, 500, [30] * 200, [16] * 200)

    def choice(rates: Rates, unpruned_together: int) -> str:
        return cheaper_way(SHAPE, ADDON, work, 0.04, rates, unpruned_together).choice

    assert choice(slow_start, 1) == "glimpse"
    assert choice(slow_start, MOST_PAGES) == choice(quick_start, 1) == "unpruned"


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


def test_the_figures_are_those_of_the_prompts(page_answerer: PageAnswerer) -> None:
    grid = (22, 16)
    prompts = [page_answerer.processor.prompt(ask.prompt, grid) for ask in ASKS]
    rules = [KeepRule(max_ratio=0.02), KeepRule(min_tokens=9), KeepRule()]
    lengths = [prompt.numel() for prompt in prompts]
    shared = int((prompts[0] == page_answerer.processor.image_token_id).nonzero()[-1]) + 1
    work = PageWork(shared, 88, [length - shared for length in lengths], [9, 5, 16])
    shape = DecoderShape.of(page_answerer.model.backbone.shape)
    assert page_answerer.model.method is not None
    addon = page_answerer.model.method

    choice = choose_pruning(page_answerer.model, prompts, rules, [9, 5, 40], EQUAL)
    assert choice.tflops_glimpse == pytest.approx(pruned_operations(shape, addon, work, 9 / 88).flops / 1e12)
    assert choice.tflops_unpruned == pytest.approx(unpruned_operations(shape, work).flops / 1e12)
    assert choice == choose_pruning(page_answerer.model, prompts, rules, [9, 5, 40], EQUAL)
    with pytest.raises(InputError, match="cannot prune"):
        choose_pruning(dataclasses.replace(page_answerer.model, method=None), prompts, rules, [9, 5, 40], EQUAL)


def said(answers: Sequence[ModelAnswer]) -> list[Any]:
    return [
        (a.text, a.new_tokens, a.finish_reason, a.stats.kept_tokens, None if a.keep is None else a.keep.tolist())
        for a in answers
    ]


@pytest.mark.parametrize("choice", ["glimpse", "unpruned"])
def test_chosen_answers_are_those_of_what_was_chosen(
    page_answerer: PageAnswerer, choice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cheaper(monkeypatch, choice)
    fixed = [dataclasses.replace(ask, prune_auto=False, rule=RULE if choice == "glimpse" else None) for ask in ASKS]
    chosen, fixed_answers = page_answerer.answer_page(page(), ASKS), page_answerer.answer_page(page(), fixed)
    assert said(chosen) == said(fixed_answers)
    assert [answer.pruning for answer in fixed_answers] == [None] * 3
    made = chosen[0].pruning
    assert made is not None
    assert made.choice == choice
    assert [answer.pruning for answer in chosen] == [made] * 3
    if choice == "unpruned":
        assert [(a.stats.retention, a.stats.kept_tokens, a.scores) for a in chosen] == [(1.0, 88, None)] * 3


def test_a_mask_and_a_question_without_a_rule_are_not_chosen_for(
    page_answerer: PageAnswerer, monkeypatch: pytest.MonkeyPatch
) -> None:
    cheaper(monkeypatch, "unpruned")
    masks = [np.arange(88) < 5] * 3
    assert [(a.pruning, a.stats.kept_tokens) for a in page_answerer.answer_page(page(), ASKS, masks)] == [(None, 5)] * 3
    mixed = [dataclasses.replace(ASKS[0], rule=None, prune_auto=False), *ASKS[1:]]
    assert [answer.pruning is None for answer in page_answerer.answer_page(page(), mixed)] == [True, False, False]


@pytest.mark.parametrize("prune", ["off", "glimpse", "auto"])
def test_the_rows_say_what_was_chosen(
    page_answerer: PageAnswerer, prune: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cheaper(monkeypatch, "unpruned")
    (tmp_path / "in").mkdir()
    make_pdf(tmp_path / "in" / "a.pdf", [WHITE] * 2)
    settings = dataclasses.replace(SETTINGS, rule=None if prune == "off" else RULE, prune_auto=prune == "auto")
    documents, asked = list_documents([str(tmp_path / "in")]), questions("id: a, text: A", "id: b, text: B")
    counts = {documents[0].document_id: PageCount(documents[0].document_id, 2)}
    counted = with_counts(documents, counts)
    units = list(make_units(counted, asked, settings))
    bundles = list(make_bundles(units, counted, asked, settings))
    folder = Folder(str(tmp_path / "out"))
    store = OutputStore(folder)
    with RenderChild() as child:
        (receipt,) = run_loop(bundles, child, BundleAnswerer(page_answerer, store, Markers(folder)), settings)
    assert 0 < receipt.model_ms < receipt.busy_ms
    assert receipt.began_at_s < receipt.ended_at_s
    publish(store, {}, everything(store))
    rows = pq.read_table(tmp_path / "out" / "answers").to_pylist()
    assert len(rows) == 4
    if prune != "auto":
        columns = ("pruning", "expected_tflops_glimpse", "expected_tflops_unpruned")
        assert {row[name] for row in rows for name in columns} == {None}
        return
    assert {(row["pruning"], row["expected_tflops_unpruned"], row["retention"]) for row in rows} == {
        ("unpruned", 0.0, 1.0)
    }
    assert all(row["expected_tflops_glimpse"] > 0 and row["kept_tokens"] == row["visual_tokens"] for row in rows)
    assert [row["evidence"] for row in rows] == [None] * 4
