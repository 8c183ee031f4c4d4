"""Prefills a prompt whose visual tokens are reduced before the language model: no layer sees the others."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from glimpseprune.decode.prefilled import Prefilled
from glimpseprune.families.base import Backbone, EncodedImage, Prompt
from glimpseprune.methods.early import EarlyMethod
from glimpseprune.prefill.alone import prefill_full
from glimpseprune.prefill.visible import drop_from_prompt
from glimpseprune.received_attention import ReceivedAttention


def reduced_prompt(
    backbone: Backbone,
    method: EarlyMethod,
    prompt: Prompt,
    image: EncodedImage,
    tower: ReceivedAttention | None,
    count: int,
) -> tuple[Prompt, EncodedImage, Tensor]:
    """Make the prompt with ``count`` of its visual tokens, at their rotary positions.

    Args:
        backbone: backbone of the model.
        method: what reduces the tokens.
        prompt: prompt with one image, and text behind it.
        image: the image after the vision tower.
        tower: attention that its tokens receive in the tower; ``None`` unless the method reads it.
        count: number of visual tokens to keep, in 1..N.

    Returns:
        The prompt and the image without the other tokens, and the mask of those that are left, bool ``[N]``.
    """
    (slots,) = prompt.image_slots
    question = backbone.embed_tokens(prompt.input_ids[None, int(slots[-1]) + 1 :])[0]
    reduced = method.reduce(image.tokens, tower, question, count)
    keep = torch.zeros(len(image.tokens), dtype=torch.bool, device=image.tokens.device)
    keep[reduced.places] = True
    deep = tuple(summand[reduced.places] for summand in image.deep)
    return drop_from_prompt(prompt, keep), replace(image, tokens=reduced.tokens, features=(), deep=deep), keep


def prefill_early(
    backbone: Backbone,
    method: EarlyMethod,
    prompt: Prompt,
    image: EncodedImage,
    tower: ReceivedAttention | None,
    count: int,
) -> Prefilled:
    """Prefill one prompt about one image with ``count`` of its visual tokens; see :func:`reduced_prompt`."""
    shorter, some, keep = reduced_prompt(backbone, method, prompt, image, tower, count)
    sequence = prefill_full(backbone, shorter, [some])
    sequence.keep, sequence.scores = keep, torch.where(keep, 1.0, -1.0)  # such a method chooses and scores nothing
    return sequence
