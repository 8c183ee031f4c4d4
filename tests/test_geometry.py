from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil, smart_resize

from pipeline.errors import ModelError, PageError, UsageError
from pipeline.geometry import fit_page, read_pixel_budget
from pipeline.records import PixelBudget

QWEN = PixelBudget(28, 56 * 56, 12_845_056)


def test_the_processor_has_nothing_left_to_resize() -> None:
    rng = random.Random(0)
    for _ in range(3000):
        budget = PixelBudget(28, 4 * 784, rng.choice([64, 256, 1280, 16384]) * 784)
        width, height = rng.uniform(20, 2000), rng.uniform(20, 2000)
        dpi = rng.choice([36, 72, 100, 144, 200, 300])
        size = fit_page(width, height, dpi, budget)
        want = smart_resize(round(height * dpi / 72), round(width * dpi / 72), 28, budget.min_pixels, budget.max_pixels)
        again = smart_resize(*want, 28, budget.min_pixels, budget.max_pixels)
        mine = (size.height_px, size.width_px)
        assert mine == want or again != want  # its own answer for a strip can be one it would resize again
        assert smart_resize(*mine, 28, budget.min_pixels, budget.max_pixels) == mine
        assert size.visual_tokens == mine[0] * mine[1] // 784 <= budget.max_pixels // 784


def test_a4_at_200_dpi() -> None:
    size = fit_page(595, 842, 200, QWEN)
    assert (size.width_px, size.height_px, size.visual_tokens) == (1652, 2352, 4956)
    assert size.dpi == pytest.approx(200, rel=0.01)
    small = fit_page(595, 842, 200, PixelBudget(28, 3136, 256 * 784))
    assert small.visual_tokens <= 256
    assert small.dpi == pytest.approx(45, abs=2)


@pytest.mark.parametrize(
    ("size", "error_type"),
    [
        ((14_400, 14_400), "PageTooLarge"),
        ((10_000, 40), "PageTooLong"),
        ((0, 100), "EmptyPage"),
        ((-1, 5), "EmptyPage"),
    ],
)
def test_pages_that_cannot_be_rendered(size: tuple[float, float], error_type: str) -> None:
    with pytest.raises(PageError) as error:
        fit_page(*size, 200, QWEN)
    assert (error.value.stage, error.value.error_type) == ("render", error_type)


def test_budgets_of_checkpoints(tmp_path: Path) -> None:
    Qwen2VLImageProcessorPil(size={"shortest_edge": 3136, "longest_edge": 200704}).save_pretrained(tmp_path)
    assert read_pixel_budget(tmp_path, None) == PixelBudget(28, 3136, 200704)
    assert read_pixel_budget(tmp_path, 100) == PixelBudget(28, 3136, 78400)
    assert read_pixel_budget(tmp_path, 10_000) == PixelBudget(28, 3136, 200704)
    with pytest.raises(UsageError, match="--max-visual-tokens 2 is below"):
        read_pixel_budget(tmp_path, 2)
    older = {"min_pixels": 3136, "max_pixels": 12845056, "patch_size": 14, "merge_size": 2}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(older))
    assert read_pixel_budget(tmp_path, None) == QWEN
    (tmp_path / "preprocessor_config.json").unlink()
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": older}))
    assert read_pixel_budget(tmp_path, None) == QWEN
    (tmp_path / "processor_config.json").unlink()
    with pytest.raises(ModelError, match="no image processor"):
        read_pixel_budget(tmp_path, None)
