"""The protocol that each model family implements in a module of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from glimpseprune.families.shape import ModelShape

Rotary = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True)
class Prompt:
    """One item without its padding.

    Attributes:
        input_ids: ``[T]``.
        position_ids: ``[axes, T]``, the rotary positions of every axis.
        pixels: the patches of each image, ``[patches, patch_dim]``.
        grids: rows and columns of each image in patches.
        image_slots: for each image, the positions of its visual tokens in the prompt, ``[N_i]``.
    """

    input_ids: Tensor
    position_ids: Tensor
    pixels: tuple[Tensor, ...]
    grids: tuple[tuple[int, int], ...]
    image_slots: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """One image after the vision tower.

    Attributes:
        tokens: ``[N, D]`` visual tokens in raster order.
        features: for each selected visual layer, ``[N, vision_hidden_size]``.
        grid: rows and columns of visual tokens.
        cells: ``[N]`` where in the grid the tokens are, in raster order; ``None``: everywhere, N = rows * columns.
    """

    tokens: Tensor
    features: tuple[Tensor, ...]
    grid: tuple[int, int]
    cells: Tensor | None = None


class Cache(Protocol):
    """Takes the keys and values of a decoder layer."""

    def update(self, keys: Tensor, values: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Take the new tokens' keys and values ``[B, H_kv, T, d]``; return all that they attend to."""


class Backbone(Protocol):
    """A stock model seen as its parts; calling any of them leaves the model as it was."""

    shape: ModelShape
    num_layers: int
    rotary_axes: int
    image_token_id: int

    @property
    def device(self) -> torch.device:
        """Where the weights are."""

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""

    @property
    def supports_attention_bias(self) -> bool:
        """Tells whether :meth:`run_layer` takes a bias; flash attention does not."""

    def prompts(self, inputs: Mapping[str, Any]) -> list[Prompt]:
        """Split what the processor made into items.

        Args:
            inputs: what the processor made.

        Raises:
            InputError: a key is missing, or images and image tokens do not match.
        """

    def page_prompts(self, input_ids: Sequence[Tensor], pixels: Tensor, grid: tuple[int, int]) -> list[Prompt]:
        """Several prompts ``[T_b]`` about one image, sharing its pixels.

        Args:
            input_ids: token ids ``[T_b]`` of each prompt.
            pixels: patches of the image, ``[patches, patch_dim]``.
            grid: rows and columns of patches.

        Raises:
            InputError: a prompt's image tokens do not match the image.
        """

    def encode(
        self, pixels: Tensor, grid: tuple[int, int], layers: Sequence[int], visible: Tensor | None = None
    ) -> EncodedImage:
        """Run the vision tower on one image and keep the features after the given vision layers.

        With ``visible``, bool ``[N]`` over the visual tokens, on the patches of those alone.
        """

    def embed(self, prompt: Prompt, images: Sequence[EncodedImage]) -> Tensor:
        """Input embeddings ``[1, T, D]`` with the visual tokens in their places."""

    def embed_tokens(self, input_ids: Tensor) -> Tensor:
        """Input embeddings of text tokens, ``[B, T] -> [B, T, D]``."""

    def rotary(self, position_ids: Tensor) -> Rotary:
        """Cosines and sines of rotary positions ``[axes, B, T]``, for :meth:`run_layer`."""

    def run_layer(
        self,
        layer: int,
        hidden: Tensor,
        rotary: Rotary,
        cache: Cache,
        filled: Tensor | None = None,
        bias: Tensor | None = None,
    ) -> Tensor:
        """One decoder layer, ``[B, T, D] -> [B, T, D]``.

        Causal attention over a fresh cache; one new token (T = 1) that sees the ``filled`` slots ``[B, S]``; or any
        attention, by what a ``bias`` ``[B, 1, T, S]`` adds to the scores (SDPA only).
        """

    def keys_values(self, layer: int, hidden: Tensor, rotary: Rotary) -> tuple[Tensor, Tensor]:
        """Compute the keys and values that :meth:`run_layer` would cache: ``[B, T, D] -> [B, H_kv, T, d]`` each."""

    def queries(self, layer: int, hidden: Tensor, rotary: Rotary) -> Tensor:
        """The queries of every position at a layer after rotary, scaled by 1/sqrt(d): ``[1, T, D] -> [T, H, d]``.

        ``hidden`` is the layer's input.
        """

    def logits(self, hidden: Tensor) -> Tensor:
        """Final norm and head: ``[B, D] -> [B, vocab]``, float32."""


def run_layers(
    backbone: Backbone,
    layers: range,
    hidden: Tensor,
    rotary: Rotary,
    cache: Cache,
    filled: Tensor | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    """Several decoder layers one after the other, as :meth:`Backbone.run_layer`."""
    for layer in layers:
        hidden = backbone.run_layer(layer, hidden, rotary, cache, filled, bias)
    return hidden
