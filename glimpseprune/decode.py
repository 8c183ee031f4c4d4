"""Greedy decoding of several prefilled sequences of any lengths, side by side, each on its own compact cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import RepetitionPenaltyLogitsProcessor

from glimpseprune.backbone import Backbone
from glimpseprune.cache import DecodeCache
from glimpseprune.prefill import Prefilled
from glimpseprune.stats import now_ms


@dataclass(slots=True)
class Decoded:
    """New tokens of one sequence, the log-probability of each, and its share of the wall time in milliseconds."""

    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    decode_ms: float = 0.0


class _Chooser:
    """Picks the next token as the stock model's greedy search does, under its generation config."""

    def __init__(self, prompts: Sequence[Tensor], penalty: float) -> None:
        self.history = list(prompts)  # [T_b] each, the unpruned prompt and what was generated
        self.penalty = RepetitionPenaltyLogitsProcessor(penalty) if penalty != 1.0 else None

    def choose(self, logits: Tensor, items: Sequence[int]) -> tuple[list[int], list[float]]:
        """Token and log-probability for each of the items, from logits ``[len(items), vocab]``."""
        scores = logits
        if self.penalty is not None:
            scores = torch.cat(
                [self.penalty(self.history[i][None], row[None]) for i, row in zip(items, logits, strict=True)]
            )
        tokens = scores.argmax(dim=-1)
        logprobs = logits.log_softmax(dim=-1).gather(1, tokens[:, None])[:, 0]
        if self.penalty is not None:
            for i, token in zip(items, tokens, strict=True):
                self.history[i] = torch.cat([self.history[i], token[None]])
        return tokens.tolist(), logprobs.tolist()


def decode(
    backbone: Backbone,
    sequences: Sequence[Prefilled],
    prompts: Sequence[Tensor],
    max_new_tokens: Sequence[int],
    eos_token_ids: frozenset[int],
    repetition_penalty: float = 1.0,
) -> list[Decoded]:
    """Generate greedily until end of sequence or the limit, which is set for each sequence by itself.

    Args:
        backbone: the model.
        sequences: what prefill gave; their caches are used up.
        prompts: the unpruned token ids ``[T_b]`` of each sequence, for the repetition penalty.
        max_new_tokens: at least 1 for each sequence.
        eos_token_ids: tokens that end a sequence; the one that did is part of the result.
        repetition_penalty: as in the model's generation config; 1 changes nothing.
    """
    results = [Decoded() for _ in sequences]
    active = list(range(len(sequences)))
    chooser = _Chooser(prompts, repetition_penalty)
    logits = torch.stack([sequence.logits for sequence in sequences])
    cache: DecodeCache | None = None
    started = now_ms(backbone.device)
    while True:
        tokens, logprobs = chooser.choose(logits, active)
        for item, token, logprob in zip(active, tokens, logprobs, strict=True):
            results[item].tokens.append(token)
            results[item].logprobs.append(logprob)
        share = (now_ms(backbone.device) - started) / len(active)
        started += share * len(active)
        for item in active:
            results[item].decode_ms += share

        going = [
            row
            for row, (item, token) in enumerate(zip(active, tokens, strict=True))
            if token not in eos_token_ids and len(results[item].tokens) < max_new_tokens[item]
        ]
        if not going:
            return results
        if cache is None:
            longest = max(max_new_tokens[active[row]] for row in going)
            cache = DecodeCache([sequences[active[row]].cache for row in going], longest - 1)
        elif len(going) < len(active):
            cache.drop(torch.tensor(going, device=backbone.device))
        active = [active[row] for row in going]
        last = torch.tensor([tokens[row] for row in going], device=backbone.device)
        positions = torch.tensor(
            [sequences[item].next_position + len(results[item].tokens) - 1 for item in active], device=backbone.device
        )
        logits = _step(backbone, last, positions, cache)


def _step(backbone: Backbone, tokens: Tensor, positions: Tensor, cache: DecodeCache) -> Tensor:
    """One token for every sequence: ``[B]`` tokens at rotary positions ``[B]`` -> ``[B, vocab]``."""
    hidden = backbone.embed_tokens(tokens[:, None])  # [B, 1, D]
    rotary = backbone.rotary(positions[None, :, None].expand(backbone.rotary_axes, -1, -1))
    filled = cache.filled()
    for layer in range(backbone.num_layers):
        hidden = backbone.run_layer(layer, hidden, rotary, cache, filled)
    cache.advance()
    return backbone.logits(hidden[:, -1])
