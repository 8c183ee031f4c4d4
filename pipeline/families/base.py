"""Defines what the pipeline needs of a model family: page sizes and model input. No torch is imported here.

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
from pipeline.frame import WHOLE_PAGE, Frame
from pipeline.records import Image, PixelBudget

if TYPE_CHECKING:
    import torch
    from llguidance import LLTokenizer
    from torch import Tensor

MAX_PAGE_PIXELS = 256_000_000
POINTS_PER_INCH = 72.0

VisibleCells = Callable[[Image, int], npt.NDArray[np.bool_]]
"""Chooses which square cells of a page to show: page ``[H, W, 3]`` and side of a cell in pixels -> bool ``[cells]``."""


@dataclass(frozen=True, slots=True)
class PagePixels:
    """The size at which a page is rendered; ``dpi`` is the mean of both axes."""

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
        frame: where the grid lies on the page.
    """

    pixels: Tensor
    grid: tuple[int, int]
    frame: Frame = WHOLE_PAGE


class ModelInput(Protocol):
    """Turns pages and texts into model input, and generated tokens into text.

    The class of a family inherits from it.

    Attributes:
        image_token_id: the token that stands for one visual token in a prompt.
    """

    image_token_id: int

    def prepare(self, page: Image) -> PreparedImage:
        """Prepare an image ``[H, W, 3]`` in host memory."""

    def patches(self, image: PreparedImage, device: torch.device | str) -> Tensor:
        """Return the patches ``[patches, patch_dim]``, float32, on the device."""

    def image(self, page: Image, device: torch.device | str = "cpu") -> tuple[Tensor, tuple[int, int]]:
        """Return patches ``[patches, patch_dim]`` and patch grid (rows, columns) of an image ``[H, W, 3]``."""
        prepared = self.prepare(page)
        return self.patches(prepared, device), prepared.grid

    def token_grid(self, image: PreparedImage) -> tuple[int, int]:
        """Return rows and columns of visual tokens."""

    def visible(self, page: Image, image: PreparedImage, cells: VisibleCells) -> Tensor | None:
        """Return which visual tokens to show, bool ``[N]``; ``None`` for all, where cells and tokens do not match.

        Args:
            page: pixels ``[H, W, 3]``.
            image: the same page, prepared.
            cells: function that chooses among square cells of a given side.
        """

    def prompt(self, text: str, *grids: tuple[int, int]) -> Tensor:
        """Return token ids ``[T]`` of a question with its images, up to where the answer begins.

        Args:
            text: text of the user; names of special tokens in it are plain text.
            *grids: rows and columns of patches of each image; one, unless the family takes several.

        Raises:
            ModelError: the prompt of the checkpoint does not hold exactly these images.
        """

    def answer(self, text: str, ends: Collection[int]) -> Tensor:
        """Return token ids ``[A]`` of an answer as the model would write it, ended by one of ``ends``.

        Names of special tokens in ``text`` are plain text.
        """

    def vocabulary(self, size: int, ends: Collection[int]) -> LLTokenizer:
        """Return the bytes of every token, as the limits of typed answers need them.

        Args:
            size: number of tokens that the model has logits for.
            ends: tokens that end an answer.

        Raises:
            ModelError: the tokenizer of the checkpoint does not tell.
        """

    def text(self, tokens: Tensor) -> str:
        """Return the text of generated tokens, without special tokens and outer white space."""


def _config_as_it_is(folder: Path) -> dict[str, Any]:
    return read_json(folder / "config.json")


@dataclass(frozen=True, slots=True)
class PageFamily:
    """The part of a model family that handles pages and prompts.

    Attributes:
        read_budget: function that reads the page sizes of a checkpoint folder, given the user's limit of visual tokens
            or ``None``. It raises ModelError for a folder that does not state them, and UsageError for a limit that
            cannot be kept.
        fit_page: function that returns the size to render a page at, given its width and height in points, the
            resolution in dpi and the budget. It raises PageError for a page that cannot be rendered. It runs in the
            render child, where torch must not be imported.
        max_visual_tokens: function that returns the visual tokens of the largest page within a budget.
        load_input: function that loads the model input of a checkpoint folder. It raises ModelError for a folder that
            lacks a part.
        read_config: function that reads the ``config.json`` of a checkpoint folder, with ``text_config`` and
            ``vision_config`` complete and the tower's number of layers as ``depth``. It raises ModelError for a folder
            without a readable one.
        takes_several: whether its models take several images per question.
    """

    read_budget: Callable[[Path, int | None], PixelBudget]
    fit_page: Callable[[float, float, int, PixelBudget], PagePixels]
    max_visual_tokens: Callable[[PixelBudget], int]
    load_input: Callable[[Path], ModelInput]
    read_config: Callable[[Path], dict[str, Any]] = _config_as_it_is
    takes_several: bool = False


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
    """Read a configuration file of a checkpoint; a missing file counts as empty.

    Args:
        path: the configuration file.

    Raises:
        ModelError: the file cannot be read, or holds something other than a JSON object.
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
