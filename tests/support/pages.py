"""Questions about one page in the shape of ``gp.generate``'s output, so that the two can be compared field by field."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

import glimpseprune as gp
from glimpseprune.generation import Keep
from tests.support.batches import item


def split_prompts(model: gp.GlimpseModel, prompts: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """What all prompts begin with, up to behind the image, and what is left of each."""
    end = int((prompts[0] == model.backbone.image_token_id).nonzero()[-1]) + 1
    return prompts[0][:end], [prompt[end:] for prompt in prompts]


def questions_about_one_page(lengths: Sequence[int]) -> tuple[list[Tensor], Tensor, tuple[int, int]]:
    """Prompts whose texts have these lengths behind a page of 8 x 12 visual tokens, its pixels and its grid."""
    first = item([(8, 12)], 0, 0)
    generator = torch.Generator().manual_seed(7)
    prompts = []
    for number, length in enumerate(lengths):
        more = torch.randint(0, 200, (length,), generator=generator)
        more[0] = 201 + number  # so that they differ from the first token on
        prompts.append(torch.cat([first["input_ids"][0], more]))
    grid = (int(first["image_grid_thw"][0, 1]), int(first["image_grid_thw"][0, 2]))
    return prompts, first["pixel_values"], grid


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
