"""Loads a model with its add-on and its processor, and checks that they compute what they should."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import snapshot_download

import glimpseprune as gp
from glimpseprune import golden
from pipeline.answering.checkpoints import is_local, resolve_addon, resolve_model
from pipeline.answering.quiet_loading import quiet_loading
from pipeline.errors import ModelError
from pipeline.families.base import ModelInput
from pipeline.families.registry import family_and_type


def load_model(
    model: str,
    glimpse: str | None,
    device: str,
    dtype: str,
    attn: str,
    revision: str | None,
    glimpse_revision: str | None,
) -> tuple[gp.GlimpseModel, ModelInput]:
    """Load model, add-on and processor by name; the arguments are those of ``PageAnswerer.load``.

    Args:
        model: ``nano``, a folder or a hub id.
        glimpse: add-on, named in the same way; ``None`` loads none.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        dtype: data type.
        attn: attention of the vision tower.
        revision: branch, tag or commit of a model of the hub.
        glimpse_revision: the same of an add-on.

    Raises:
        ModelError: a file is missing or cannot be read, the add-on does not fit the model, or the installed libraries
            compute other numbers than they should.
        UsageError: a name is neither ``nano``, nor a folder, nor a hub id that can be reached.
    """
    folder = resolve_model(model, revision)
    addon = None if glimpse is None else resolve_addon(glimpse, glimpse_revision)
    try:
        whole = folder if is_local(model) else Path(snapshot_download(model, revision=revision))
        family, model_type = family_and_type(whole)
        with quiet_loading():
            loaded = gp.load(whole, glimpse=addon, device=device, dtype=dtype, attn_implementation=attn)
            processor = family.load_input(whole)
            golden.check(str(loaded.backbone.device), loaded.backbone.dtype, attn, model_type)
    except (gp.GlimpseError, OSError, ValueError, RuntimeError) as error:
        raise ModelError(f"{model} cannot be loaded: {error}") from error
    return loaded, processor
