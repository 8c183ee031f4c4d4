"""Greedy search as the stock model does it: the next token of each sequence, and when a sequence is over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import RepetitionPenaltyLogitsProcessor


@dataclass(slots=True)
class Decoded:
    """New tokens of one sequence, the log-probability of each, and its share of the wall time in milliseconds."""

    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    decode_ms: float = 0.0


@dataclass(slots=True)
class Row:
    """A sequence that is being decoded.

    Attributes:
        history: the unpruned prompt and what was generated, ``[T]``, for the repetition penalty.
        limit: new tokens at most.
        next_position: rotary position of its first new token.
        result: what was generated.
    """

    history: Tensor
    limit: int
    next_position: int
    result: Decoded = field(default_factory=Decoded)

    @property
    def position(self) -> int:
        """Rotary position of the last token generated."""
        return self.next_position + len(self.result.tokens) - 1


class Greedy:
    """Chooses tokens under a checkpoint's generation config.

    Args:
        eos_token_ids: tokens that end a sequence; the one that did is part of the result.
        repetition_penalty: 1 changes nothing.
    """

    def __init__(self, eos_token_ids: frozenset[int], repetition_penalty: float) -> None:
        self.eos_token_ids = eos_token_ids
        self.penalty = RepetitionPenaltyLogitsProcessor(repetition_penalty) if repetition_penalty != 1.0 else None

    def choose(self, logits: Tensor, rows: Sequence[Row]) -> None:
        """Append the next token to each sequence, from logits ``[B, vocab]``."""
        scores = logits
        if self.penalty is not None:
            pairs = zip(rows, logits, strict=True)
            scores = torch.cat([self.penalty(row.history[None], one[None]) for row, one in pairs])
        tokens = scores.argmax(dim=-1)
        logprobs = logits.log_softmax(dim=-1).gather(1, tokens[:, None])[:, 0]
        for row, token, logprob in zip(rows, tokens.tolist(), logprobs.tolist(), strict=True):
            row.result.tokens.append(token)
            row.result.logprobs.append(logprob)
            if self.penalty is not None:
                row.history = torch.cat([row.history, row.history.new_tensor([token])])

    def over(self, row: Row) -> bool:
        """Tell whether a sequence has ended."""
        return row.result.tokens[-1] in self.eos_token_ids or len(row.result.tokens) >= row.limit
