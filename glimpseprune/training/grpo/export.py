"""Writes a tuned model as an ordinary checkpoint folder of transformers."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch

from glimpseprune.model import GlimpseModel

_COPIED = {".json", ".jinja", ".txt", ".model"}


def save_tuned(model: GlimpseModel, source: Path, folder: Path) -> None:
    """Write a model whose LoRA weights are merged, in the layout and the type of the checkpoint that it came from.

    Args:
        model: loaded model; its weights take the type of the checkpoint.
        source: folder of that checkpoint, whose configuration, tokenizer and image processor are copied.
        folder: folder to write, made if it does not exist.
    """
    stock: Any = model.base
    stock.to(stock.config.dtype or stock.config.get_text_config().dtype or torch.float32)
    stock.save_pretrained(folder)
    for file in source.iterdir():
        # A calibration is of the weights before; an index names their files.
        if file.suffix in _COPIED and not file.name.endswith((".index.json", "calibration.json")):
            shutil.copyfile(file, folder / file.name)
