"""A loaded model: the stock model as its parts, and the method that prunes for it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from glimpseprune.families.base import Backbone, EncodedImage, Prompt
from glimpseprune.methods.base import Method
from glimpseprune.rule import KeepRule
from glimpseprune.stats import now_ms


@dataclass(frozen=True, slots=True)
class GlimpseModel:
    """A stock model, seen as a backbone, and the method that prunes for it.

    Attributes:
        base: the transformers model, unchanged.
        backbone: the same model as its parts.
        method: what chooses visual tokens, or ``None`` where nothing can be pruned.
        eos_token_ids: tokens that end an answer, from the checkpoint's generation config.
        repetition_penalty: from the checkpoint's generation config.
    """

    base: nn.Module
    backbone: Backbone
    method: Method | None
    eos_token_ids: frozenset[int]
    repetition_penalty: float

    @property
    def rule(self) -> KeepRule | None:
        """The rule that the method came with."""
        return None if self.method is None else self.method.rule

    def encode_images(self, prompt: Prompt, visible: Tensor | None = None) -> tuple[list[EncodedImage], float | None]:
        """Run the vision tower on the images of a prompt.

        Args:
            prompt: one item.
            visible: visual tokens that the tower is to see, bool ``[N]``; ``None`` for all.

        Returns:
            The images, and the wall time in milliseconds; ``None`` without images.
        """
        layers = () if self.method is None else self.method.vision_layers
        start = now_ms(self.backbone.device)
        pairs = zip(prompt.pixels, prompt.grids, strict=True)
        images = [self.backbone.encode(pixels, grid, layers, visible) for pixels, grid in pairs]
        return images, now_ms(self.backbone.device) - start if images else None
