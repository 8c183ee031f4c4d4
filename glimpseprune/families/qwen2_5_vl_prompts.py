"""Checks a batch for Qwen2.5-VL and splits it into one prompt per item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from glimpseprune.errors import InputError
from glimpseprune.families.base import Prompt
from glimpseprune.families.prompt_tokens import all_about_the_page, image_slots, without_padding
from glimpseprune.families.qwen2_5_vl_rope import rope_positions


@dataclass(frozen=True, slots=True)
class PromptMaker:
    """Makes prompts from token ids and images.

    Attributes:
        image_token_id: token that stands for a visual token.
        video_token_id: token that stands for a part of a video, which is refused.
        merge: side of a visual token in patches.
    """

    image_token_id: int
    video_token_id: int
    merge: int

    def batch(self, inputs: Mapping[str, Any], device: torch.device) -> list[Prompt]:
        """Split a batch from the processor into one prompt per item.

        Args:
            inputs: batch as the processor returned it.
            device: device of the prompts.

        Raises:
            InputError: a key is missing, or images and image tokens do not match.
        """
        rows = without_padding(inputs, device)
        video = any(bool((row == self.video_token_id).any()) for row in rows)
        if video or inputs.get("pixel_values_videos") is not None:
            raise InputError("expected images, found a video; pass its frames as images")
        pixels, grids = self._images(inputs, device)
        prompts, used = [], 0
        for row, tokens in enumerate(rows):
            prompts.append(self._prompt(tokens, pixels[used:], grids[used:], row))
            used += len(prompts[-1].pixels)
        if used != len(grids):
            raise InputError(
                f"expected image tokens for the {len(grids)} images of image_grid_thw, found image tokens for {used}; "
                "pass exactly the images of the prompts"
            )
        return prompts

    def page(
        self, input_ids: Sequence[Tensor], pixels: Sequence[Tensor], grids: Sequence[tuple[int, int]]
    ) -> list[Prompt]:
        """Make several prompts about the same images, which share their pixels.

        Args:
            input_ids: token ids ``[T_b]`` of each prompt.
            pixels: patches of each image, ``[patches, patch_dim]``.
            grids: rows and columns of patches of each image.

        Raises:
            InputError: a prompt's image tokens do not match the images.
        """
        rows = (ids.to(pixels[0].device) for ids in input_ids)
        prompts = [self._prompt(ids, list(pixels), list(grids), row) for row, ids in enumerate(rows)]
        return all_about_the_page(prompts, len(pixels))

    def token_grid(self, grid: tuple[int, int]) -> tuple[int, int]:
        """Turn rows and columns of patches into rows and columns of visual tokens."""
        return grid[0] // self.merge, grid[1] // self.merge

    def _prompt(self, tokens: Tensor, pixels: list[Tensor], grids: list[tuple[int, int]], row: int) -> Prompt:
        """Make the prompt of one item from the first of the given images; later items use the rest."""
        token_grids = [self.token_grid(grid) for grid in grids]
        slots = image_slots(tokens, self.image_token_id, token_grids, row)
        used = len(slots)
        positions = rope_positions(tokens.numel(), slots, token_grids[:used])
        return Prompt(tokens, positions.to(tokens.device), tuple(pixels[:used]), tuple(grids[:used]), slots)

    def _images(self, inputs: Mapping[str, Any], device: torch.device) -> tuple[list[Tensor], list[tuple[int, int]]]:
        """Split the batch into the patches and the patch grid (rows, columns) of each image."""
        grid, pixels = inputs.get("image_grid_thw"), inputs.get("pixel_values")
        if (grid is None) != (pixels is None):
            raise InputError(
                "expected pixel_values and image_grid_thw together, found only one of them; pass both or neither"
            )
        if grid is None or pixels is None:
            return [], []
        sizes = [(int(t), int(h), int(w)) for t, h, w in grid.tolist()]
        if any(t != 1 for t, _, _ in sizes):
            raise InputError("expected one frame per image, found more in image_grid_thw; pass images, not videos")
        patches = [h * w for _, h, w in sizes]
        if sum(patches) != pixels.shape[0]:
            raise InputError(
                f"expected {sum(patches)} patches, as image_grid_thw says, found {pixels.shape[0]} in pixel_values; "
                "pass what the processor returned"
            )
        return list(pixels.to(device).split(patches)), [(h, w) for _, h, w in sizes]
