"""Loads a stock checkpoint, with or without an add-on, from a folder or the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError
from transformers import PretrainedConfig

from glimpseprune.errors import GlimpseError, UnsupportedModelError
from glimpseprune.families.registry import Family, find_family
from glimpseprune.families.tower_attention import SDPA, choose_attention
from glimpseprune.methods.glimpse.addon import load_addon
from glimpseprune.methods.glimpse.addon_config import new_addon_config
from glimpseprune.methods.glimpse.addon_file import (
    OWN_CONFIG,
    OWN_WEIGHTS,
    PUBLISHED_CONFIG,
    PUBLISHED_WEIGHTS,
    read_addon_config,
)
from glimpseprune.methods.glimpse.module import Glimpse
from glimpseprune.model import GlimpseModel

DTYPES = ("auto", "float32", "bfloat16", "float16")


def load(
    base: str | Path,
    glimpse: str | Path | None = None,
    device: str = "auto",
    dtype: str = "auto",
    attn_implementation: str = "auto",
    revision: str | None = None,
) -> GlimpseModel:
    """Load a base model and, if given, its add-on.

    An add-on that does not fit is refused before any weights of the base are read.

    Args:
        base: folder or hub id of a checkpoint; key names of any transformers release are understood.
        glimpse: folder or hub id of an add-on, published or our own; ``None`` for no add-on.
        device: ``auto`` (CUDA if present, else the CPU) or the name of a torch device.
        dtype: ``auto`` (float32 on the CPU, elsewhere as stored) or another of ``DTYPES``.
        attn_implementation: attention of the vision tower, as for
            :func:`~glimpseprune.families.tower_attention.choose_attention`; the language model takes SDPA.
        revision: branch, tag or commit of a base on the hub; ``None`` for its main branch.

    Raises:
        AddonError: the add-on is unreadable or does not fit the base.
        UnsupportedModelError: no family supports the base, or the add-on prunes before the base has added all visual
            features.
        GlimpseError: ``dtype`` or ``attn_implementation`` is not one of its values or does not fit the device, or the
            checkpoint is incomplete.
        OSError: the folder or hub id does not exist.
    """
    folder = _folder_or_hub(base, revision)
    family = family_of(folder)
    config = family.read_config(folder)
    module: Glimpse | None = None
    if glimpse is not None:
        addon = addon_folder(glimpse)
        addon_config = read_addon_config(addon)
        shape = family.read_shape(config)
        addon_config.check_base(shape)
        shape.check_prune_layer(addon_config.reduce_layer)
        module = load_addon(addon, addon_config)

    target = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    torch_dtype = _dtype(dtype, config, target)
    attention = choose_attention(attn_implementation, target, torch_dtype)
    model = family.load_weights(folder, torch_dtype, target, SDPA.name).requires_grad_(False).eval()
    if module is not None:
        module = module.to(device=target, dtype=torch_dtype)
    eos = model.generation_config.eos_token_id
    return GlimpseModel(
        base=model,
        backbone=family.backbone(model, attention),
        method=module,
        eos_token_ids=frozenset([] if eos is None else [eos] if isinstance(eos, int) else eos),
        repetition_penalty=float(model.generation_config.repetition_penalty or 1.0),
    )


def new_glimpse(model: GlimpseModel, reduce_layer: int | None = None) -> Glimpse:
    """Make an untrained add-on for a loaded base, in float32 on its device.

    Args:
        model: the loaded base.
        reduce_layer: number K of the prune layer; ``None`` for the published ratio, 0.65 of the depth.

    Raises:
        AddonError: ``reduce_layer`` is not a layer of the base.
    """
    return Glimpse(new_addon_config(model.backbone.shape, reduce_layer)).to(model.backbone.device)


def family_of(folder: Path) -> Family:
    """Find the family of a checkpoint by the ``model_type`` in its configuration.

    Args:
        folder: folder of a checkpoint.

    Raises:
        UnsupportedModelError: no family supports the checkpoint.
        OSError: the folder has no configuration.
    """
    fields, _ = PretrainedConfig.get_config_dict(folder)
    if "model_type" not in fields:
        raise UnsupportedModelError(
            f"{folder}: expected a model_type in config.json, found none; pass a checkpoint of transformers"
        )
    return find_family(str(fields["model_type"]))


def addon_folder(glimpse: str | Path) -> Path:
    """Find the local folder of an add-on; from the hub, download only the files of the add-on.

    Args:
        glimpse: folder or hub id of an add-on.

    Raises:
        OSError: the folder or hub id does not exist.
    """
    return _folder_or_hub(glimpse, None, [OWN_CONFIG, OWN_WEIGHTS, PUBLISHED_CONFIG, PUBLISHED_WEIGHTS])


def _folder_or_hub(name: str | Path, revision: str | None, files: list[str] | None = None) -> Path:
    """Find a folder by its path; what is none is downloaded from the hub, all of it or some files."""
    if Path(name).is_dir():
        return Path(name)
    try:
        return Path(snapshot_download(str(name), revision=revision, allow_patterns=files))
    except HFValidationError as error:
        raise FileNotFoundError(f"{name}: expected a folder or a hub id, found neither; check the spelling") from error


def _dtype(name: str, config: Any, device: torch.device) -> torch.dtype:
    if name not in DTYPES:
        raise GlimpseError(f"dtype is {name!r}; expected one of {', '.join(DTYPES)}")
    if name != "auto":
        chosen: torch.dtype = getattr(torch, name)
        return chosen
    stored = config.dtype or config.get_text_config().dtype or torch.float32
    # On a CPU, 16-bit arithmetic is slower than float32 and less exact.
    return torch.float32 if device.type == "cpu" else stored
