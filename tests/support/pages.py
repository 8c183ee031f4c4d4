"""Questions about one page in the shape of ``gp.generate``'s output, so that the two can be compared field by field."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

import glimpseprune as gp
from glimpseprune.generation import Keep


def split_prompts(model: gp.GlimpseModel, prompts: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """What all prompts begin with, up to behind the image, and what is left of each."""
    end = int((prompts[0] == model.backbone.image_token_id).nonzero()[-1]) + 1
    return prompts[0][:end], [prompt[end:] for prompt in prompts]


def ask_page(
    model: gp.GlimpseModel,
    prompts: Sequence[Tensor],
    pixels: Tensor,
    grid: tuple[int, int],
    rule: Keep | Sequence[Keep] = None,
    max_new_tokens: int | Sequence[int] = 32,
    visible: Tensor | None = None,
) -> gp.Output:
    """Encode the page and ask all questions at once."""
    prefix, tails = split_prompts(model, prompts)
    answers = gp.encode_page(model, prefix, pixels, grid, visible).ask(tails, rule, max_new_tokens)
    return gp.Output(
        sequences=[torch.tensor(answer.tokens) for answer in answers],
        logprobs=[torch.tensor(answer.logprobs) for answer in answers],
        scores=[answer.scores for answer in answers],
        keep=[answer.keep for answer in answers],
        first_logits=torch.stack([answer.first_logits for answer in answers]),
        stats=[answer.stats for answer in answers],
    )
