"""Chooses the size at which a page is rendered: the size the model takes, so that nothing is resized twice."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from pipeline.errors import ModelError, PageError, UsageError
from pipeline.families.base import POINTS_PER_INCH, PagePixels, check_page, read_json
from pipeline.records import PixelBudget

_MAX_ASPECT = 200  # the image processor of Qwen2-VL refuses more


def read_pixel_budget(model_dir: Path, limit: int | None, family: str) -> PixelBudget:
    """Read which image sizes a checkpoint takes, from the configuration of its image processor.

    Args:
        model_dir: local checkpoint folder.
        limit: visual tokens per page that the user allows; ``None`` takes the model's own limit.
        family: dotted path of the module that holds the family.

    Raises:
        ModelError: the folder has no image processor configuration, or an invalid one.
        UsageError: ``limit`` is below twice the smallest size that the model takes.
    """
    raw = _image_processor(model_dir)
    size = raw.get("size")
    size = size if isinstance(size, dict) else {}
    try:
        factor = int(raw.get("patch_size", 14)) * int(raw.get("merge_size", 2))
        # min_pixels and max_pixels are older names; where a file has both kinds, transformers also prefers these.
        low = int(raw.get("min_pixels") or size.get("shortest_edge") or 56 * 56)
        high = int(raw.get("max_pixels") or size.get("longest_edge") or 28 * 28 * 1280)
    except (TypeError, ValueError) as error:
        raise ModelError(f"{model_dir}: the image processor configuration holds a size that is not a number") from error
    if factor < 1 or not 1 <= low <= high:
        raise ModelError(
            f"{model_dir}: expected an image processor with 1 <= min_pixels <= max_pixels, "
            f"found {low} to {high} pixels in steps of {factor}; check its configuration"
        )
    if limit is not None:
        high = min(high, limit * factor**2)
        # With less room between smallest and largest area, some page shapes have no size that satisfies both.
        least = 2 * math.ceil(low / factor**2)
        if limit < least:
            raise UsageError(f"--max-visual-tokens {limit} is too few for this model; take {least} or more")
    return PixelBudget(factor, low, high, family)


def max_visual_tokens(budget: PixelBudget) -> int:
    """Return the visual tokens of the largest page within a budget."""
    return budget.max_pixels // budget.factor**2


def _image_processor(model_dir: Path) -> dict[str, Any]:
    """Read the fields of the image processor; like transformers, prefer the file that nests them."""
    nested = read_json(model_dir / "processor_config.json").get("image_processor")
    fields = nested if isinstance(nested, dict) else read_json(model_dir / "preprocessor_config.json")
    if not fields:
        raise ModelError(
            f"{model_dir} has no image processor configuration; expected preprocessor_config.json, "
            "or processor_config.json with image_processor in it"
        )
    return fields


def fit_page(width_pt: float, height_pt: float, dpi: int, budget: PixelBudget) -> PagePixels:
    """Choose the size to render a page at: multiples of ``budget.factor``, with an area within the budget.

    Qwen2-VL would resize the page at ``dpi`` to this size, and leaves an image of this size as it is. For very long
    pages or a very narrow budget, its own rule gives sizes that it would resize again or refuse; those are corrected
    here.

    Args:
        width_pt: width of the page in points.
        height_pt: height of the page in points.
        dpi: resolution in dots per inch.
        budget: page sizes that the model takes.

    Raises:
        PageError: the page is empty, extremely long, or so large that nothing legible would be left of it.
    """
    check_page(width_pt, height_pt, dpi)
    width, height = (max(1, round(side * dpi / POINTS_PER_INCH)) for side in (width_pt, height_pt))
    if max(width, height) / min(width, height) > _MAX_ASPECT:
        raise PageError(
            "render",
            "PageTooLong",
            f"the page measures {width_pt:g} x {height_pt:g} pt; one side may be {_MAX_ASPECT} times the other at "
            "most; cut it into several",
        )
    rows, columns = _grid(height, width, budget)
    dpi_used = POINTS_PER_INCH * budget.factor * (columns / width_pt + rows / height_pt) / 2
    return PagePixels(columns * budget.factor, rows * budget.factor, dpi_used, rows * columns)


def _grid(height: int, width: int, budget: PixelBudget) -> tuple[int, int]:
    """Return rows and columns of visual tokens for a page of the given height and width in pixels."""
    factor = budget.factor
    rows, columns = round(height / factor), round(width / factor)
    if rows * columns * factor**2 > budget.max_pixels:
        shrink = math.sqrt(height * width / budget.max_pixels)
        rows, columns = (max(1, math.floor(side / shrink / factor)) for side in (height, width))
    elif rows * columns * factor**2 < budget.min_pixels:
        grow = math.sqrt(budget.min_pixels / (height * width))
        rows, columns = (math.ceil(side * grow / factor) for side in (height, width))
    most, least = max_visual_tokens(budget), math.ceil(budget.min_pixels / factor**2)
    shorter = max(1, min(rows, columns))
    longest = max(1, min(most // shorter, _MAX_ASPECT * shorter))
    rows, columns = (max(1, min(side, longest)) for side in (rows, columns))
    while rows * columns < least:
        if rows * width > columns * height:
            columns += 1
        else:
            rows += 1
    return rows, columns
