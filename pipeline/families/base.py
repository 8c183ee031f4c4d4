"""The protocol of a model family in the pipeline: page sizes, and the input of the model. No torch is imported here.

A family is one module that holds a :class:`PageFamily` named ``FAMILY``; :mod:`pipeline.families.registry` finds it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from pipeline.errors import ModelError, PageError
from pipeline.records import Image, PixelBudget

if TYPE_CHECKING:
    import torch
    from torch import Tensor

MAX_PAGE_PIXELS = 256_000_000
POINTS_PER_INCH = 72.0

VisibleCells = Callable[[Image, int], npt.NDArray[np.bool_]]
"""Tells which square cells of a page to show: page ``[H, W, 3]`` and side of a cell in pixels -> bool ``[cells]``."""


@dataclass(frozen=True, slots=True)
class PagePixels:
    """The size a page is rendered at; ``dpi`` is the mean of both axes."""

    width_px: int
    height_px: int
    dpi: float
    visual_tokens: int


@dataclass(frozen=True, slots=True)
class PreparedImage:
    """An image in host memory, ready for :meth:`ModelInput.patches`.

    Attributes:
        pixels: uint8 ``[H, W, 3]`` of the size the model takes, or float32 patches ``[patches, patch_dim]``.
        grid: rows and columns of patches.
    """

    pixels: Tensor
    grid: tuple[int, int]


class ModelInput(Protocol):
    """Turns pages and texts into what the model takes, and its tokens into text. A family's class inherits from it.

    Attributes:
        image_token_id: the token that stands for one visual token in a prompt.
    """

    image_token_id: int

    def prepare(self, page: Image) -> PreparedImage:
        """Do everything that an image ``[H, W, 3]`` needs before it goes to the device."""

    def patches(self, image: PreparedImage, device: torch.device | str) -> Tensor:
        """Return the patches ``[patches, patch_dim]``, float32, on the device."""

    def image(self, page: Image, device: torch.device | str = "cpu") -> tuple[Tensor, tuple[int, int]]:
        """Return patches ``[patches, patch_dim]`` and patch grid (rows, columns) of an image ``[H, W, 3]``."""
        prepared = self.prepare(page)
        return self.patches(prepared, device), prepared.grid

    def token_grid(self, image: PreparedImage) -> tuple[int, int]:
        """Return rows and columns of visual tokens."""

    def visible(self, page: Image, image: PreparedImage, cells: VisibleCells) -> Tensor | None:
        """Return which visual tokens to show, bool ``[N]``; ``None``, all, where they are no cells of the page.

        Args:
            page: pixels ``[H, W, 3]``.
            image: the same page, prepared.
            cells: the choice, for square cells of a given side.
        """

    def prompt(self, text: str, grid: tuple[int, int]) -> Tensor:
        """Return token ids ``[T]`` of a question with its image, up to where the answer begins.

        Args:
            text: the question.
            grid: rows and columns of patches.

        Raises:
            ModelError: the checkpoint makes no prompt with exactly one image.
        """

    def answer(self, text: str, ends: Collection[int]) -> Tensor:
        """Return token ids ``[A]`` of an answer as the model would write it, ended by one of ``ends``."""

    def text(self, tokens: Tensor) -> str:
        """Return the text of generated tokens, without special tokens and outer white space."""


@dataclass(frozen=True, slots=True)
class PageFamily:
    """A model family, as far as pages and prompts are concerned.

    Attributes:
        read_budget: page sizes that a checkpoint folder takes, with the user's limit of visual tokens or ``None``.
            Raises ModelError for a folder that does not say, and UsageError for a limit that cannot be kept.
        fit_page: size to render a page at, from its width and height in points, the resolution in dpi and the budget.
            Raises PageError for a page that cannot be rendered. It runs in the render child: torch stays outside.
        max_visual_tokens: visual tokens that the largest page within a budget has.
        load_input: input of a checkpoint folder. Raises ModelError for a folder that lacks a part.
    """

    read_budget: Callable[[Path, int | None], PixelBudget]
    fit_page: Callable[[float, float, int, PixelBudget], PagePixels]
    max_visual_tokens: Callable[[PixelBudget], int]
    load_input: Callable[[Path], ModelInput]


def check_page(width_pt: float, height_pt: float, dpi: int) -> None:
    """Refuse a page that no family can render.

    Args:
        width_pt: width of the page in points.
        height_pt: height of the page in points.
        dpi: resolution in dots per inch.

    Raises:
        PageError: the page is empty, or so large that nothing legible would be left of it.
    """
    measures = f"the page measures {width_pt:g} x {height_pt:g} pt"
    if not (math.isfinite(width_pt) and math.isfinite(height_pt) and width_pt > 0 and height_pt > 0):
        raise PageError("render", "EmptyPage", f"{measures}; expected two positive sides")
    megapixels = width_pt * dpi / POINTS_PER_INCH * (height_pt * dpi / POINTS_PER_INCH) / 1e6
    if megapixels > MAX_PAGE_PIXELS / 1e6:
        raise PageError(
            "render",
            "PageTooLarge",
            f"{measures}, {megapixels:,.0f} megapixels at {dpi} dpi; the limit is {MAX_PAGE_PIXELS / 1e6:,.0f}; "
            "lower --dpi",
        )


def read_json(path: Path) -> dict[str, Any]:
    """Read a configuration file of a checkpoint; a missing one is empty.

    Args:
        path: the configuration file.

    Raises:
        ModelError: the file holds something other than a JSON object.
    """
    if not path.is_file():
        return {}
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    if not isinstance(raw, dict):
        raise ModelError(f"{path}: expected a JSON object, found {type(raw).__name__}")
    return raw
