"""From a page and a prompt to what the model takes: the checkpoint's own image processor, tokenizer and chat template.

The pieces are loaded one by one instead of through ``AutoProcessor``, which insists on a video processor and so on
torchvision; what they make is the same.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import AutoConfig, AutoTokenizer
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from pipeline.errors import ModelError
from pipeline.records import Image


class Processor:
    """Image processor, tokenizer and chat template of one checkpoint folder.

    Args:
        folder: a local checkpoint folder.

    Raises:
        ModelError: the folder has no chat template, or its tokenizer does not know the image token.
    """

    def __init__(self, folder: Path) -> None:
        self.images = Qwen2VLImageProcessorPil.from_pretrained(folder)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.template = _chat_template(folder) or self.tokenizer.chat_template
        if not self.template:
            raise ModelError(f"{folder} has no chat template; docpipe needs an instruction-tuned checkpoint")
        self.image_token_id = int(AutoConfig.from_pretrained(folder).image_token_id)
        self.image_token = str(self.tokenizer.convert_ids_to_tokens(self.image_token_id))

    def image(self, page: Image) -> tuple[Tensor, tuple[int, int]]:
        """Patches ``[patches, patch_dim]`` and patch grid (rows, columns) of a page image ``[height, width, 3]``."""
        out = self.images(images=[np.asarray(page)], return_tensors="pt")
        _, rows, columns = out["image_grid_thw"][0].tolist()
        pixels: Tensor = out["pixel_values"]
        return pixels, (rows, columns)

    def prompt(self, text: str, grid: tuple[int, int]) -> Tensor:
        """Token ids ``[T]`` of a user turn with the image before the text, up to where the answer begins.

        Raises:
            ModelError: the chat template puts another number of images than one into the prompt.
        """
        content = [{"type": "image"}, {"type": "text", "text": text}]
        rendered = self.tokenizer.apply_chat_template(
            [{"role": "user", "content": content}],
            chat_template=self.template,
            add_generation_prompt=True,
            tokenize=False,
        )
        ids = self.tokenizer(rendered, add_special_tokens=False)["input_ids"]
        if ids.count(self.image_token_id) != 1:
            raise ModelError(
                f"the chat template makes {ids.count(self.image_token_id)} image tokens for one image; expected 1"
            )
        at = ids.index(self.image_token_id)
        visual = grid[0] * grid[1] // self.images.merge_size**2
        return torch.tensor([*ids[:at], *[self.image_token_id] * visual, *ids[at + 1 :]])

    def answer(self, text: str, ends: Collection[int]) -> Tensor:
        """Token ids ``[A]`` of an answer as the model would write it, ended by one of ``ends``."""
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        end = self.tokenizer.eos_token_id if self.tokenizer.eos_token_id in ends else min(ends)
        return torch.tensor([*ids, end])

    def text(self, tokens: Tensor) -> str:
        """The text of generated tokens, without special tokens and outer white space."""
        decoded: str = self.tokenizer.decode(tokens.tolist(), skip_special_tokens=True)
        return decoded.strip()

    @property
    def merge_size(self) -> int:
        """Patches along one side of a visual token."""
        return int(self.images.merge_size)


def _chat_template(folder: Path) -> str | None:
    """The template that checkpoints of older releases keep beside the processor instead of in the tokenizer."""
    path = folder / "chat_template.json"
    if not path.is_file():
        return None
    template = json.loads(path.read_text(encoding="utf-8")).get("chat_template")
    return template if isinstance(template, str) else None
