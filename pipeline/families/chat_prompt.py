"""Turns questions into prompts and tokens into text, with a checkpoint's own tokenizer and chat template.

The parts are loaded one by one and not through ``AutoProcessor``, which needs a video processor and therefore
torchvision; the results are the same.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from pathlib import Path

import llguidance.hf
import torch
from llguidance import LLTokenizer
from torch import Tensor
from transformers import AutoConfig, AutoTokenizer

from pipeline.errors import ModelError
from pipeline.families.base import read_json

_PLACE = "\ue000text\ue000"  # stands for the text in a rendered template; from the private use area
_PROMPTS = 1024  # number of different prompts that are cached; a questions file has fewer


class ChatPrompt:
    """Holds the tokenizer and the chat template of one checkpoint folder.

    Args:
        folder: local checkpoint folder.

    Attributes:
        image_token_id: the token that stands for one visual token in a prompt.

    Raises:
        ModelError: the folder has no chat template.
    """

    def __init__(self, folder: Path) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.template = _chat_template(folder) or self.tokenizer.chat_template
        if not self.template:
            raise ModelError(f"{folder} has no chat template; docpipe needs an instruction-tuned checkpoint")
        self.image_token_id = int(AutoConfig.from_pretrained(folder).image_token_id)
        added = self.tokenizer.added_tokens_decoder.items()
        self._special = {*self.tokenizer.all_special_ids, *(number for number, token in added if token.special)}
        self._around_images = lru_cache(_PROMPTS)(self._tokenize)  # a run asks the same questions on every page
        self._around_text = lru_cache(_PROMPTS)(self._split_at_text)

    def ids(self, text: str, *visual: int) -> Tensor:
        """Return token ids ``[T]`` of a user turn, images before text, up to where the answer begins.

        Args:
            text: text as the user wrote it.
            *visual: number of visual tokens of each image.

        Raises:
            ModelError: the chat template does not put every image and the text once into the prompt.
        """
        first, *others = self._around_images(text, len(visual))
        pieces = [first]
        for tokens, piece in zip(visual, others, strict=True):
            pieces += [torch.full((tokens,), self.image_token_id), piece]
        return torch.cat(pieces)

    def answer(self, text: str, ends: Collection[int]) -> Tensor:
        """Return token ids ``[A]`` of an answer as the model would write it, ended by one of ``ends``."""
        ids = self._ids(text, split_special_tokens=True)
        end = self.tokenizer.eos_token_id if self.tokenizer.eos_token_id in ends else min(ends)
        return torch.tensor([*ids, end])

    def vocabulary(self, size: int, ends: Collection[int]) -> LLTokenizer:
        """Return the bytes of every token, as the limits of typed answers need them.

        Args:
            size: number of tokens that the model has logits for.
            ends: tokens that end an answer.

        Raises:
            ModelError: the checkpoint has no fast tokenizer.
        """
        try:
            return llguidance.hf.from_tokenizer(self.tokenizer, n_vocab=size, eos_token=sorted(ends))
        except ValueError as error:
            raise ModelError(
                f"the tokens of the checkpoint cannot be listed, which the limits of typed answers need: {error}; "
                "convert its tokenizer to a fast one (tokenizer.json), or ask with constrain: false"
            ) from error

    def text(self, tokens: Tensor) -> str:
        """Return the text of generated tokens, without special tokens and outer white space."""
        decoded: str = self.tokenizer.decode(tokens.tolist(), skip_special_tokens=True)
        return decoded.strip()

    def _tokenize(self, text: str, images: int) -> list[Tensor]:
        """Return the token ids before, between and after the images, ``[T_i]`` each; every page shares them."""
        head, tail = self._around_text(images)
        ids = self._opening_ids(self._rendered(text, images))
        if self._count_special(ids) != self._count_special(head + tail):
            # Tokenized apart from the template, the user's text cannot end the turn or stand for an image.
            ids = [*head, *self._ids(text, split_special_tokens=True), *tail]
        if ids.count(self.image_token_id) != images:
            raise ModelError(
                f"the chat template makes {ids.count(self.image_token_id)} image tokens for {images} "
                f"image{'' if images == 1 else 's'}; expected {images}"
            )
        pieces: list[list[int]] = [[]]
        for number in ids:
            if number == self.image_token_id:
                pieces.append([])
            else:
                pieces[-1].append(number)
        return [torch.tensor(piece, dtype=torch.long) for piece in pieces]

    def _split_at_text(self, images: int) -> tuple[list[int], list[int]]:
        """Return the token ids that the template puts before and after any text."""
        around = self._rendered(_PLACE, images).split(_PLACE)
        if len(around) != 2:
            raise ModelError(f"the chat template writes the text {len(around) - 1} times; expected once")
        return self._opening_ids(around[0]), self._ids(around[1])

    def _rendered(self, text: str, images: int) -> str:
        """Put images and a text into the chat template, up to where the answer begins."""
        content = [{"type": "image"}] * images + [{"type": "text", "text": text}]
        rendered: str = self.tokenizer.apply_chat_template(
            [{"role": "user", "content": content}],
            chat_template=self.template,
            add_generation_prompt=True,
            tokenize=False,
        )
        return rendered

    def _opening_ids(self, text: str) -> list[int]:
        """Tokenize the beginning of a prompt; as in the stock processor, the tokenizer begins it if the text does not.

        A tokenizer with a token for the beginning of a text puts it there, unless the template wrote it.
        """
        begun = self.tokenizer.bos_token is not None and text.startswith(self.tokenizer.bos_token)
        ids: list[int] = self.tokenizer(text, add_special_tokens=not begun)["input_ids"]
        return ids

    def _ids(self, text: str, split_special_tokens: bool = False) -> list[int]:
        """Tokenize a text; with ``split_special_tokens``, names of special tokens count as plain text."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, split_special_tokens=split_special_tokens)[
            "input_ids"
        ]
        return ids

    def _count_special(self, ids: list[int]) -> int:
        return sum(number in self._special for number in ids)


def _chat_template(folder: Path) -> str | None:
    """Read the chat template of older checkpoints, which keep it beside the processor, not in the tokenizer."""
    template = read_json(folder / "chat_template.json").get("chat_template")
    return template if isinstance(template, str) else None
