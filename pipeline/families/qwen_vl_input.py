"""Turns pages and texts into model input, with the checkpoint's own image processor, tokenizer and chat template."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import torch
from llguidance import LLTokenizer
from torch import Tensor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil, smart_resize

from pipeline.families.base import ModelInput, PreparedImage, VisibleCells
from pipeline.families.chat_prompt import ChatPrompt
from pipeline.families.patches import by_channel, cut_patches
from pipeline.records import Image


class Processor(ModelInput):
    """Holds the image processor, tokenizer and chat template of one checkpoint folder.

    Args:
        folder: local checkpoint folder.

    Raises:
        ModelError: the folder has no chat template.
    """

    def __init__(self, folder: Path) -> None:
        self.images = Qwen2VLImageProcessorPil.from_pretrained(folder)
        self.chat = ChatPrompt(folder)
        self.image_token_id = self.chat.image_token_id

    def prepare(self, page: Image) -> PreparedImage:
        """Prepare an image ``[height, width, 3]`` in host memory.

        Pages are rendered at the size the model takes and pass unchanged. Other images are resized by the stock
        processor.
        """
        images, factor = self.images, int(self.images.patch_size * self.images.merge_size)
        height, width = page.shape[:2]
        whole = images.do_resize and images.do_rescale and images.do_normalize and page.dtype == np.uint8
        limits = images.size["shortest_edge"], images.size["longest_edge"]
        if whole and smart_resize(height, width, factor, *limits) == (height, width):
            return PreparedImage(torch.tensor(page), (height // images.patch_size, width // images.patch_size))
        out = images(images=[np.asarray(page)], return_tensors="pt")
        _, rows, columns = out["image_grid_thw"][0].tolist()
        return PreparedImage(out["pixel_values"], (rows, columns))

    def patches(self, image: PreparedImage, device: torch.device | str) -> Tensor:
        """Return the patches ``[patches, patch_dim]``, float32, on the device; pixels move there as uint8."""
        pixels = image.pixels.to(device)
        if pixels.dtype != torch.uint8:
            return pixels
        images = self.images
        mean, std = (by_channel(figures) for figures in (images.image_mean, images.image_std))
        sizes = (int(images.patch_size), int(images.merge_size), int(images.temporal_patch_size))
        return cut_patches(pixels, float(images.rescale_factor), mean, std, *sizes)

    def token_grid(self, image: PreparedImage) -> tuple[int, int]:
        """Return the rows and columns of visual tokens."""
        merge = int(self.images.merge_size)
        return image.grid[0] // merge, image.grid[1] // merge

    def visible(self, page: Image, image: PreparedImage, cells: VisibleCells) -> Tensor | None:
        """Return which visual tokens to show, bool ``[N]``; ``None`` for all, where the image was resized."""
        if image.pixels.dtype != torch.uint8:
            return None
        return torch.from_numpy(cells(page, int(self.images.patch_size * self.images.merge_size)))

    def prompt(self, text: str, *grids: tuple[int, int]) -> Tensor:
        """Return token ids ``[T]`` of a user turn, images before text, up to where the answer begins.

        Args:
            text: text as the user wrote it.
            *grids: rows and columns of patches of each image.

        Raises:
            ModelError: the chat template does not put every image and the text once into the prompt.
        """
        return self.chat.ids(text, *(rows * columns // self.images.merge_size**2 for rows, columns in grids))

    def answer(self, text: str, ends: Collection[int]) -> Tensor:
        """Return token ids ``[A]`` of an answer as the model would write it, ended by one of ``ends``."""
        return self.chat.answer(text, ends)

    def vocabulary(self, size: int, ends: Collection[int]) -> LLTokenizer:
        """Return the bytes of every token; see :meth:`ChatPrompt.vocabulary`."""
        return self.chat.vocabulary(size, ends)

    def text(self, tokens: Tensor) -> str:
        """Return the text of generated tokens, without special tokens and outer white space."""
        return self.chat.text(tokens)
