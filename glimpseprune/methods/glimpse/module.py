"""Defines the add-on as a torch module: the learned glimpse token and the predictor."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from glimpseprune.methods.glimpse import flops
from glimpseprune.methods.glimpse.addon_config import AddonConfig
from glimpseprune.methods.glimpse.predictor import ImageCondition, Predictor
from glimpseprune.rule import KeepRule


class Glimpse(nn.Module):
    """Prunes by the attention of a learned glimpse token, as a :class:`~glimpseprune.methods.base.Method`.

    It is the method of arXiv 2508.01548. The parameters have the names of the published checkpoint.

    Args:
        config: settings of the add-on.

    Attributes:
        learnable_embeddings: learned vectors ``[len(le_layers), le_length, D]``; absent if ``le_length`` is 0, where
            the attention of the last prompt token is read instead.
    """

    def __init__(self, config: AddonConfig) -> None:
        super().__init__()
        self.config = config
        width = config.base.hidden_size
        self.attn_fuser = Predictor(config)
        if config.le_length:
            self.learnable_embeddings = nn.Parameter(torch.empty(len(config.le_layers), config.le_length, width))
            self.le_proj = nn.Linear(width, width)
            norm = nn.RMSNorm if config.le_norm_type == "rmsnorm" else nn.LayerNorm
            eps = config.rms_norm_eps if config.le_norm_type == "rmsnorm" else 1e-5
            self.le_norm = norm(width, eps=eps)
            nn.init.normal_(self.learnable_embeddings, std=0.02)

    @property
    def prune_layer(self) -> int:
        """Number K of the prune layer, ``reduce_layer`` in the published configuration."""
        return self.config.reduce_layer

    @property
    def appended(self) -> int:
        """Number of glimpse tokens that are appended to each prompt."""
        return self.config.le_length

    @property
    def vision_layers(self) -> tuple[int, ...]:
        """Layers of the vision tower that condition the predictor."""
        return self.config.selected_visual_layers

    @property
    def attention_layers(self) -> tuple[int, ...]:
        """Decoder layers whose glimpse attention the predictor reads."""
        return self.config.selected_layers

    @property
    def raw_attention(self) -> bool:
        """True if the predictor reads attention scores before the softmax."""
        return self.config.use_attention_logits

    @property
    def rule(self) -> KeepRule:
        """Keep rule that the add-on was made with."""
        return self.config.rule

    def precompute(
        self, features: Sequence[Tensor], grid: tuple[int, int], cells: Tensor | None = None
    ) -> ImageCondition:
        """Compute once per page what scoring needs, with :meth:`Predictor.precompute`."""
        return self.attn_fuser.precompute(features, grid, cells)

    def score(self, attention: Tensor, image: ImageCondition) -> Tensor:
        """Score glimpse attention ``[Q, N, layers * H]``, and return importance logits ``[Q, N]``."""
        return self.attn_fuser.score(attention, image)

    def precompute_flops(self, visual: int) -> int:
        """Count the operations of :meth:`precompute` on an image of ``visual`` tokens."""
        return flops.precompute_flops(self.config, visual)

    def score_flops(self, visual: int) -> int:
        """Count the operations of :meth:`score` per question, for an image of ``visual`` tokens."""
        return flops.score_flops(self.config, visual)

    def token_at(self, layer: int) -> Tensor | None:
        """Return the input of the glimpse tokens to a layer, ``[le_length, D]``, or ``None`` for none.

        At layer 0 this is their embedding. At later layers it is added to their hidden states.
        """
        if not self.config.le_length or layer not in self.config.le_layers:
            return None
        vector: Tensor = self.le_norm(self.le_proj(self.learnable_embeddings[self.config.le_layers.index(layer)]))
        return vector
