"""At which size a page is rendered: the size the model takes, so that nothing is resized twice."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import ModelError, PageError, UsageError
from pipeline.records import PixelBudget

MAX_PAGE_PIXELS = 256_000_000
_MAX_ASPECT = 200
_POINTS_PER_INCH = 72.0


@dataclass(frozen=True, slots=True)
class PagePixels:
    """The size a page is rendered at; ``dpi`` is the mean of both axes."""

    width_px: int
    height_px: int
    dpi: float
    visual_tokens: int


def read_pixel_budget(folder: Path, max_visual_tokens: int | None) -> PixelBudget:
    """What image sizes a checkpoint takes, from the configuration of its image processor.

    Args:
        folder: local checkpoint folder.
        max_visual_tokens: a lower limit set by the user; ``None`` takes the model's own.

    Raises:
        ModelError: the folder has no image processor configuration.
        UsageError: ``max_visual_tokens`` is below what the model takes at least.
    """
    raw = _image_processor(folder)
    size = raw.get("size") or {}
    factor = int(raw.get("patch_size", 14)) * int(raw.get("merge_size", 2))
    # min_pixels and max_pixels are the names of older releases; where both stand, they win in transformers too.
    low = int(raw.get("min_pixels") or size.get("shortest_edge") or 56 * 56)
    high = int(raw.get("max_pixels") or size.get("longest_edge") or 28 * 28 * 1280)
    if max_visual_tokens is not None:
        high = min(high, max_visual_tokens * factor**2)
    if high < low:
        raise UsageError(f"--max-visual-tokens {max_visual_tokens} is below the model's least, {low // factor**2}")
    return PixelBudget(factor, low, high)


def _image_processor(folder: Path) -> dict[str, Any]:
    for name in ("preprocessor_config.json", "processor_config.json"):
        path = folder / name
        if path.is_file():
            raw = json.loads(path.read_text(encoding="utf-8"))
            nested = raw.get("image_processor", raw)
            if isinstance(nested, dict) and ("size" in nested or "max_pixels" in nested):
                return nested
    raise ModelError(f"{folder} has no image processor configuration (preprocessor_config.json)")


def fit_page(width_pt: float, height_pt: float, dpi: int, budget: PixelBudget) -> PagePixels:
    """The size to render a page at: both sides multiples of ``budget.factor``, the area within the budget.

    The result is what Qwen2-VL's own resizing makes of the page at ``dpi``, so that it has nothing left to do.

    Raises:
        PageError: the page is empty, extremely long, or so large that nothing legible would be left of it.
    """
    width, height = (max(1, round(side * dpi / _POINTS_PER_INCH)) for side in (width_pt, height_pt))
    if width_pt <= 0 or height_pt <= 0:
        raise PageError("render", "EmptyPage", f"the page measures {width_pt:g} x {height_pt:g} pt")
    if max(width, height) / min(width, height) > _MAX_ASPECT:
        raise PageError(
            "render",
            "PageTooLong",
            f"the page measures {width_pt:g} x {height_pt:g} pt; sides may differ {_MAX_ASPECT} fold at most",
        )
    if width * height > MAX_PAGE_PIXELS:
        raise PageError(
            "render",
            "PageTooLarge",
            f"a page of {width_pt:g} x {height_pt:g} pt at {dpi} dpi has {width * height / 1e6:,.0f} megapixels, "
            f"the limit is {MAX_PAGE_PIXELS / 1e6:,.0f}; lower --dpi",
        )
    factor = budget.factor
    rows, columns = round(height / factor), round(width / factor)
    if rows * columns * factor**2 > budget.max_pixels:
        shrink = math.sqrt(width * height / budget.max_pixels)
        rows, columns = (max(1, math.floor(side / shrink / factor)) for side in (height, width))
        most = budget.max_pixels // factor**2  # a strip of one row or column can still be too long
        rows = min(rows, max(1, most // columns))
        columns = min(columns, most // rows)
    elif rows * columns * factor**2 < budget.min_pixels:
        grow = math.sqrt(budget.min_pixels / (width * height))
        rows, columns = (math.ceil(side * grow / factor) for side in (height, width))
    effective = _POINTS_PER_INCH * factor * (columns / width_pt + rows / height_pt) / 2
    return PagePixels(columns * factor, rows * factor, effective, rows * columns)
