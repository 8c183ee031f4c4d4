"""The method finds the same blank paper in its patches as the pipeline does in the pixels of a page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import glimpseprune as gp
from pipeline.families.registry import find_family
from pipeline.pages.blank_paper import inked_cells
from pipeline.records import Image
from tests.support.families import FAMILIES

_CELLS = 12  # rows and columns of visual tokens
_CELL_PX = {"qwen2_5_vl": 28, "qwen3_vl": 32, "llava": 14}


def page(cell: int) -> Image:
    """Yellowish paper with a dot, a faint letter, a line and coloured boxes, and stains that are too faint to count."""
    pixels = np.full((_CELLS * cell, _CELLS * cell, 3), (250, 240, 200), dtype=np.uint8)
    pixels[cell, 3 * cell] = 0
    pixels[2 * cell + 3, cell : 2 * cell, 2] -= 30
    pixels[5 * cell - 1, cell // 2 : 9 * cell] = 90
    pixels[7 * cell : 9 * cell, 7 * cell : 9 * cell] = np.random.default_rng(1).integers(0, 256, 3, dtype=np.uint8)
    pixels[9 * cell : 11 * cell, : 5 * cell // 2] = np.random.default_rng(1).integers(0, 256, 3, dtype=np.uint8)
    pixels[10 * cell, 9 * cell :, 1] += 5
    return pixels


@pytest.mark.parametrize("name", FAMILIES)
def test_the_same_tokens_have_ink(tmp_path: Path, name: str) -> None:
    base = FAMILIES[name].make_checkpoint(tmp_path / "base")
    model = gp.load(base, device="cpu", dtype="float32")
    processor = find_family(base).load_input(base)
    drawn = page(_CELL_PX[name])
    prepared = processor.prepare(drawn)
    wanted = processor.visible(drawn, prepared, lambda pixels, cell: inked_cells(pixels, cell).ravel())
    assert wanted is not None
    assert 10 < int(wanted.sum()) < wanted.numel() / 2
    patches = processor.patches(prepared, "cpu")
    found = model.backbone.encode(patches, prepared.grid, (0,)).inked
    assert found is not None
    assert torch.equal(found, wanted)
    some = torch.rand(wanted.numel(), generator=torch.Generator().manual_seed(2)) < 0.5
    part = model.backbone.encode(patches, prepared.grid, (0,), some).inked
    assert part is not None
    assert torch.equal(part, wanted[some])
