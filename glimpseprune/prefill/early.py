"""Prefills a prompt whose visual tokens are reduced before the language model: no layer sees the others."""

from __future__ import annotations

from dataclasses import replace

import torch

from glimpseprune.decode.prefilled import Prefilled
from glimpseprune.families.base import Backbone, EncodedImage, Prompt
from glimpseprune.methods.early import EarlyMethod
from glimpseprune.prefill.alone import prefill_full
from glimpseprune.prefill.visible import drop_from_prompt
from glimpseprune.received_attention import ReceivedAttention


def prefill_early(
    backbone: Backbone,
    method: EarlyMethod,
    prompt: Prompt,
    image: EncodedImage,
    tower: ReceivedAttention | None,
    count: int,
) -> Prefilled:
    """Prefill one prompt about one image with ``count`` of its visual tokens, at their rotary positions.

    Args:
        backbone: backbone of the model.
        method: what reduces the tokens.
        prompt: prompt with one image, and text behind it.
        image: the image after the vision tower.
        tower: attention that its tokens receive in the tower; ``None`` unless the method reads it.
        count: number of visual tokens to keep, in 1..N.
    """
    (slots,) = prompt.image_slots
    question = backbone.embed_tokens(prompt.input_ids[None, int(slots[-1]) + 1 :])[0]
    reduced = method.reduce(image.tokens, tower, question, count)
    keep = torch.zeros(len(image.tokens), dtype=torch.bool, device=image.tokens.device)
    keep[reduced.places] = True
    deep = tuple(summand[reduced.places] for summand in image.deep)
    some = replace(image, tokens=reduced.tokens, features=(), deep=deep)
    sequence = prefill_full(backbone, drop_from_prompt(prompt, keep), [some])
    sequence.keep, sequence.scores = keep, torch.where(keep, 1.0, -1.0)  # such a method chooses and scores nothing
    return sequence
