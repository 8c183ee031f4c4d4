"""Gives the language model of a backbone low-rank weights that learn (LoRA, arXiv 2106.09685), and merges them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import nn

from glimpseprune.errors import UnsupportedModelError
from glimpseprune.families.base import Backbone
from glimpseprune.families.decoder import DrivesDecoder

RANK, ALPHA = 32, 64  # of the published recipe


class Lora(nn.Module):
    """Adds to each linear layer of a language model the product of two narrow matrices, which starts at zero.

    Joined layers have one pair of matrices for all of their parts. The base weights do not learn.

    Args:
        backbone: backbone of the model, whose projections are replaced until :meth:`merge`.

    Attributes:
        weights: the matrices, float32.

    Raises:
        UnsupportedModelError: the family does not drive its language model in a way that can be trained.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        if not isinstance(backbone, DrivesDecoder):
            raise UnsupportedModelError(
                f"expected a family whose language model is a Decoder, found {type(backbone).__name__}; take a model "
                "of another family"
            )
        self._blocks = backbone.decoder.layers
        every = nn.ModuleDict({str(i): nn.ModuleDict(block.projections) for i, block in enumerate(self._blocks)})
        names = "|".join(self._blocks[0].projections)
        config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=rf"\d+\.({names})")
        inject_adapter_in_model(config, every)
        for block, layers in zip(self._blocks, every.values(), strict=True):
            for name, layer in layers.items():  # type: ignore[operator]
                block.replace(name, layer)
        narrow = {name: weight for name, weight in every.named_parameters() if weight.requires_grad}
        for weight in narrow.values():
            weight.data = weight.data.float()
        self.weights = nn.ParameterDict({name.replace(".", "_"): weight for name, weight in narrow.items()})

    @contextmanager
    def off(self) -> Iterator[None]:
        """Let the model be the frozen one inside of the context."""
        self._enable(False)
        try:
            yield
        finally:
            self._enable(True)

    def merge(self) -> None:
        """Add the products to the base weights, stock ones included, and put the plain layers back."""
        for block in self._blocks:
            for name, layer in block.projections.items():
                if isinstance(layer, LoraLayer):
                    layer.merge()
                    block.replace(name, layer.get_base_layer())

    def _enable(self, on: bool) -> None:
        for block in self._blocks:
            for layer in block.projections.values():
                if isinstance(layer, LoraLayer):
                    layer.enable_adapters(on)
