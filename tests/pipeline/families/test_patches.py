"""Patches cut on the device are, bit for bit, what the stock image processor makes."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from pipeline.families.patches import cut_patches
from pipeline.families.qwen_vl_input import Processor


def page(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def stock(images: Any, pixels: np.ndarray) -> tuple[torch.Tensor, tuple[int, int]]:
    out = images(images=[pixels], return_tensors="pt")
    _, rows, columns = out["image_grid_thw"][0].tolist()
    return out["pixel_values"], (rows, columns)


@pytest.mark.parametrize("tokens", [(1, 1), (2, 5), (7, 3), (11, 8)])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"image_mean": [0.75, 0.5, 0.1], "image_std": [0.35, 1.0, 0.07]},
        {"patch_size": 16, "merge_size": 1, "temporal_patch_size": 3},
        {"patch_size": 7, "merge_size": 4, "temporal_patch_size": 1, "rescale_factor": 1 / 127.5},
    ],
    ids=["published", "other figures", "no merging", "much merging"],
)
def test_patches_are_those_of_the_stock_processor(tokens: tuple[int, int], changes: dict[str, Any]) -> None:
    images: Any = Qwen2VLImageProcessorPil(size={"shortest_edge": 1, "longest_edge": 1 << 30}, **changes)
    side = images.patch_size * images.merge_size
    pixels = page(tokens[0] * side, tokens[1] * side)
    want, _ = stock(images, pixels)
    sizes = (images.patch_size, images.merge_size, images.temporal_patch_size)
    mean, std = images.image_mean, images.image_std
    assert torch.equal(cut_patches(torch.tensor(pixels), images.rescale_factor, mean, std, *sizes), want)


@pytest.mark.parametrize(
    ("height", "width", "moved"),
    [(224, 308, torch.uint8), (223, 308, torch.float32), (28, 28, torch.float32), (616, 616, torch.float32)],
    ids=["as it is", "odd side", "too small", "too large"],
)
def test_only_what_has_another_size_is_resized(tiny_base: Path, height: int, width: int, moved: torch.dtype) -> None:
    processor = Processor(tiny_base)
    pixels = page(height, width)
    want, grid = stock(processor.images, pixels)
    assert processor.prepare(pixels).pixels.dtype == moved
    found = processor.image(pixels, torch.device("cpu"))
    assert torch.equal(found[0], want)
    assert found[1] == grid == processor.prepare(pixels).grid


@pytest.mark.parametrize("changes", [{"do_normalize": False}, {"do_rescale": False}, {"do_resize": False}])
def test_a_processor_that_leaves_steps_out_is_asked_itself(tiny_base: Path, changes: dict[str, bool]) -> None:
    processor = Processor(tiny_base)
    processor.images = Qwen2VLImageProcessorPil(**changes)
    want, _ = stock(processor.images, page(112, 84))
    assert torch.equal(processor.image(page(112, 84))[0], want)


def test_one_mean_for_all_channels(tiny_base: Path) -> None:
    processor = Processor(tiny_base)
    processor.images = Qwen2VLImageProcessorPil(image_mean=0.5, image_std=0.25)
    want, _ = stock(processor.images, page(112, 84))
    assert processor.prepare(page(112, 84)).pixels.dtype == torch.uint8
    assert torch.equal(processor.image(page(112, 84))[0], want)


def test_pixels_that_may_not_be_written_to(tiny_base: Path) -> None:
    pixels = page(112, 84)
    pixels.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Processor(tiny_base).image(pixels)


def test_a_prompt_is_tokenized_once(tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    processor = Processor(Path(shutil.copytree(tiny_base, tmp_path / "base")))
    rendered: list[Any] = []
    original = processor.chat.tokenizer.apply_chat_template

    def counted(*args: Any, **kwargs: Any) -> Any:
        rendered.append(args)
        return original(*args, **kwargs)

    monkeypatch.setattr(processor.chat.tokenizer, "apply_chat_template", counted)
    small, large, other = (
        processor.prompt(*asked) for asked in (("What?", (2, 2)), ("What?", (4, 6)), ("Who?", (2, 2)))
    )
    assert len(rendered) == 3  # each text once, and once the template without a text
    assert (len(large) - len(small), len(other) - len(small)) == (5, -1)
    assert torch.equal(small, Processor(tiny_base).prompt("What?", (2, 2)))
