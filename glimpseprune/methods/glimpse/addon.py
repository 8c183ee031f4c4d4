"""Reads add-ons in the published form and in our own, and writes our own."""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers.activations import ACT2FN

from glimpseprune.errors import AddonError
from glimpseprune.methods.glimpse.addon_config import AddonConfig
from glimpseprune.methods.glimpse.addon_file import OWN_CONFIG, OWN_WEIGHTS, PUBLISHED_WEIGHTS, read_addon_config
from glimpseprune.methods.glimpse.module import Glimpse

# On damaged bytes, torch's restricted unpickler raises whatever error it happens to run into.
_UNREADABLE = (
    SafetensorError,
    pickle.UnpicklingError,
    struct.error,
    RuntimeError,
    EOFError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
)


def load_addon(folder: Path, config: AddonConfig | None = None) -> Glimpse:
    """Read an add-on from a local folder, in float32 on the CPU.

    Args:
        folder: local folder with ``config.json`` and ``new_modules_gp.pt`` (published), or ``glimpse.json`` and
            ``glimpse.safetensors`` (our own).
        config: result of :func:`read_addon_config` for this folder; ``None`` reads it.

    Raises:
        AddonError: a file is missing or unreadable, or a tensor is missing, unknown or of another shape; the message
            names it.
    """
    config = read_addon_config(folder) if config is None else config
    if config.attn_fuse_hidden_act not in ACT2FN:
        raise AddonError(
            f"{folder}: attn_fuse_hidden_act is {config.attn_fuse_hidden_act!r}; expected an activation of "
            "transformers, such as 'silu'. Correct the configuration, or install a release that has it"
        )
    own = (folder / OWN_CONFIG).is_file()
    path = folder / (OWN_WEIGHTS if own else PUBLISHED_WEIGHTS)
    if not path.is_file():
        raise AddonError(
            f"{folder}: expected {path.name} beside the add-on's configuration, found no such file; copy or download "
            "it too"
        )
    try:
        state = load_file(path) if own else _flatten(torch.load(path, map_location="cpu", weights_only=True), path)
    except _UNREADABLE as error:
        raise AddonError(
            f"{path} cannot be read as weights: {error}. Expected a complete "
            f"{'safetensors file' if own else 'file of torch.save with tensors only'}; copy or download it again"
        ) from error
    glimpse = Glimpse(config).requires_grad_(False).eval()
    _check_state(state, glimpse.state_dict(), path)
    glimpse.load_state_dict(state)
    return glimpse


def save_addon(glimpse: Glimpse, folder: str | Path) -> None:
    """Write an add-on in our own form.

    Args:
        glimpse: the add-on.
        folder: folder for ``glimpse.json`` and ``glimpse.safetensors``, made if it does not exist.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: t.detach().contiguous().cpu() for name, t in glimpse.state_dict().items()}, folder / OWN_WEIGHTS)
    (folder / OWN_CONFIG).write_text(json.dumps(glimpse.config.to_json(), indent=2) + "\n", encoding="utf-8")


def _flatten(raw: object, path: Path) -> dict[str, Tensor]:
    """Flatten the published weights, where a module name leads to a state dict or a single tensor."""
    if not isinstance(raw, Mapping):
        raise AddonError(
            f"{path}: expected a dict of modules, found {type(raw).__name__}; take the {path.name} of an add-on"
        )
    flat: dict[str, Tensor] = {}
    for module, value in raw.items():
        entries = {f"{module}.{key}": t for key, t in value.items()} if isinstance(value, Mapping) else {module: value}
        for key, tensor in entries.items():
            if not isinstance(tensor, Tensor):
                raise AddonError(
                    f"{path}: expected a tensor for {key}, found {type(tensor).__name__}; take the {path.name} of an "
                    "add-on"
                )
            flat[key] = tensor.detach()
    return flat


def _check_state(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: Path) -> None:
    """Check that weights have the names and shapes that the configuration asks for."""
    advice = "take weights and configuration from the same add-on"
    for key, tensor in expected.items():
        if key not in found:
            raise AddonError(f"{path}: {key} is missing; the configuration asks for it, so {advice}")
        if found[key].shape != tensor.shape:
            raise AddonError(
                f"{path}: {key} has shape {tuple(found[key].shape)}; the configuration asks for {tuple(tensor.shape)}, "
                f"so {advice}"
            )
    unknown = sorted(found.keys() - expected.keys())
    if unknown:
        raise AddonError(
            f"{path}: {unknown[0]} is in the weights but not in the add-on that the configuration describes; {advice}"
        )
