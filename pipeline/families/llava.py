"""LLaVA-1.5 as a :class:`~pipeline.families.base.PageFamily`: every page in a square of one size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.errors import ModelError, UsageError
from pipeline.families.base import POINTS_PER_INCH, ModelInput, PageFamily, PagePixels, check_page, read_json
from pipeline.records import PixelBudget

# What transformers takes for the fields that the llava-hf checkpoints leave out, since they are the defaults.
_TEXT = {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32}
_VISION = {"hidden_size": 1024, "num_hidden_layers": 24, "image_size": 336, "patch_size": 14}


def _read_config(folder: Path) -> dict[str, Any]:
    raw = read_json(folder / "config.json")
    if "mm_vision_tower" in raw:
        raise ModelError(
            f"{folder}/config.json: expected the layout of transformers, found that of the code LLaVA was trained "
            "with, whose tower is a checkpoint of its own; take llava-hf/llava-1.5-7b-hf or "
            "llava-hf/llava-1.5-13b-hf, the same weights"
        )
    text = {**_TEXT, **(raw.get("text_config") or {})}
    text.setdefault("num_key_value_heads", text["num_attention_heads"])
    vision = dict(raw.get("vision_config") or _VISION)
    if "num_hidden_layers" in vision:
        vision["depth"] = vision["num_hidden_layers"]
    return {**raw, "text_config": text, "vision_config": vision}


def _read_budget(folder: Path, limit: int | None) -> PixelBudget:
    vision = _read_config(folder)["vision_config"]
    side, patch = vision.get("image_size"), vision.get("patch_size")
    if not (isinstance(side, int) and isinstance(patch, int) and side >= patch > 0 and side % patch == 0):
        raise ModelError(
            f"{folder}/config.json: expected in vision_config an image_size that is a multiple of patch_size, found "
            f"{side!r} and {patch!r}; check the download"
        )
    tokens = (side // patch) ** 2
    if limit is not None and limit < tokens:
        raise UsageError(
            f"--max-visual-tokens {limit} is too few for this model, whose pages all have {tokens}; take {tokens} or "
            "more, or leave it out"
        )
    return PixelBudget(patch, side**2, side**2, __name__)


def _fit_page(width_pt: float, height_pt: float, dpi: int, budget: PixelBudget) -> PagePixels:
    """Fit a page into the model's square; what is left of the square is padded later.

    Args:
        width_pt: width of the page in points.
        height_pt: height of the page in points.
        dpi: resolution in dots per inch, which only limits the size of the page here.
        budget: page sizes that the model takes.

    Raises:
        PageError: the page is empty, or so large that nothing legible would be left of it.
    """
    check_page(width_pt, height_pt, dpi)
    side = round(budget.max_pixels**0.5)
    width, height = (max(1, round(side * one / max(width_pt, height_pt))) for one in (width_pt, height_pt))
    dpi_used = POINTS_PER_INCH * (width / width_pt + height / height_pt) / 2
    return PagePixels(width, height, dpi_used, _max_visual_tokens(budget))


def _max_visual_tokens(budget: PixelBudget) -> int:
    return budget.max_pixels // budget.factor**2


def _load_input(folder: Path) -> ModelInput:
    from pipeline.families.llava_input import Processor  # imports torch, which the render child must not load

    return Processor(folder)


FAMILY = PageFamily(_read_budget, _fit_page, _max_visual_tokens, _load_input, _read_config)
