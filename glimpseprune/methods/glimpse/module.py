"""The add-on as a module: the learned glimpse token and the predictor behind it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from glimpseprune.methods.glimpse import flops
from glimpseprune.methods.glimpse.addon_config import AddonConfig
from glimpseprune.methods.glimpse.predictor import ImageCondition, Predictor
from glimpseprune.rule import KeepRule


class Glimpse(nn.Module):
    """Glimpse token and predictor, as a :class:`~glimpseprune.methods.base.Method` (arXiv 2508.01548).

    The names of the parameters are those of the published checkpoint.

    Args:
        config: sizes and layer numbers.

    Attributes:
        learnable_embeddings: ``[len(le_layers), le_length, D]``; absent where ``le_length`` is 0 and the last prompt
            token takes the glimpse.
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
        """K, called ``reduce_layer`` in the published configuration."""
        return self.config.reduce_layer

    @property
    def appended(self) -> int:
        """Glimpse tokens behind each prompt."""
        return self.config.le_length

    @property
    def vision_layers(self) -> tuple[int, ...]:
        """Layers of the vision tower that condition the predictor."""
        return self.config.selected_visual_layers

    @property
    def attention_layers(self) -> tuple[int, ...]:
        """Layers at which the predictor reads the glimpse token's attention."""
        return self.config.selected_layers

    @property
    def raw_attention(self) -> bool:
        """Tells whether the predictor reads scores before the softmax."""
        return self.config.use_attention_logits

    @property
    def rule(self) -> KeepRule:
        """The rule the add-on was published with."""
        return self.config.rule

    def precompute(
        self, features: Sequence[Tensor], grid: tuple[int, int], cells: Tensor | None = None
    ) -> ImageCondition:
        """Compute the image's part of the predictor; see :meth:`Predictor.precompute`."""
        return self.attn_fuser.precompute(features, grid, cells)

    def score(self, attention: Tensor, image: ImageCondition) -> Tensor:
        """Score ``[Q, N, layers * H]`` glimpse attention: ``[Q, N]`` importance logits."""
        return self.attn_fuser.score(attention, image)

    def precompute_flops(self, visual: int) -> int:
        """Operations of :meth:`precompute` on ``visual`` tokens."""
        return flops.precompute_flops(self.config, visual)

    def score_flops(self, visual: int) -> int:
        """Operations of :meth:`score` for one question."""
        return flops.score_flops(self.config, visual)

    def token_at(self, layer: int) -> Tensor | None:
        """Return what the glimpse token receives before a layer, ``[le_length, D]``; ``None`` for nothing.

        At layer 0 this is its input embedding; at a later layer it is added to its hidden state.
        """
        if not self.config.le_length or layer not in self.config.le_layers:
            return None
        vector: Tensor = self.le_norm(self.le_proj(self.learnable_embeddings[self.config.le_layers.index(layer)]))
        return vector
