"""Pages for Qwen3-VL: the same as for its predecessor, in visual tokens of 32 pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from glimpseprune.rule import KeepRule
from pipeline.answering.page_answerer import PageAnswerer
from pipeline.errors import ModelError
from pipeline.families import qwen3_vl
from pipeline.families.registry import find_family
from pipeline.pages.blank_paper import visible_cells
from pipeline.pages.renderer import RenderChild, decode_image
from pipeline.records import Ask, PageImage, PixelBudget
from tests.support.colours import make_pdf
from tests.support.hostile import as_document
from tests.support.tiny_model import make_tiny_addon
from tests.support.tiny_qwen3_vl import PATCH_DIM, make_checkpoint


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("qwen3") / "base")


def test_a_page_goes_from_the_renderer_to_answers_and_is_resized_nowhere(base: Path, tmp_path: Path) -> None:
    family = find_family(base)
    assert family is qwen3_vl.FAMILY
    budget = family.read_budget(base, None)
    assert budget == PixelBudget(32, 4 * 1024, 256 * 1024, "pipeline.families.qwen3_vl")
    assert family.max_visual_tokens(budget) == 256
    document = as_document(make_pdf(tmp_path / "a.pdf", [(250, 240, 210)], size_pt=160))
    with RenderChild() as child:
        (image,) = child.render(document, [1], 72, budget)
    assert isinstance(image, PageImage)
    assert (image.width_px, image.height_px, image.visual_tokens) == (160, 160, 25)

    answerer = PageAnswerer.load(str(base), str(make_tiny_addon(tmp_path / "g")), "cpu", "float32", "auto", 0)
    model_input, page = answerer.processor, decode_image(image)
    prepared = model_input.prepare(page)
    assert prepared.pixels.dtype == torch.uint8  # as rendered
    assert (prepared.grid, model_input.token_grid(prepared)) == ((10, 10), (5, 5))
    pixels, _ = model_input.image(page)
    assert pixels.shape == (100, PATCH_DIM)
    assert torch.equal(pixels, model_input.images(images=[page], return_tensors="pt")["pixel_values"])  # type: ignore[attr-defined]
    visible = model_input.visible(page, prepared, visible_cells)
    assert visible is not None
    assert visible.shape == (25,)
    assert model_input.prompt("What?", prepared.grid).tolist().count(model_input.image_token_id) == 25

    asks = [Ask("a", "What is the total?", "text", 6, KeepRule(max_ratio=0.3)), Ask("b", "Who?", "text", 6, None)]
    ((_, answers),) = answerer.answer_pages([(0, lambda: answerer.prepare(page, asks))])
    assert [answer.stats.kept_tokens <= 7 for answer in answers] == [True, False]
    assert answers[1].stats.visual_tokens == 25


@pytest.mark.parametrize(("model_type", "reason"), [("qwen3_next", "linear attention"), ("qwen3_vl_moe", "experts")])
def test_relatives_are_refused_with_the_reason(tmp_path: Path, model_type: str, reason: str) -> None:
    (tmp_path / "config.json").write_text(f'{{"model_type": "{model_type}"}}', encoding="utf-8")
    with pytest.raises(ModelError, match=f"is a '{model_type}' model; .*{reason}.*Supported: .*qwen3_vl.*Take one"):
        find_family(tmp_path)


def test_pages_have_any_shape_within_the_published_limits() -> None:
    budget = PixelBudget(32, 65_536, 16_777_216, "pipeline.families.qwen3_vl")
    a4 = qwen3_vl.FAMILY.fit_page(595, 842, 200, budget)
    assert (a4.width_px % 32, a4.height_px % 32) == (0, 0)
    assert a4.visual_tokens == a4.width_px * a4.height_px // 1024 == 52 * 73
    assert np.isclose(a4.dpi, 200, atol=2)
