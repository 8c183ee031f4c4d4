"""Defines the configuration of an add-on as plain data, without torch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Protocol

from glimpseprune.errors import AddonError
from glimpseprune.rule import KeepRule

OWN_FORMAT = "docpipe-glimpse"
OWN_VERSION = 1


class Sizes(Protocol):
    """Names the sizes of a model that an add-on depends on."""

    @property
    def hidden_size(self) -> int: ...  # noqa: D102
    @property
    def num_hidden_layers(self) -> int: ...  # noqa: D102
    @property
    def num_attention_heads(self) -> int: ...  # noqa: D102
    @property
    def vision_hidden_size(self) -> int: ...  # noqa: D102
    @property
    def vision_depth(self) -> int | None: ...  # noqa: D102


class NormAndWindow(Sizes, Protocol):
    """Adds what is needed to configure a new add-on for a model."""

    @property
    def vision_depth(self) -> int: ...  # noqa: D102
    @property
    def rms_norm_eps(self) -> float: ...  # noqa: D102
    @property
    def vision_window(self) -> int: ...  # noqa: D102
    @property
    def deep_layers(self) -> int: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class BaseShape:
    """Holds the sizes of the base that an add-on depends on.

    Attributes:
        hidden_size: width D of the language model.
        num_hidden_layers: number of decoder layers.
        num_attention_heads: number of query heads H.
        vision_hidden_size: width of the vision tower.
        vision_depth: number of layers of the vision tower; ``None`` where the add-on does not say, since its tower is a
            checkpoint of its own.
    """

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    vision_hidden_size: int
    vision_depth: int | None

    @classmethod
    def of(cls, shape: Sizes) -> BaseShape:
        """Take these sizes from the shape of a model."""
        return cls(**{field.name: getattr(shape, field.name) for field in dataclasses.fields(cls)})


@dataclass(frozen=True, slots=True)
class AddonConfig:
    """Holds the settings of an add-on under their published names.

    Attributes:
        base: sizes of the model that the add-on was trained on.
        window: side of the vision tower's attention windows in visual tokens; used if ``attn_fuse_global`` is false.
        rms_norm_eps: epsilon of the norm of the glimpse token.
        selected_layers: decoder layers whose glimpse attention the predictor reads, all up to ``reduce_layer``.
        use_attention_logits: true for attention scores before the softmax, false for their log-softmax.
        attn_fuse_size: width E of the predictor.
        visual_cond_size: width F of the visual condition.
        attn_fuse_num_heads: number of attention heads of the predictor.
        attn_fuse_hidden_act: activation of the predictor's MLP, by its name in transformers.
        attn_fuse_global: true for attention over the whole image, false for attention inside windows.
        selected_visual_layers: layers of the vision tower that condition the predictor, one per predictor layer.
        deep_supervision: true if every predictor layer has an output head, false if only the last has one.
        le_layers: decoder layers at which the glimpse token gets a learned vector.
        le_length: number of glimpse tokens; 0 if the last prompt token takes their part.
        le_norm_type: ``rmsnorm`` or ``layernorm``.
        reduce_layer: number K of the prune layer.
        reduce_threshold: ``threshold`` of the keep rule.
        min_remain_num: ``min_tokens`` of the keep rule.
        max_remain_ratio: ``max_ratio`` of the keep rule.
        reduce_reach: ``reach`` of the keep rule; absent from a published add-on.
        reduce_reach_threshold: ``reach_threshold`` of the keep rule; absent from a published add-on.
        reduce_margin: ``margin`` of the keep rule; absent from a published add-on.
        reduce_anchor: ``anchor`` of the keep rule; absent from a published add-on.
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
    reduce_reach: int = 0
    reduce_reach_threshold: float = 0.0
    reduce_margin: int = 0
    reduce_anchor: int = 0

    @property
    def rule(self) -> KeepRule:
        """Keep rule that the add-on was made with."""
        return KeepRule(
            threshold=self.reduce_threshold,
            max_ratio=self.max_remain_ratio,
            min_tokens=self.min_remain_num,
            reach=self.reduce_reach,
            reach_threshold=self.reduce_reach_threshold,
            margin=self.reduce_margin,
            anchor=self.reduce_anchor,
        )

    def check_base(self, shape: Sizes) -> None:
        """Check that the add-on fits a base.

        Args:
            shape: sizes of the base.

        Raises:
            AddonError: a size differs, or the base lacks a vision layer; the message names it.
        """
        for field in dataclasses.fields(BaseShape):
            ours, theirs = getattr(self.base, field.name), getattr(shape, field.name)
            if ours is not None and ours != theirs:
                raise AddonError(
                    f"add-on does not fit the base model: {field.name} is {ours} in the add-on and {theirs} in the "
                    "base; take the add-on that was trained on this base"
                )
        deepest, depth = max(self.selected_visual_layers), shape.vision_depth
        if depth is not None and deepest >= depth:
            raise AddonError(
                f"add-on does not fit the base model: it reads layer {deepest} of the vision tower, and the base has "
                f"layers 0 to {depth - 1}; take the add-on that was trained on this base"
            )

    def to_json(self) -> dict[str, Any]:
        """Make the content of our own ``glimpse.json``."""
        return {"format": OWN_FORMAT, "version": OWN_VERSION, **dataclasses.asdict(self)}


def new_addon_config(shape: NormAndWindow, reduce_layer: int | None = None) -> AddonConfig:
    """Configure a new add-on for a base, by the published ratios.

    The models of the article and of its code get their published values: E = 256, F = 512, visual layers 31, 23, 15 and
    7, and K = 23, 18, 42, 21 and 26 for language models of 36, 28, 64, 32 and 40 layers.

    Args:
        shape: sizes of the base.
        reduce_layer: number K of the prune layer; ``None`` for the published ratio, 0.65 of the depth.

    Raises:
        AddonError: ``reduce_layer`` is not a layer of the base after which it can be pruned.
    """
    layers, depth, first = shape.num_hidden_layers, shape.vision_depth, shape.deep_layers
    if reduce_layer is None:
        last = max(first, min(round(0.65 * layers), layers - 2))  # at least one layer runs on the survivors alone
    else:
        last = reduce_layer
    if not first <= last < layers:
        why = f" behind the {first} after which it adds visual features" if first else ""
        raise AddonError(
            f"reduce_layer is {last}; expected a layer of the base{why}, {first} to {layers - 1}. Pass one of those"
        )
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
