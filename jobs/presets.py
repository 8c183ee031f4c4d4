"""Defines presets: flags that belong together under one name. A flag that is given goes before its value here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

PresetName = Literal["published"]

PRESETS: Mapping[str, Mapping[str, Any]] = {
    # The evaluation of arXiv 2508.01548 on documents; docs/reproduce.md says where each value is from.
    "published": {
        "max_visual_tokens": 2048,
        "repetition_penalty": 1.0,
        "prompt": "{text}",
        "max_new_tokens": 1024,
    },
}
MAX_RATIOS: Mapping[PresetName, float] = {"published": 0.111}
"""Cap of each preset, for add-ons that set none."""


def with_preset(given: Any) -> Any:
    """Fill in the flags of a preset that were not given.

    Args:
        given: flags by name, with underscores; anything else is returned as it is.
    """
    preset = given.get("preset") if isinstance(given, Mapping) else None
    return {**PRESETS.get(preset, {}), **given} if isinstance(preset, str) else given
