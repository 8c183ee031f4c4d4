"""Sequences that come into a pool and leave it, and a constraint that is often in their way."""

from __future__ import annotations

import random
from collections.abc import Mapping

import torch

import glimpseprune as gp
from glimpseprune.decode.constraint import BeginConstraint
from glimpseprune.decode.prefilled import Prefilled
from glimpseprune.prefill.alone import prefill_full
from tests.support.batches import item

GRIDS = [(2, 2), (4, 6), (3, 3), (2, 5), (4, 4), (2, 2), (5, 5), (3, 2), (6, 6), (2, 3)]
LIMITS = [1, 12, 3, 7, 9, 2, 12, 5, 16, 14]


class Alternately:
    """Allows even and odd tokens in turn."""

    def __init__(self) -> None:
        self.taken = 0

    def allowed(self) -> bytes:
        return bytes([0b01010101 if self.taken % 2 == 0 else 0b10101010] * 36)

    def take(self, token: int) -> bool:
        allowed = token % 2 == self.taken % 2
        self.taken += allowed
        return allowed


def new_pool(model: gp.GlimpseModel) -> gp.DecodePool:
    return gp.DecodePool(model.backbone, model.eos_token_ids, model.repetition_penalty)


def sequence(model: gp.GlimpseModel, number: int) -> tuple[Prefilled, torch.Tensor]:
    """A prefilled prompt with an image of one of the grids, and the prompt's tokens."""
    prompt = model.backbone.prompts(item([GRIDS[number]], 2 + number, number))[0]
    with torch.inference_mode():
        image = model.backbone.encode(prompt.pixels[0], prompt.grids[0], ())
        return prefill_full(model.backbone, prompt, [image]), prompt.input_ids


def come_and_go(
    model: gp.GlimpseModel, seed: int, constraints: Mapping[int, BeginConstraint]
) -> dict[int, tuple[list[int], list[float]]]:
    """Tokens and their log-probabilities of sequences that come in random order, with steps between them."""
    rng, pool = random.Random(seed), new_pool(model)
    for number in rng.sample(range(len(LIMITS)), len(LIMITS)):
        pool.add(number, *sequence(model, number), LIMITS[number], constraints.get(number))
        for _ in range(rng.randint(0, 2)):
            pool.step()
    pool.run()
    return {number: (pool.done[number].tokens, pool.done[number].logprobs) for number in range(len(LIMITS))}
