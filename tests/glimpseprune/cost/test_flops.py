"""The cost told beforehand is the cost torch counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import glimpseprune as gp
from glimpseprune.cost.flops import DecoderShape, PageWork, pruned_operations, unpruned_operations
from glimpseprune.families.shape import ModelShape
from glimpseprune.methods.glimpse.addon_config import new_addon_config
from glimpseprune.methods.glimpse.module import Glimpse
from glimpseprune.model import GlimpseModel
from tests.support.pages import ask_page, questions_about_one_page, split_prompts
from tests.support.tiny_model import make_tiny_addon, make_tiny_checkpoint

TAILS, LIMIT = [1, 7, 3], 5


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_checkpoint(tmp_path_factory.mktemp("cost") / "base")


def _counted(model: GlimpseModel, rules: list[torch.Tensor] | None) -> tuple[int, PageWork]:
    """FLOPs of all questions of a page without the vision tower."""
    prompts, pixels, grid = questions_about_one_page(TAILS)
    # torch does not count the fused attention of a CPU; written out, it is plain matrix products.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        out = ask_page(model, prompts, pixels, grid, rules, LIMIT)
    assert [len(tokens) for tokens in out.sequences] == [LIMIT] * 3
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as vision, torch.inference_mode():
        model.backbone.encode(pixels, grid, (3, 2, 1, 0))
    prefix, tails = split_prompts(model, prompts)
    work = PageWork(prefix.numel(), 96, [tail.numel() for tail in tails], [LIMIT] * 3)
    return counter.get_total_flops() - vision.get_total_flops(), work


def _endless(model: GlimpseModel) -> GlimpseModel:
    return GlimpseModel(model.base, model.backbone, model.method, frozenset(), 1.0)


def test_unpruned(base: Path) -> None:
    model = _endless(gp.load(base, device="cpu"))
    counted, work = _counted(model, None)
    assert unpruned_operations(DecoderShape.of(model.backbone.shape), work).flops == pytest.approx(counted, rel=0.01)


@pytest.mark.parametrize(
    "changes", [{}, {"attn_fuse_global": False}, {"reduce_layer": 0, "selected_layers": (0,)}], ids=str
)
@pytest.mark.parametrize("retention", [0.0625, 0.5])
def test_pruned(base: Path, tmp_path: Path, changes: dict[str, Any], retention: float) -> None:
    model = _endless(gp.load(base, glimpse=make_tiny_addon(tmp_path / "g", **changes), device="cpu"))
    assert model.method is not None
    generator = torch.Generator().manual_seed(1)
    masks = [torch.randperm(96, generator=generator) < 96 * retention for _ in TAILS]
    counted, work = _counted(model, masks)
    expected = pruned_operations(DecoderShape.of(model.backbone.shape), model.method, work, retention).flops
    assert expected == pytest.approx(counted, rel=0.02)


def test_pruning_pays_for_few_questions_and_not_for_many() -> None:
    sizes = ModelShape(3584, 28, 28, 4, 128, 18944, 152064, 1e-6, 1280, 32, 4)  # the 7B model
    shape = DecoderShape.of(sizes)
    with torch.device("meta"):
        addon = Glimpse(new_addon_config(sizes))  # in the published proportions

    def ratio(questions: int) -> float:
        work = PageWork(5020, 5000, [30] * questions, [16] * questions)
        return pruned_operations(shape, addon, work, 0.04).flops / unpruned_operations(shape, work).flops

    assert ratio(1) < 0.7
    assert ratio(1) < ratio(10) < ratio(30)
    assert ratio(60) > 1.0
