"""Reads and checks the JSON of an add-on; plain data, without torch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Protocol

from glimpseprune.errors import AddonError
from glimpseprune.rule import KeepRule

OWN_FORMAT = "docpipe-glimpse"
OWN_VERSION = 1


class Sizes(Protocol):
    """Sizes of a model, whoever tells them."""

    @property
    def hidden_size(self) -> int: ...  # noqa: D102
    @property
    def num_hidden_layers(self) -> int: ...  # noqa: D102
    @property
    def num_attention_heads(self) -> int: ...  # noqa: D102
    @property
    def vision_hidden_size(self) -> int: ...  # noqa: D102
    @property
    def vision_depth(self) -> int: ...  # noqa: D102


class NormAndWindow(Sizes, Protocol):
    """Sizes of a model that a new add-on is made for."""

    @property
    def rms_norm_eps(self) -> float: ...  # noqa: D102
    @property
    def vision_window(self) -> int: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class BaseShape:
    """The sizes of the base model that an add-on depends on."""

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    vision_hidden_size: int
    vision_depth: int

    @classmethod
    def of(cls, shape: Sizes) -> BaseShape:
        """Take these sizes out of a model's."""
        return cls(**{field.name: getattr(shape, field.name) for field in dataclasses.fields(cls)})


@dataclass(frozen=True, slots=True)
class AddonConfig:
    """The fields of an add-on, under their published names.

    ``base`` is the shape of the model it was trained on; ``window`` is the side of the vision tower's attention window
    in merged tokens, used where ``attn_fuse_global`` is false.
    """

    base: BaseShape
    window: int
    rms_norm_eps: float
    selected_layers: tuple[int, ...]
    use_attention_logits: bool
    attn_fuse_size: int
    visual_cond_size: int
    attn_fuse_num_heads: int
    attn_fuse_hidden_act: str
    attn_fuse_global: bool
    selected_visual_layers: tuple[int, ...]
    deep_supervision: bool
    le_layers: tuple[int, ...]
    le_length: int
    le_norm_type: str
    reduce_layer: int
    reduce_threshold: float
    min_remain_num: int
    max_remain_ratio: float | None
    reduce_margin: int = 0  # ours, as the next one; a published add-on has neither
    reduce_anchor: int = 0

    @property
    def rule(self) -> KeepRule:
        """The rule the add-on was published with."""
        return KeepRule(
            threshold=self.reduce_threshold,
            max_ratio=self.max_remain_ratio,
            min_tokens=self.min_remain_num,
            margin=self.reduce_margin,
            anchor=self.reduce_anchor,
        )

    def check_base(self, shape: Sizes) -> None:
        """Refuse a base model of another shape.

        Args:
            shape: sizes of the model.

        Raises:
            AddonError: naming the first field that differs.
        """
        for field in dataclasses.fields(BaseShape):
            ours, theirs = getattr(self.base, field.name), getattr(shape, field.name)
            if ours != theirs:
                raise AddonError(
                    f"add-on does not fit the base model: {field.name} is {ours} in the add-on and {theirs} in the "
                    "base; take the add-on that was trained on this base"
                )

    def to_json(self) -> dict[str, Any]:
        """The content of our own ``glimpse.json``."""
        return {"format": OWN_FORMAT, "version": OWN_VERSION, **dataclasses.asdict(self)}


def new_addon_config(shape: NormAndWindow, reduce_layer: int | None = None) -> AddonConfig:
    """Configure an add-on that is to be trained for a base, by the published ratios.

    The article's 3B and 7B models get the published values: K = 23 and 18, E = 256, F = 512, visual layers 31, 23, 15
    and 7.

    Args:
        shape: sizes of the base.
        reduce_layer: K; two thirds of the depth, as published, by default.

    Raises:
        AddonError: K is not a layer of the base.
    """
    layers, depth = shape.num_hidden_layers, shape.vision_depth
    last = int(0.65 * layers) if reduce_layer is None else reduce_layer
    if not 0 <= last < layers:
        raise AddonError(f"reduce_layer is {last}; the base has the layers 0 to {layers - 1}")
    quarters = sorted({max(0, depth * quarter // 4 - 1) for quarter in (1, 2, 3, 4)}, reverse=True)
    return AddonConfig(
        base=BaseShape.of(shape),
        window=shape.vision_window,
        rms_norm_eps=shape.rms_norm_eps,
        selected_layers=(last,),
        use_attention_logits=True,
        attn_fuse_size=min(256, shape.hidden_size // 4),
        visual_cond_size=min(512, shape.hidden_size // 2),
        attn_fuse_num_heads=4,
        attn_fuse_hidden_act="silu",
        attn_fuse_global=True,
        selected_visual_layers=tuple(quarters),
        deep_supervision=False,
        le_layers=tuple(range(layers)),
        le_length=1,
        le_norm_type="rmsnorm",
        reduce_layer=last,
        reduce_threshold=0.5,
        min_remain_num=1,
        max_remain_ratio=None,
    )
