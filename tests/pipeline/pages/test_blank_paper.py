"""What counts as paper, and a page_answerer that does not show it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from glimpseprune.rule import KeepRule
from pipeline.answering.page_answerer import PageAnswerer
from pipeline.pages.blank_paper import inked_cells, visible_cells
from pipeline.records import Ask
from tests.support.pages import ask_page


def _page() -> np.ndarray:
    page = np.full((28 * 7, 28 * 8, 3), 250, np.uint8)
    page[28 * 4 + 10 : 28 * 4 + 14, 28 * 4 + 3] = 0  # a stroke inside one cell
    page[:28, 28 * 7 :] = 40  # a dark cell of one colour: no ink either
    return page


def test_ink_is_more_than_one_colour() -> None:
    assert np.argwhere(inked_cells(_page(), 28)).tolist() == [[4, 4]]


def test_noise_of_a_scan_is_no_ink() -> None:
    page = np.random.default_rng(0).integers(240, 252, (56, 56, 3)).astype(np.uint8)
    assert not inked_cells(page, 28).any()


def test_one_channel_is_enough() -> None:
    page = np.full((28, 56, 3), 200, np.uint8)
    page[5, 40, 2] = 100
    assert inked_cells(page, 28).tolist() == [[False, True]]


def test_visible_are_ink_its_neighbours_in_the_row_and_anchors() -> None:
    visible = visible_cells(_page(), 28).reshape(7, 8)
    anchors = np.zeros((7, 8), bool)
    anchors[::3, ::3] = True
    anchors[::5, ::5] = True
    row = np.argwhere(visible & ~anchors).tolist()
    assert row == [[4, 3], [4, 4], [4, 5]]
    assert visible[anchors].all()


def test_a_reader_does_not_show_paper(tiny_base: Path, tiny_addon: Path) -> None:
    page_answerer = PageAnswerer.load(str(tiny_base), str(tiny_addon), "cpu", "auto", "auto", 0)
    page = _page()
    page[28:56, :56] = np.random.default_rng(0).integers(0, 256, (28, 56, 3), dtype=np.uint8)
    visible = torch.from_numpy(visible_cells(page, 28))
    for rule in (KeepRule(max_ratio=0.5), None):
        asks = [Ask(name, f"What {name}?", "text", 5, rule) for name in "ab"]
        page_answerer.drop_blank = True
        answers = page_answerer.answer_page(page, asks)
        pixels, grid = page_answerer.processor.image(page)
        prompts = [page_answerer.processor.prompt(ask.prompt, grid) for ask in asks]
        expected = ask_page(page_answerer.model, prompts, pixels, grid, rule, 5, visible)
        for answer, tokens, keep in zip(answers, expected.sequences, expected.keep, strict=True):
            assert answer.text == page_answerer.processor.text(tokens)
            assert answer.stats.visual_tokens == 56
            assert answer.stats.kept_tokens == int(keep.sum())
            assert not (keep & ~visible).any()
        page_answerer.drop_blank = False
        assert all(answer.stats.kept_tokens > 28 for answer in page_answerer.answer_page(page, asks) if rule is None)


def test_the_planner_counts_what_is_seen(tiny_base: Path, tiny_addon: Path) -> None:
    page_answerer = PageAnswerer.load(str(tiny_base), str(tiny_addon), "cpu", "auto", "auto", 0)
    asks = [Ask("a", "What a?", "text", 5, KeepRule(), prune_auto=True)]
    (whole,) = page_answerer.answer_page(_page(), asks)
    page_answerer.drop_blank = True
    (seen,) = page_answerer.answer_page(_page(), asks)
    assert whole.pruning is not None
    assert seen.pruning is not None
    assert seen.pruning.tflops_unpruned < 0.6 * whole.pruning.tflops_unpruned
