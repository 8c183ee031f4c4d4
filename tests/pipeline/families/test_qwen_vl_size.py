from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil, smart_resize

from pipeline.errors import ModelError, PageError, UsageError
from pipeline.families import qwen2_5_vl
from pipeline.families.base import PagePixels
from pipeline.families.qwen_vl_size import fit_page
from pipeline.records import PixelBudget

NAME = qwen2_5_vl.__name__
QWEN = PixelBudget(28, 56 * 56, 28 * 28 * 1280, NAME)
read_pixel_budget = qwen2_5_vl.FAMILY.read_budget


def budgets_and_pages(count: int) -> Iterator[tuple[PixelBudget, float, float, int]]:
    rng = random.Random(5)
    for _ in range(count):
        factor = rng.choice([14, 28, 32])
        least = rng.choice([1, 4, 16, 256])
        most = least * rng.choice([2, 3, 16, 300]) + rng.choice([0, 1])
        budget = PixelBudget(factor, least * factor**2, most * factor**2 + rng.choice([0, 5]), NAME)
        side, stretch = 10 ** rng.uniform(0.5, 3), 10 ** rng.uniform(-1.2, 1.2)
        yield budget, side * stretch, side / stretch, rng.choice([50, 72, 150, 200, 300])


@pytest.mark.parametrize(
    ("page", "width_px", "height_px", "dpi", "visual_tokens"),
    [
        ((595, 842, 72), 588, 840, 71.49, 630),
        ((595, 842, 200), 840, 1176, 101.1, 1260),
        ((20, 30, 72), 56, 84, 201.6, 6),
    ],
)
def test_known_sizes(
    page: tuple[float, float, int], width_px: int, height_px: int, dpi: float, visual_tokens: int
) -> None:
    size = fit_page(*page, QWEN)
    assert size == PagePixels(width_px, height_px, size.dpi, visual_tokens)
    assert size.dpi == pytest.approx(dpi, abs=0.01)


def test_a_page_gets_the_size_the_model_would_resize_it_to_and_keeps_it() -> None:
    corrected = refused = 0
    for budget, width_pt, height_pt, dpi in budgets_and_pages(4000):
        sides = [max(1, round(side * dpi / 72)) for side in (width_pt, height_pt)]
        if max(sides) > 200 * min(sides):
            refused += 1
            with pytest.raises(PageError, match="PageTooLong"):
                fit_page(width_pt, height_pt, dpi, budget)
            continue
        size = fit_page(width_pt, height_pt, dpi, budget)
        limits = (budget.factor, budget.min_pixels, budget.max_pixels)
        ours = (size.height_px, size.width_px)
        assert smart_resize(*ours, *limits) == ours
        # The processor has the limit of the checkpoint, which may be higher than the user's.
        assert smart_resize(*ours, budget.factor, budget.min_pixels, 10 * budget.max_pixels) == ours
        assert size.visual_tokens * budget.factor**2 == size.height_px * size.width_px
        assert budget.min_pixels <= size.height_px * size.width_px <= budget.max_pixels
        theirs = smart_resize(sides[1], sides[0], *limits)
        if theirs != ours:
            corrected += 1
            assert max(theirs) > 200 * min(theirs) or smart_resize(*theirs, *limits) != theirs
    assert corrected
    assert refused


def test_the_dpi_used_tells_the_size() -> None:
    size = fit_page(300, 700, 150, QWEN)
    assert size.width_px / 300 * 72 == pytest.approx(size.dpi, rel=0.02)
    assert size.height_px / 700 * 72 == pytest.approx(size.dpi, rel=0.02)


@pytest.mark.parametrize(
    ("width_pt", "height_pt", "dpi", "error_type"),
    [
        (14400, 14400, 200, "PageTooLarge"),
        (6e8, 8e8, 200, "PageTooLarge"),
        (1e300, 1e300, 200, "PageTooLarge"),
        (2010, 10, 72, "PageTooLong"),
        (10, 2010, 72, "PageTooLong"),
        (0, 100, 72, "EmptyPage"),
        (100, -1, 72, "EmptyPage"),
        (math.inf, 100, 72, "EmptyPage"),
        (100, math.nan, 72, "EmptyPage"),
    ],
)
def test_pages_that_cannot_be_read(width_pt: float, height_pt: float, dpi: int, error_type: str) -> None:
    with pytest.raises(PageError) as caught:
        fit_page(width_pt, height_pt, dpi, QWEN)
    assert (caught.value.stage, caught.value.error_type) == ("render", error_type)


def test_the_message_of_a_page_too_large_says_what_to_do() -> None:
    expected = "the page measures 14400 x 14400 pt, 1,600 megapixels at 200 dpi; the limit is 256; lower --dpi"
    with pytest.raises(PageError, match=re.escape(expected)):
        fit_page(14400, 14400, 200, QWEN)
    assert fit_page(14400, 14400, 72, QWEN).visual_tokens == 35 * 35
    assert fit_page(2000, 10, 72, QWEN).visual_tokens == 29


def write(folder: Path, name: str, content: dict[str, Any]) -> Path:
    (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("content", "budget"),
    [
        # as Qwen2.5-VL checkpoints have it, as transformers 5 writes it, with all left out, with both names
        ({"min_pixels": 3136, "max_pixels": 12845056, "patch_size": 14, "merge_size": 2}, (28, 3136, 12845056)),
        ({"size": {"shortest_edge": 65536, "longest_edge": 16777216}, "patch_size": 16}, (32, 65536, 16777216)),
        ({"image_processor_type": "Qwen2VLImageProcessor"}, (28, 3136, 1003520)),
        ({"size": {"shortest_edge": 1, "longest_edge": 2}, "min_pixels": 784, "max_pixels": 7840}, (28, 784, 7840)),
        ({"size": {"shortest_edge": 3136, "longest_edge": 7840}, "min_pixels": None}, (28, 3136, 7840)),
    ],
)
def test_read_pixel_budget(tmp_path: Path, content: dict[str, Any], budget: tuple[int, int, int]) -> None:
    write(tmp_path, "preprocessor_config.json", content)
    assert read_pixel_budget(tmp_path, None) == PixelBudget(*budget, NAME)
    nested = tmp_path / "nested"
    nested.mkdir()
    write(nested, "preprocessor_config.json", {"min_pixels": 1, "max_pixels": 10})
    write(nested, "processor_config.json", {"image_processor": content, "processor_class": "Qwen2_5_VLProcessor"})
    assert read_pixel_budget(nested, None) == PixelBudget(*budget, NAME)


def test_the_budget_is_the_one_transformers_reads(tiny_base: Path) -> None:
    processor = Qwen2VLImageProcessorPil.from_pretrained(tiny_base)
    budget = read_pixel_budget(tiny_base, None)
    assert budget.factor == processor.patch_size * processor.merge_size
    assert (budget.min_pixels, budget.max_pixels) == (processor.size["shortest_edge"], processor.size["longest_edge"])
    size = fit_page(595, 842, 200, budget)
    out = processor(images=[np.zeros((size.height_px, size.width_px, 3), np.uint8)], return_tensors="np")
    assert out["image_grid_thw"].tolist() == [[1, size.height_px // 14, size.width_px // 14]]


def test_fewer_visual_tokens_can_be_asked_for_but_not_too_few(tmp_path: Path) -> None:
    write(tmp_path, "preprocessor_config.json", {"min_pixels": 3136, "max_pixels": 12845056})
    assert read_pixel_budget(tmp_path, 512) == PixelBudget(28, 3136, 512 * 784, NAME)
    assert read_pixel_budget(tmp_path, 10**6) == PixelBudget(28, 3136, 12845056, NAME)
    assert read_pixel_budget(tmp_path, 8) == PixelBudget(28, 3136, 8 * 784, NAME)
    with pytest.raises(UsageError, match="--max-visual-tokens 7 is too few for this model; take 8 or more"):
        read_pixel_budget(tmp_path, 7)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", "{", '{"patch_size": "x"}', '{"max_pixels": 10}', '{"patch_size": -1}', '{"size": []}x']
)
def test_a_folder_without_a_usable_configuration_is_a_model_error(tmp_path: Path, content: str) -> None:
    with pytest.raises(ModelError, match="no image processor configuration"):
        read_pixel_budget(tmp_path, None)
    (tmp_path / "preprocessor_config.json").write_text(content, encoding="utf-8")
    with pytest.raises(ModelError, match=re.escape(str(tmp_path))):
        read_pixel_budget(tmp_path, None)
