"""Turns pages and texts into LLaVA-1.5's input: a page is padded to a square, as the published model's code does.

The stock image processor of the checkpoints on the hub cuts the page to a square instead, and loses its ends.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import torch
from llguidance import LLTokenizer
from PIL import Image as PilImage
from torch import Tensor
from transformers import AutoConfig

from pipeline.errors import ModelError
from pipeline.families.base import ModelInput, PreparedImage, VisibleCells, read_json
from pipeline.families.chat_prompt import ChatPrompt
from pipeline.families.patches import by_channel, cut_patches
from pipeline.frame import Frame
from pipeline.records import Image


class Processor(ModelInput):
    """Holds the image settings, tokenizer and chat template of one checkpoint folder.

    Args:
        folder: local checkpoint folder.

    Raises:
        ModelError: the folder has no chat template or no image settings.
    """

    def __init__(self, folder: Path) -> None:
        self.chat = ChatPrompt(folder)
        self.image_token_id = self.chat.image_token_id
        vision = AutoConfig.from_pretrained(folder).vision_config
        self.side_px, self.patch_px = int(vision.image_size), int(vision.patch_size)
        settings = read_json(folder / "processor_config.json").get("image_processor")
        settings = settings or read_json(folder / "preprocessor_config.json")
        try:
            self.mean, self.std = (by_channel(settings[name]) for name in ("image_mean", "image_std"))
        except KeyError as error:
            raise ModelError(
                f"{folder}: expected {error} in preprocessor_config.json, or in processor_config.json under "
                "image_processor, found none; download the checkpoint again"
            ) from error
        self.scale = float(settings.get("rescale_factor", 1 / 255))

    def prepare(self, page: Image) -> PreparedImage:
        """Prepare an image ``[height, width, 3]`` in host memory: pad it to a square, and resize that if it is needed.

        Pages are rendered at the size the model takes, and are only padded.
        """
        height, width = page.shape[:2]
        side = max(height, width)
        left, top = (side - width) // 2, (side - height) // 2
        square = np.empty((side, side, 3), dtype=np.uint8)
        square[:] = _colour(self.mean)
        square[top : top + height, left : left + width] = page
        if side != self.side_px:
            picture = PilImage.fromarray(square).resize((self.side_px, self.side_px), PilImage.Resampling.BICUBIC)
            square = np.array(picture)
        cells = self.side_px // self.patch_px
        frame = Frame(-left / width, -top / height, (side - left) / width, (side - top) / height)
        return PreparedImage(torch.from_numpy(square), (cells, cells), frame)

    def patches(self, image: PreparedImage, device: torch.device | str) -> Tensor:
        """Return the patches ``[patches, patch_dim]``, float32, on the device; pixels move there as uint8."""
        return cut_patches(image.pixels.to(device), self.scale, self.mean, self.std, self.patch_px, 1, 1)

    def token_grid(self, image: PreparedImage) -> tuple[int, int]:
        """Return the rows and columns of visual tokens, which are those of the patches."""
        return image.grid

    def visible(self, page: Image, image: PreparedImage, cells: VisibleCells) -> Tensor | None:
        """Return which visual tokens to show, bool ``[N]``; padding counts as paper."""
        return torch.from_numpy(cells(image.pixels.numpy(), self.patch_px))

    def prompt(self, text: str, *grids: tuple[int, int]) -> Tensor:
        """Return token ids ``[T]`` of a user turn, image before text, up to where the answer begins.

        Args:
            text: text as the user wrote it.
            *grids: rows and columns of patches of the image.

        Raises:
            ModelError: the chat template does not put exactly one image and the text once into the prompt.
        """
        return self.chat.ids(text, *(rows * columns for rows, columns in grids))

    def answer(self, text: str, ends: Collection[int]) -> Tensor:
        """Return token ids ``[A]`` of an answer as the model would write it, ended by one of ``ends``."""
        return self.chat.answer(text, ends)

    def vocabulary(self, size: int, ends: Collection[int]) -> LLTokenizer:
        """Return the bytes of every token; see :meth:`ChatPrompt.vocabulary`."""
        return self.chat.vocabulary(size, ends)

    def text(self, tokens: Tensor) -> str:
        """Return the text of generated tokens, without special tokens and outer white space."""
        return self.chat.text(tokens)


def _colour(mean: Sequence[float]) -> tuple[int, ...]:
    """Return the colour that pads a page: the mean of the images that the tower was trained on."""
    return tuple(int(channel * 255) for channel in mean)
