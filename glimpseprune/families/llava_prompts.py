"""Checks a batch for LLaVA-1.5 and splits it into one prompt per item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from glimpseprune.errors import InputError
from glimpseprune.families.base import Prompt
from glimpseprune.families.prompt_tokens import all_about_the_page, image_slots, without_padding


@dataclass(frozen=True, slots=True)
class PromptMaker:
    """Makes prompts from token ids and images.

    Attributes:
        image_token_id: token that stands for a visual token.
        side: patches along one side of an image, which is a square.
        patch: pixels along one side of a patch.
    """

    image_token_id: int
    side: int
    patch: int

    def batch(self, inputs: Mapping[str, Any], device: torch.device) -> list[Prompt]:
        """Split a batch from the processor into one prompt per item.

        Args:
            inputs: batch as the processor returned it.
            device: device of the prompts.

        Raises:
            InputError: a key is missing, or images and image tokens do not match.
        """
        images = self._images(inputs, device)
        prompts, used = [], 0
        for row, tokens in enumerate(without_padding(inputs, device)):
            prompts.append(self._prompt(tokens, images[used:], row))
            used += len(prompts[-1].pixels)
        if used != len(images):
            raise InputError(
                f"expected image tokens for the {len(images)} images of pixel_values, found image tokens for {used}; "
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
            InputError: an image has another size than the model takes, or a prompt's image tokens do not match.
        """
        for image, grid in zip(pixels, grids, strict=True):
            if grid != (self.side, self.side) or len(image) != self.side**2:
                raise InputError(
                    f"expected a page of {self.side} x {self.side} patches, found {len(image)} patches for a grid of "
                    f"{grid[0]} x {grid[1]}; prepare the page with this model's processor"
                )
        rows = (ids.to(pixels[0].device) for ids in input_ids)
        return all_about_the_page([self._prompt(ids, pixels, row) for row, ids in enumerate(rows)], len(pixels))

    def _prompt(self, tokens: Tensor, images: Sequence[Tensor], row: int) -> Prompt:
        """Make the prompt of one item from the first of the given images; later items use the rest."""
        slots = image_slots(tokens, self.image_token_id, [(self.side, self.side)] * len(images), row)
        positions = torch.arange(tokens.numel(), device=tokens.device)[None]
        grids = ((self.side, self.side),) * len(slots)
        return Prompt(tokens, positions, tuple(images[: len(slots)]), grids, slots)

    def _images(self, inputs: Mapping[str, Any], device: torch.device) -> list[Tensor]:
        """Cut each image of the batch into patches ``[patches, patch_dim]`` in raster order."""
        pixels = inputs.get("pixel_values")
        if pixels is None:
            return []
        size = (3, self.side * self.patch, self.side * self.patch)
        if pixels.shape[1:] != size:
            raise InputError(
                f"expected pixel_values of shape [images, {size[0]}, {size[1]}, {size[2]}], found "
                f"{list(pixels.shape)}; pass what the processor returned"
            )
        cut = pixels.to(device).unflatten(3, (self.side, self.patch)).unflatten(2, (self.side, self.patch))
        return list(cut.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2))
