"""Defines the protocol that each model family implements in a module of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from glimpseprune.families.shape import ModelShape
from glimpseprune.received_attention import ReceivedAttention

Rotary = tuple[Tensor, Tensor]
"""Cosines and sines ``[B, T, ...]`` of positions, in the form that the family's own layers take."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """Holds one item of a batch without its padding.

    Attributes:
        input_ids: token ids ``[T]``.
        position_ids: rotary positions ``[axes, T]``.
        pixels: patches of each image, ``[patches, patch_dim]``.
        grids: rows and columns of patches of each image.
        image_slots: positions of each image's visual tokens in the prompt, ``[N_i]``.
    """

    input_ids: Tensor
    position_ids: Tensor
    pixels: tuple[Tensor, ...]
    grids: tuple[tuple[int, int], ...]
    image_slots: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """Holds one image after the vision tower.

    Attributes:
        tokens: visual tokens ``[N, D]`` in raster order.
        features: output of each selected vision layer, ``[N, vision_hidden_size]``.
        grid: rows and columns of visual tokens.
        cells: raster indices ``[N]`` of the tokens, increasing; ``None`` for the whole grid, N = rows * columns.
        deep: summands ``[N, D]`` for the tokens' hidden states after decoder layers 0, 1, ...; one for each of the
            model's ``deep_layers``.
        inked: tokens that are no blank paper, bool ``[N]``; ``None`` if that is not known.
    """

    tokens: Tensor
    features: tuple[Tensor, ...]
    grid: tuple[int, int]
    cells: Tensor | None = None
    deep: tuple[Tensor, ...] = ()
    inked: Tensor | None = None


@dataclass(frozen=True, slots=True)
class DeepFeatures:
    """Holds what a model adds to the visual tokens of one prompt after its first decoder layers.

    Attributes:
        slots: positions ``[N]`` of all visual tokens in the prompt.
        summands: what is added to them after layers 0, 1, ..., ``[N, D]`` each.
    """

    slots: Tensor
    summands: tuple[Tensor, ...]

    def add(self, layer: int, hidden: Tensor) -> None:
        """Add what belongs behind a layer to its output ``[1, T, D]``, in place."""
        if layer < len(self.summands):
            hidden.index_add_(1, self.slots, self.summands[layer][None].to(hidden.dtype))


def deep_features(prompt: Prompt, images: Sequence[EncodedImage]) -> DeepFeatures | None:
    """Collect the deep features of all images of a prompt; ``None`` if there are none.

    Args:
        prompt: one item of a batch.
        images: images of the prompt after the vision tower.
    """
    layers = list(zip(*(image.deep for image in images), strict=True))
    if not layers:
        return None
    return DeepFeatures(torch.cat(prompt.image_slots), tuple(torch.cat(parts) for parts in layers))


class Cache(Protocol):
    """Stores the keys and values of decoder layers, and returns all that the new tokens attend to."""

    def update(self, keys: Tensor, values: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Store the new tokens' keys and values ``[B, H_kv, T, d]``: ``[B, H_kv, S, d]`` each."""

    def append(self, both: Tensor, layer_idx: int) -> tuple[Tensor, Tensor]:
        """Do the same with one tensor ``[B, T, 2 * H_kv, d]``, keys first, which need not be contiguous."""


Attend = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class CacheGroup:
    """Holds the caches of groups of tokens that run together, as one sequence; each group attends to its own cache.

    Attributes:
        caches: cache of each group.
        counts: number of tokens ``T_i`` of each group.
        biases: summand for the attention scores of each group, ``[1, 1, T_i, S_i]``.
    """

    caches: Sequence[Cache]
    counts: Sequence[int]
    biases: Sequence[Tensor]

    def attend(self, layer: int, queries: Tensor, both: Tensor, attend: Attend) -> Tensor:
        """Store the tokens' keys and values, and let each group attend: ``[1, T, H * d]``.

        Args:
            layer: number of the layer.
            queries: queries ``[1, T, H, d]``.
            both: keys and values ``[1, T, 2 * H_kv, d]``, keys first.
            attend: attention of the layer; it takes a group's queries ``[1, T_i, H, d]``, all keys and values that it
                sees, ``[1, H_kv, S_i, d]`` each, and its bias, and returns ``[1, T_i, H * d]``.
        """
        sizes = list(self.counts)
        parts = zip(torch.split(queries, sizes, 1), torch.split(both, sizes, 1), self.caches, self.biases, strict=True)
        return torch.cat([attend(asked, *cache.append(new, layer), bias) for asked, new, cache, bias in parts], dim=1)


class Backbone(Protocol):
    """Offers a stock model as its parts; calling a part never changes what the model computes."""

    shape: ModelShape
    num_layers: int
    rotary_axes: int
    image_token_id: int

    @property
    def device(self) -> torch.device:
        """Device of the weights."""

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""

    def pack(self) -> None:
        """Lay the weights out for the matrix kernels of a CPU, where there is a layout; gradients end with this."""

    def prompts(self, inputs: Mapping[str, Any]) -> list[Prompt]:
        """Split a batch from the processor into one prompt per item.

        Args:
            inputs: batch as the processor returned it.

        Raises:
            InputError: a key is missing, or images and image tokens do not match.
        """

    def page_prompts(
        self, input_ids: Sequence[Tensor], pixels: Sequence[Tensor], grids: Sequence[tuple[int, int]]
    ) -> list[Prompt]:
        """Make several prompts about the same images, mostly one, which share their pixels.

        Args:
            input_ids: token ids ``[T_b]`` of each prompt.
            pixels: patches of each image, ``[patches, patch_dim]``.
            grids: rows and columns of patches of each image.

        Raises:
            InputError: a prompt's image tokens do not match the images.
        """

    def encode(
        self, pixels: Tensor, grid: tuple[int, int], layers: Sequence[int], visible: Tensor | None = None
    ) -> EncodedImage:
        """Run the vision tower on one image.

        Args:
            pixels: patches of the image, ``[patches, patch_dim]``.
            grid: rows and columns of patches.
            layers: vision layers whose output is kept as ``features``.
            visible: mask of the visual tokens that the tower sees, bool ``[N]``; ``None`` for all.
        """

    def embed(self, prompt: Prompt, images: Sequence[EncodedImage]) -> Tensor:
        """Embed a prompt: ``[1, T, D]``, with the visual tokens in their places."""

    def embed_tokens(self, input_ids: Tensor) -> Tensor:
        """Embed text tokens: ``[B, T] -> [B, T, D]``."""

    def rotary(self, position_ids: Tensor) -> Rotary:
        """Compute cosines and sines of rotary positions ``[axes, B, T]`` for :meth:`run_layer`."""

    def run_layer(
        self,
        layer: int,
        hidden: Tensor,
        rotary: Rotary,
        cache: Cache | CacheGroup,
        bias: Tensor | None = None,
    ) -> Tensor:
        """Run one decoder layer: ``[B, T, D] -> [B, T, D]``.

        Attention is causal without a ``bias``.

        Args:
            layer: number of the layer.
            hidden: input of the layer, ``[B, T, D]``.
            rotary: cosines and sines of the T positions.
            cache: cache for the keys and values of the T tokens, or a group of them, which has the biases.
            bias: summand for the attention scores, ``[B, 1, T, S]``, or one that broadcasts to it.
        """

    def keys_values(self, layer: int, hidden: Tensor, rotary: Rotary) -> tuple[Tensor, Tensor]:
        """Compute the keys (after rotary) and values that :meth:`run_layer` caches, ``[B, H_kv, T, d]`` each."""

    def queries(self, layer: int, hidden: Tensor, rotary: Rotary) -> Tensor:
        """Compute the queries of a layer from its input ``hidden``: ``[1, T, D] -> [T, H, d]``.

        They are rotated and scaled by 1/sqrt(d).
        """

    def logits(self, hidden: Tensor) -> Tensor:
        """Apply the final norm and the head: ``[B, D] -> [B, vocab]``, float32."""


@runtime_checkable
class TellsTowerAttention(Protocol):
    """Is what a backbone can do besides: tell which visual tokens its vision tower attends to."""

    def tower_attention(
        self, pixels: Tensor, grid: tuple[int, int], visible: Tensor | None = None
    ) -> ReceivedAttention:
        """Compute the attention that each visual token of an image receives in two blocks of the tower.

        Args:
            pixels: patches of the image, ``[patches, patch_dim]``.
            grid: rows and columns of patches.
            visible: mask of the visual tokens that the tower sees, bool ``[N]``; ``None`` for all.
        """


def run_layers(
    backbone: Backbone,
    layers: range,
    hidden: Tensor,
    rotary: Rotary,
    cache: Cache | CacheGroup,
    bias: Tensor | None = None,
    deep: DeepFeatures | None = None,
) -> Tensor:
    """Run several decoder layers in turn, each with :meth:`Backbone.run_layer`, and add deep features between them."""
    for layer in layers:
        hidden = backbone.run_layer(layer, hidden, rotary, cache, bias)
        if deep is not None:
            deep.add(layer, hidden)
    return hidden
