"""Reads and checks the JSON of an add-on; plain data, without torch."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from glimpseprune.errors import AddonError
from glimpseprune.rule import KeepRule

PUBLISHED_CONFIG = "config.json"
PUBLISHED_WEIGHTS = "new_modules_gp.pt"
OWN_CONFIG = "glimpse.json"
OWN_WEIGHTS = "glimpse.safetensors"
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


def read_addon_config(folder: Path) -> AddonConfig:
    """Read and check the configuration of an add-on in a local folder, published or our own.

    Args:
        folder: local folder of the add-on.

    Raises:
        AddonError: no such file, not JSON, a field that is missing, out of range or not supported; it is named.
    """
    own, published = folder / OWN_CONFIG, folder / PUBLISHED_CONFIG
    path = own if own.is_file() else published
    if not path.is_file():
        raise AddonError(f"no add-on in {folder}: expected {OWN_CONFIG} or {PUBLISHED_CONFIG} there")
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise AddonError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(raw, dict):
        raise AddonError(f"{path}: expected a JSON object, found {type(raw).__name__}")
    config = _own(raw, path) if path == own else _published(raw, path)
    _check(config, path)
    return config


def _own(raw: Mapping[str, Any], path: Path) -> AddonConfig:
    if raw.get("format") != OWN_FORMAT or raw.get("version") != OWN_VERSION:
        raise AddonError(
            f"{path}: expected format {OWN_FORMAT!r} version {OWN_VERSION}, found "
            f"{raw.get('format')!r} version {raw.get('version')!r}"
        )
    fields = _Fields(raw, path)
    base = _Fields(fields.mapping("base"), path)
    shape = BaseShape(**{field.name: base.integer(field.name) for field in dataclasses.fields(BaseShape)})
    return _build(fields, shape, rms_norm_eps=fields.number("rms_norm_eps"), window=fields.integer("window"))


def _published(raw: Mapping[str, Any], path: Path) -> AddonConfig:
    fields = _Fields(raw, path)
    vision = _Fields(fields.mapping("vision_config"), path)
    text = _Fields(fields.mapping("text_config"), path) if "text_config" in raw else fields
    if fields.get("attn_fuse_type") != "AttnFuserV1":
        raise AddonError(f"{path}: attn_fuse_type is {fields.get('attn_fuse_type')!r}; only 'AttnFuserV1' is supported")
    for name in ("anchor_positions", "fixed_remain_ratio"):
        if raw.get(name):
            raise AddonError(f"{path}: {name} is {raw[name]!r}; only an empty value is supported")
    shape = BaseShape(
        hidden_size=text.integer("hidden_size"),
        num_hidden_layers=text.integer("num_hidden_layers"),
        num_attention_heads=text.integer("num_attention_heads"),
        vision_hidden_size=vision.integer("hidden_size"),
        vision_depth=vision.integer("depth"),
    )
    window = vision.integer("window_size") // vision.integer("spatial_merge_size") // vision.integer("patch_size")
    return _build(fields, shape, rms_norm_eps=text.number("rms_norm_eps"), window=window)


def _build(fields: _Fields, shape: BaseShape, *, rms_norm_eps: float, window: int) -> AddonConfig:
    return AddonConfig(
        base=shape,
        window=window,
        rms_norm_eps=rms_norm_eps,
        selected_layers=fields.integers("selected_layers"),
        use_attention_logits=fields.boolean("use_attention_logits"),
        attn_fuse_size=fields.integer("attn_fuse_size"),
        visual_cond_size=fields.integer("visual_cond_size"),
        attn_fuse_num_heads=fields.integer("attn_fuse_num_heads"),
        attn_fuse_hidden_act=fields.string("attn_fuse_hidden_act"),
        attn_fuse_global=fields.boolean("attn_fuse_global"),
        selected_visual_layers=fields.integers("selected_visual_layers"),
        deep_supervision=fields.boolean("deep_supervision"),
        le_layers=fields.integers("le_layers"),
        le_length=fields.integer("le_length"),
        le_norm_type=fields.string("le_norm_type"),
        reduce_layer=fields.integer("reduce_layer"),
        reduce_threshold=fields.number("reduce_threshold"),
        min_remain_num=fields.integer("min_remain_num"),
        max_remain_ratio=None if fields.get("max_remain_ratio") is None else fields.number("max_remain_ratio"),
        reduce_margin=fields.integer("reduce_margin") if "reduce_margin" in fields.raw else 0,
        reduce_anchor=fields.integer("reduce_anchor") if "reduce_anchor" in fields.raw else 0,
    )


class _Fields:
    """Typed access to a JSON object that names the field in every refusal."""

    def __init__(self, raw: Mapping[str, Any], path: Path) -> None:
        self.raw, self.path = raw, path

    def get(self, name: str) -> Any:
        if name not in self.raw:
            raise AddonError(f"{self.path}: field {name} is missing")
        return self.raw[name]

    def _typed(self, name: str, kind: type | tuple[type, ...], expected: str) -> Any:
        value = self.get(name)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise AddonError(f"{self.path}: field {name} has to be {expected}, found {value!r}")
        return value

    def integer(self, name: str) -> int:
        return int(self._typed(name, int, "a whole number"))

    def number(self, name: str) -> float:
        return float(self._typed(name, (int, float), "a number"))

    def boolean(self, name: str) -> bool:
        return bool(self._typed(name, bool, "true or false"))

    def string(self, name: str) -> str:
        return str(self._typed(name, str, "a string"))

    def mapping(self, name: str) -> Mapping[str, Any]:
        value: Mapping[str, Any] = self._typed(name, dict, "an object")
        return value

    def integers(self, name: str) -> tuple[int, ...]:
        value = self._typed(name, (list, tuple), "a list of whole numbers")
        if any(isinstance(item, bool) or not isinstance(item, int) for item in value):
            raise AddonError(f"{self.path}: field {name} has to be a list of whole numbers, found {value!r}")
        return tuple(value)


def _check(config: AddonConfig, path: Path) -> None:
    """Ranges and combinations; raises AddonError naming the field."""

    def refuse(field: str, why: str) -> None:
        raise AddonError(f"{path}: {field} is {getattr(config, field)!r}: {why}")

    layers, depth = config.base.num_hidden_layers, config.base.vision_depth
    if not 0 <= config.reduce_layer < layers:
        refuse("reduce_layer", f"expected a layer of 0..{layers - 1}")
    if not config.selected_layers:
        refuse("selected_layers", "at least one layer is needed")
    if any(not 0 <= layer <= config.reduce_layer for layer in config.selected_layers):
        refuse("selected_layers", f"every layer has to be in 0..reduce_layer ({config.reduce_layer})")
    if any(not 0 <= layer < layers for layer in config.le_layers):
        refuse("le_layers", f"every layer has to be in 0..{layers - 1}")
    if config.le_length < 0:
        refuse("le_length", "must not be negative")
    if config.le_length and 0 not in config.le_layers:
        refuse("le_layers", "layer 0 is missing, where the glimpse token enters the sequence")
    if not config.selected_visual_layers:
        refuse("selected_visual_layers", "at least one layer is needed")
    if any(not 0 <= layer < depth for layer in config.selected_visual_layers):
        refuse("selected_visual_layers", f"every layer has to be in 0..{depth - 1}")
    if config.le_norm_type not in ("rmsnorm", "layernorm"):
        refuse("le_norm_type", "expected 'rmsnorm' or 'layernorm'")
    heads = config.attn_fuse_num_heads
    if heads < 1 or (config.attn_fuse_size + config.visual_cond_size) % (4 * heads) or config.attn_fuse_size % heads:
        refuse("attn_fuse_num_heads", "has to divide attn_fuse_size, and 4 times it attn_fuse_size + visual_cond_size")
    if not config.attn_fuse_global and config.window < 1:
        refuse("window", "the vision tower has no attention windows; attn_fuse_global has to be true")
    try:
        _ = config.rule
    except ValueError as error:
        names = "reduce_threshold, max_remain_ratio, min_remain_num, reduce_margin or reduce_anchor"
        raise AddonError(f"{path}: {names}: {error}") from error
