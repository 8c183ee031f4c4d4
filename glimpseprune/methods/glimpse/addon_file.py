"""Reads the JSON file of an add-on, published or our own, and checks every field."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from glimpseprune.errors import AddonError
from glimpseprune.methods.glimpse.addon_config import OWN_FORMAT, OWN_VERSION, AddonConfig, BaseShape

PUBLISHED_CONFIG = "config.json"
PUBLISHED_WEIGHTS = "new_modules_gp.pt"
OWN_CONFIG = "glimpse.json"
OWN_WEIGHTS = "glimpse.safetensors"
_DEPTH = "vision_depth"
_UNSAID = {"attn_fuse_global": True, "le_norm_type": "rmsnorm"}
"""What published add-ons leave unsaid for towers without windows, where the code that wrote them knows nothing else."""


def read_addon_config(folder: Path) -> AddonConfig:
    """Read and check the configuration of an add-on in a local folder, published or our own.

    Args:
        folder: local folder of the add-on.

    Raises:
        AddonError: the file is missing or not JSON, or a field is missing, out of range or unsupported; the message
            names it.
    """
    own, published = folder / OWN_CONFIG, folder / PUBLISHED_CONFIG
    path = own if own.is_file() else published
    if not path.is_file():
        raise AddonError(
            f"no add-on in {folder}: expected {OWN_CONFIG} or {PUBLISHED_CONFIG}, found neither; pass the folder that "
            "holds it"
        )
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise AddonError(f"{path} is not valid JSON: {error}. Copy or download the file again") from error
    if not isinstance(raw, dict):
        raise AddonError(
            f"{path}: expected a JSON object, found {type(raw).__name__}; take the {path.name} of an add-on"
        )
    config = _own(raw, path) if path == own else _published(raw, path)
    _check(config, path)
    return config


def _own(raw: Mapping[str, Any], path: Path) -> AddonConfig:
    if raw.get("format") != OWN_FORMAT or raw.get("version") != OWN_VERSION:
        raise AddonError(
            f"{path}: expected format {OWN_FORMAT!r} version {OWN_VERSION}, found "
            f"{raw.get('format')!r} version {raw.get('version')!r}; read it with the docpipe release that wrote it"
        )
    fields = _Fields(raw, path)
    base = _Fields(fields.mapping("base"), path)
    sizes = {field.name: base.integer(field.name) for field in dataclasses.fields(BaseShape) if field.name != _DEPTH}
    shape = BaseShape(**sizes, vision_depth=None if base.get(_DEPTH) is None else base.integer(_DEPTH))
    return _build(fields, shape, rms_norm_eps=fields.number("rms_norm_eps"), window=fields.integer("window"))


def _published(raw: Mapping[str, Any], path: Path) -> AddonConfig:
    # Where the tower is a checkpoint of its own, the file has the language model's fields and the tower's width.
    separate = "vision_config" not in raw and "mm_hidden_size" in raw
    vision = _Fields(raw if separate else _Fields(raw, path).mapping("vision_config"), path)
    windowed = "window_size" in vision.raw
    fields = _Fields(raw if windowed else {**_UNSAID, **raw}, path)
    text = _Fields(fields.mapping("text_config"), path) if "text_config" in raw else fields
    if fields.get("attn_fuse_type") != "AttnFuserV1":
        raise AddonError(
            f"{path}: attn_fuse_type is {fields.get('attn_fuse_type')!r}; expected 'AttnFuserV1', the only supported "
            "predictor. Take an add-on that uses it"
        )
    for name in ("anchor_positions", "fixed_remain_ratio"):
        if raw.get(name):
            raise AddonError(
                f"{path}: {name} is {raw[name]!r}; expected no value, since docpipe does not support this setting. "
                "Take an add-on without it"
            )
    depth = None if separate else vision.integer("depth" if "depth" in vision.raw else "num_hidden_layers")
    shape = BaseShape(
        hidden_size=text.integer("hidden_size"),
        num_hidden_layers=text.integer("num_hidden_layers"),
        num_attention_heads=text.integer("num_attention_heads"),
        vision_hidden_size=vision.integer("mm_hidden_size" if separate else "hidden_size"),
        vision_depth=depth,
    )
    return _build(fields, shape, rms_norm_eps=text.number("rms_norm_eps"), window=_window(vision) if windowed else 0)


def _window(vision: _Fields) -> int:
    """Compute the side of the tower's attention windows in visual tokens."""
    return vision.integer("window_size") // vision.integer("spatial_merge_size") // vision.integer("patch_size")


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
        **{name: read(fields, name) for name, read in _OWN_RULE.items() if name in fields.raw},
    )


class _Fields:
    """Reads fields of a JSON object by type; every error names the field."""

    def __init__(self, raw: Mapping[str, Any], path: Path) -> None:
        self.raw, self.path = raw, path

    def get(self, name: str) -> Any:
        if name not in self.raw:
            raise AddonError(f"{self.path}: field {name} is missing; take a complete {self.path.name} from the add-on")
        return self.raw[name]

    def _typed(self, name: str, kind: type | tuple[type, ...], expected: str) -> Any:
        value = self.get(name)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise AddonError(f"{self.path}: field {name} has to be {expected}, found {value!r}; correct it there")
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
            raise AddonError(
                f"{self.path}: field {name} has to be a list of whole numbers, found {value!r}; correct it there"
            )
        return tuple(value)


_OWN_RULE: dict[str, Callable[[_Fields, str], Any]] = {
    "reduce_reach_threshold": _Fields.number,
    "reduce_reach": _Fields.integer,
    "reduce_margin": _Fields.integer,
    "reduce_anchor": _Fields.integer,
}
"""Fields of the keep rule that published add-ons do not have, and how each is read."""


def _check(config: AddonConfig, path: Path) -> None:
    """Check ranges and combinations of fields."""

    def refuse(field: str, expected: str) -> None:
        raise AddonError(f"{path}: {field} is {getattr(config, field)!r}; expected {expected}. Correct it there")

    layers, depth = config.base.num_hidden_layers, config.base.vision_depth
    if not 0 <= config.reduce_layer < layers:
        refuse("reduce_layer", f"a layer in 0..{layers - 1}")
    if not config.selected_layers:
        refuse("selected_layers", "at least one layer")
    if any(not 0 <= layer <= config.reduce_layer for layer in config.selected_layers):
        refuse("selected_layers", f"layers in 0..reduce_layer ({config.reduce_layer})")
    if any(not 0 <= layer < layers for layer in config.le_layers):
        refuse("le_layers", f"layers in 0..{layers - 1}")
    if config.le_length < 0:
        refuse("le_length", "a number of at least 0")
    if config.le_length and 0 not in config.le_layers:
        refuse("le_layers", "layer 0 among them, where the glimpse token enters the sequence")
    if not config.selected_visual_layers:
        refuse("selected_visual_layers", "at least one layer")
    if any(layer < 0 or (depth is not None and layer >= depth) for layer in config.selected_visual_layers):
        refuse("selected_visual_layers", "layers from 0 on" if depth is None else f"layers in 0..{depth - 1}")
    if config.le_norm_type not in ("rmsnorm", "layernorm"):
        refuse("le_norm_type", "'rmsnorm' or 'layernorm'")
    heads = config.attn_fuse_num_heads
    if heads < 1 or (config.attn_fuse_size + config.visual_cond_size) % (4 * heads) or config.attn_fuse_size % heads:
        refuse(
            "attn_fuse_num_heads",
            f"a divisor of attn_fuse_size ({config.attn_fuse_size}) whose fourfold divides attn_fuse_size + "
            f"visual_cond_size ({config.attn_fuse_size + config.visual_cond_size})",
        )
    if not config.attn_fuse_global and config.window < 1:
        refuse("window", "at least 1 while attn_fuse_global is false: the vision tower has no attention windows")
    try:
        _ = config.rule
    except ValueError as error:
        names = f"reduce_threshold, max_remain_ratio, min_remain_num, {', '.join(_OWN_RULE)}"
        raise AddonError(f"{path}: the keep rule ({names}) is out of range: {error}") from error
