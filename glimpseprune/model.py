"""Defines the loaded model: a stock model and its pruning method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from glimpseprune.families.base import Backbone, EncodedImage, Prompt
from glimpseprune.methods.base import Method
from glimpseprune.packed_linear import packing_pays
from glimpseprune.rule import KeepRule
from glimpseprune.stats import now_ms


@dataclass(frozen=True, slots=True)
class GlimpseModel:
    """Holds a stock model, seen as a backbone, and its pruning method.

    Attributes:
        base: the transformers model, unchanged.
        backbone: the same model as its parts.
        method: pruning method; ``None`` if the model cannot prune.
        eos_token_ids: tokens that end an answer, from the checkpoint's generation config.
        repetition_penalty: repetition penalty from the checkpoint's generation config; 1 for none.

    Raises:
        UnsupportedModelError: the method prunes before the model has added all visual features.
    """

    base: nn.Module
    backbone: Backbone
    method: Method | None
    eos_token_ids: frozenset[int]
    repetition_penalty: float

    def __post_init__(self) -> None:
        """Refuse a method that prunes before the model has added all visual features."""
        if self.method is not None:
            self.backbone.shape.check_prune_layer(self.method.prune_layer)

    @property
    def rule(self) -> KeepRule | None:
        """Keep rule that the method was made with; ``None`` if the model cannot prune."""
        return None if self.method is None else self.method.rule

    def pack(self) -> bool:
        """Lay the weights out for the matrix kernels of this CPU, if that is clearly faster.

        It is measured once, in a fraction of a second. The model answers the same, up to rounding, and cannot be
        trained any more.

        Returns:
            Whether it was done.
        """
        pays = self.backbone.device.type == "cpu" and packing_pays(self.backbone.dtype)
        if pays:
            self.backbone.pack()
        return pays

    def encode_images(
        self, prompt: Prompt, visible: Sequence[Tensor] | None = None
    ) -> tuple[list[EncodedImage], float | None]:
        """Run the vision tower on the images of a prompt.

        Args:
            prompt: one item of a batch.
            visible: mask of the visual tokens of each image that the tower sees, bool ``[N_i]``; ``None`` for all.

        Returns:
            The encoded images, and the wall time in milliseconds, ``None`` if there are no images.
        """
        layers = () if self.method is None else self.method.vision_layers
        start = now_ms(self.backbone.device)
        seen = [None] * len(prompt.pixels) if visible is None else visible
        given = zip(prompt.pixels, prompt.grids, seen, strict=True)
        images = [self.backbone.encode(pixels, grid, layers, mask) for pixels, grid, mask in given]
        return images, now_ms(self.backbone.device) - start if images else None
