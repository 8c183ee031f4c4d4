"""Defines the sizes of a model that pruning, its cost and its training depend on."""

from __future__ import annotations

from dataclasses import dataclass

from glimpseprune.errors import UnsupportedModelError


@dataclass(frozen=True, slots=True)
class ModelShape:
    """Holds the sizes of a language model and its vision tower, named as in transformers.

    Attributes:
        hidden_size: width D of the language model.
        num_hidden_layers: number of decoder layers L.
        num_attention_heads: number of query heads H.
        num_key_value_heads: number of key and value heads.
        head_dim: width of one head.
        intermediate_size: width of the MLP.
        vocab_size: size of the vocabulary.
        rms_norm_eps: epsilon of the norms.
        vision_hidden_size: width of the vision tower.
        vision_depth: number of layers of the vision tower.
        vision_window: side of the tower's attention window in visual tokens; 0 without windows.
        deep_layers: number of decoder layers, from the first on, after which visual features are added again.
    """

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    intermediate_size: int
    vocab_size: int
    rms_norm_eps: float
    vision_hidden_size: int
    vision_depth: int
    vision_window: int
    deep_layers: int = 0

    def check_prune_layer(self, layer: int) -> None:
        """Refuse to prune before the model has added all visual features.

        Args:
            layer: number K of the prune layer.

        Raises:
            UnsupportedModelError: the model adds visual features after this layer or a later one.
        """
        if layer < self.deep_layers:
            raise UnsupportedModelError(
                f"expected a prune layer of at least {self.deep_layers}, since the model adds visual features again "
                f"after its first {self.deep_layers} layers, found {layer}; take an add-on whose reduce_layer is "
                f"{self.deep_layers} or more"
            )
