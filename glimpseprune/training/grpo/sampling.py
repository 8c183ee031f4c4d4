"""Samples answers from the model on the pruned cache, several to each question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from glimpseprune.decode.cache import PrefillCache
from glimpseprune.decode.pool_cache import PoolCache
from glimpseprune.families.base import Backbone, EncodedImage, Prompt, run_layers
from glimpseprune.methods.base import Method
from glimpseprune.prefill.alone import prefill_pruned


@dataclass(frozen=True, slots=True)
class SeenPrompt:
    """Holds a question as the model sees it.

    Attributes:
        prompt: image and question, without tokens that are not visible.
        images: images of the prompt after the vision tower.
        visual_tokens: number of visual tokens of its images, those that are not visible included.
    """

    prompt: Prompt
    images: Sequence[EncodedImage]
    visual_tokens: int


@dataclass(frozen=True, slots=True)
class AnswerGroup:
    """Holds G answers to one question, sampled behind the same survivors.

    Attributes:
        asked: the question.
        keep: mask of the visible tokens that survived, bool ``[N]``.
        tokens: tokens of each answer, ``[G, A]``; behind the end of an answer they mean nothing.
        written: mask of the tokens up to the end of each answer, the end-of-sequence token included, bool ``[G, A]``.
        logprobs: log-probability of each token when it was sampled, float32 ``[G, A]``.
    """

    asked: SeenPrompt
    keep: Tensor
    tokens: Tensor
    written: Tensor
    logprobs: Tensor

    @property
    def pruning_rate(self) -> float:
        """Share of the visual tokens that were dropped, in 0..1."""
        return 1.0 - int(self.keep.sum()) / self.asked.visual_tokens

    def answers(self) -> list[Tensor]:
        """Return the tokens ``[A_g]`` of each answer."""
        return [row[written] for row, written in zip(self.tokens, self.written, strict=True)]


@torch.no_grad()
def sample_groups(
    backbone: Backbone,
    method: Method,
    asked: Sequence[SeenPrompt],
    size: int,
    max_new_tokens: int,
    ends: frozenset[int],
    generator: torch.Generator,
) -> list[AnswerGroup]:
    """Sample answers to all questions side by side, at temperature 1 and without a repetition penalty.

    Args:
        backbone: backbone of the model.
        method: pruning method, whose own rule selects.
        asked: the questions.
        size: number of answers per question, G.
        max_new_tokens: longest answer.
        ends: tokens that end an answer.
        generator: source of randomness on the model's device.
    """
    cache, keeps, first, positions = PoolCache(), [], [], []
    for one in asked:
        prefilled = prefill_pruned(backbone, method, one.prompt, one.images, method.rule)
        for _ in range(size):
            cache.add(_same(prefilled.cache), max_new_tokens)
        keeps.append(prefilled.keep)
        first.append(prefilled.logits.expand(size, -1))
        positions += [prefilled.next_position] * size
    logits, places = torch.cat(first), torch.tensor(positions, device=backbone.device)[:, None]
    last = torch.tensor(sorted(ends), device=backbone.device)
    tokens: list[Tensor] = []
    logprobs: list[Tensor] = []
    written: list[Tensor] = []
    over = torch.zeros(len(logits), dtype=torch.bool, device=backbone.device)
    while len(tokens) < max_new_tokens and not bool(over.all()):
        if tokens:
            logits = _step(backbone, cache, tokens[-1], places + len(tokens) - 1)
        each = logits.log_softmax(dim=-1)
        tokens.append(torch.multinomial(each.exp(), 1, generator=generator))  # [questions * G, 1]
        logprobs.append(each.gather(1, tokens[-1]))
        written.append(~over[:, None])
        over = over | torch.isin(tokens[-1][:, 0], last)
    rows = (torch.split(torch.cat(columns, dim=1), size) for columns in (tokens, written, logprobs))
    return [AnswerGroup(*group) for group in zip(asked, keeps, *rows, strict=True)]


def _step(backbone: Backbone, cache: PoolCache, tokens: Tensor, places: Tensor) -> Tensor:
    """Run one token of every row ``[R, 1]`` at its rotary position ``[R, 1]``; return the logits ``[R, vocab]``."""
    cache.look(torch.tensor(cache.lengths, device=tokens.device), cache.needed_slots)
    hidden = backbone.embed_tokens(tokens)
    rotary = backbone.rotary(places.expand(backbone.rotary_axes, -1, -1))
    bias = None if cache.equal else cache.bias(hidden)
    hidden = run_layers(backbone, range(backbone.num_layers), hidden, rotary, cache, bias=bias)
    cache.advance()
    return backbone.logits(hidden[:, -1])


def _same(cache: PrefillCache) -> PrefillCache:
    """Return a cache that shares its tensors with another one, since a pool takes them out of the one it is given."""
    same = PrefillCache()
    same.keys, same.values = list(cache.keys), list(cache.values)
    return same
