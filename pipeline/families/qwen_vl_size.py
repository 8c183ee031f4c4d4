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
_MAX_ASPECT = 200  # the image processor of Qwen2-VL refuses more
_POINTS_PER_INCH = 72.0


@dataclass(frozen=True, slots=True)
class PagePixels:
    """The size a page is rendered at; ``dpi`` is the mean of both axes."""

    width_px: int
    height_px: int
    dpi: float
    visual_tokens: int


def read_pixel_budget(model_dir: Path, max_visual_tokens: int | None) -> PixelBudget:
    """What image sizes a checkpoint takes, from the configuration of its image processor.

    Args:
        model_dir: local checkpoint folder.
        max_visual_tokens: a lower limit set by the user; ``None`` takes the model's own.

    Raises:
        ModelError: the folder has no image processor configuration, or one that makes no sense.
        UsageError: ``max_visual_tokens`` leaves no room above what the model takes at least.
    """
    raw = _image_processor(model_dir)
    size = raw.get("size")
    size = size if isinstance(size, dict) else {}
    try:
        factor = int(raw.get("patch_size", 14)) * int(raw.get("merge_size", 2))
        # min_pixels and max_pixels are the names of older releases; where both stand, they win in transformers too.
        low = int(raw.get("min_pixels") or size.get("shortest_edge") or 56 * 56)
        high = int(raw.get("max_pixels") or size.get("longest_edge") or 28 * 28 * 1280)
    except (TypeError, ValueError) as error:
        raise ModelError(f"{model_dir}: the image processor configuration holds a size that is no number") from error
    if factor < 1 or not 1 <= low <= high:
        raise ModelError(f"{model_dir}: the image processor takes {low} to {high} pixels in steps of {factor}")
    if max_visual_tokens is not None:
        high = min(high, max_visual_tokens * factor**2)
        # With less room between the two, some page shapes fit neither above the one nor below the other.
        least = 2 * math.ceil(low / factor**2)
        if max_visual_tokens < least:
            raise UsageError(f"--max-visual-tokens {max_visual_tokens} is too few for this model; take {least} or more")
    return PixelBudget(factor, low, high)


def _image_processor(model_dir: Path) -> dict[str, Any]:
    """The image processor's fields; like transformers, first from the file that holds them nested."""
    nested = _json(model_dir / "processor_config.json").get("image_processor")
    fields = nested if isinstance(nested, dict) else _json(model_dir / "preprocessor_config.json")
    if not fields:
        raise ModelError(
            f"{model_dir} has no image processor configuration; expected preprocessor_config.json, "
            "or processor_config.json with image_processor in it"
        )
    return fields


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    if not isinstance(raw, dict):
        raise ModelError(f"{path}: expected a JSON object, found {type(raw).__name__}")
    return raw


def fit_page(width_pt: float, height_pt: float, dpi: int, budget: PixelBudget) -> PagePixels:
    """The size to render a page at: both sides multiples of ``budget.factor``, the area within the budget.

    It is what the resizing of Qwen2-VL makes of the page at ``dpi``, and that resizing leaves it as it is. (Of very
    long pages, or within a very narrow budget, it makes sizes that it would resize again, or refuse; those are
    corrected here.)

    Raises:
        PageError: the page is empty, extremely long, or so large that nothing legible would be left of it.
    """
    measures = f"the page measures {width_pt:g} x {height_pt:g} pt"
    if not (math.isfinite(width_pt) and math.isfinite(height_pt) and width_pt > 0 and height_pt > 0):
        raise PageError("render", "EmptyPage", f"{measures}; expected two positive sides")
    megapixels = width_pt * dpi / _POINTS_PER_INCH * (height_pt * dpi / _POINTS_PER_INCH) / 1e6
    if megapixels > MAX_PAGE_PIXELS / 1e6:
        raise PageError(
            "render",
            "PageTooLarge",
            f"{measures}, {megapixels:,.0f} megapixels at {dpi} dpi; the limit is {MAX_PAGE_PIXELS / 1e6:,.0f}; "
            "lower --dpi",
        )
    width, height = (max(1, round(side * dpi / _POINTS_PER_INCH)) for side in (width_pt, height_pt))
    if max(width, height) / min(width, height) > _MAX_ASPECT:
        raise PageError("render", "PageTooLong", f"{measures}; one side may be {_MAX_ASPECT} times the other at most")
    rows, columns = _grid(height, width, budget)
    dpi_used = _POINTS_PER_INCH * budget.factor * (columns / width_pt + rows / height_pt) / 2
    return PagePixels(columns * budget.factor, rows * budget.factor, dpi_used, rows * columns)


def _grid(height: int, width: int, budget: PixelBudget) -> tuple[int, int]:
    """Rows and columns of visual tokens for a page of so many pixels."""
    factor = budget.factor
    rows, columns = round(height / factor), round(width / factor)
    if rows * columns * factor**2 > budget.max_pixels:
        shrink = math.sqrt(height * width / budget.max_pixels)
        rows, columns = (max(1, math.floor(side / shrink / factor)) for side in (height, width))
    elif rows * columns * factor**2 < budget.min_pixels:
        grow = math.sqrt(budget.min_pixels / (height * width))
        rows, columns = (math.ceil(side * grow / factor) for side in (height, width))
    most, least = budget.max_pixels // factor**2, math.ceil(budget.min_pixels / factor**2)
    shorter = max(1, min(rows, columns))
    longest = max(1, min(most // shorter, _MAX_ASPECT * shorter))
    rows, columns = (max(1, min(side, longest)) for side in (rows, columns))
    while rows * columns < least:
        if rows * width > columns * height:
            columns += 1
        else:
            rows += 1
    return rows, columns
