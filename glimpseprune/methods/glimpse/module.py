"""The add-on as a module: the learned glimpse token and the predictor behind it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from glimpseprune.methods.glimpse.addon_config import AddonConfig
from glimpseprune.methods.glimpse.predictor import Predictor


class Glimpse(nn.Module):
    """Glimpse token and VIP; the names of the parameters are those of the published checkpoint.

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

    def token_at(self, layer: int) -> Tensor | None:
        """What the glimpse token receives before a layer, ``[le_length, D]``; ``None`` where it receives nothing.

        At layer 0 this is its input embedding; at a later layer it is added to its hidden state.
        """
        if not self.config.le_length or layer not in self.config.le_layers:
            return None
        vector: Tensor = self.le_norm(self.le_proj(self.learnable_embeddings[self.config.le_layers.index(layer)]))
        return vector
