"""Chooses tokens by greedy search, as the stock model does, and notices the end of a sequence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import RepetitionPenaltyLogitsProcessor


@dataclass(slots=True)
class Decoded:
    """Holds the new tokens of one sequence.

    Attributes:
        tokens: new tokens in order.
        logprobs: log-probability of each token.
        decode_ms: share of the wall time of decoding, in milliseconds.
    """

    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    decode_ms: float = 0.0


@dataclass(slots=True)
class Row:
    """Tracks a sequence during decode.

    Attributes:
        history: tokens of the unpruned prompt and new tokens, ``[T]``, for the repetition penalty.
        limit: largest number of new tokens.
        next_position: rotary position of the first new token.
        result: new tokens so far.
    """

    history: Tensor
    limit: int
    next_position: int
    result: Decoded = field(default_factory=Decoded)

    @property
    def position(self) -> int:
        """Rotary position of the last new token."""
        return self.next_position + len(self.result.tokens) - 1


class Greedy:
    """Chooses tokens under a checkpoint's generation config.

    Args:
        eos_token_ids: tokens that end a sequence and count as its last token.
        repetition_penalty: divisor or factor for the logits of earlier tokens; 1 changes nothing.
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
