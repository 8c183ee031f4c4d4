"""Chooses tokens by greedy search, as the stock model does, and notices the end of a sequence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from glimpseprune.decode.constraint import TokenConstraint, allowed_tokens
from glimpseprune.errors import GlimpseError


@dataclass(slots=True)
class Decoded:
    """Holds the new tokens of one sequence.

    Attributes:
        tokens: new tokens in order.
        logprobs: log-probability of each token.
        margins: log-probability of each token less that of the likeliest other one; negative where the repetition
            penalty decided.
        decode_ms: share of the wall time of decoding, in milliseconds.
        replaced: number of tokens that a constraint put in the place of the best one.
    """

    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    margins: list[float] = field(default_factory=list)
    decode_ms: float = 0.0
    replaced: int = 0


@dataclass(slots=True)
class Row:
    """Tracks a sequence during decode.

    Attributes:
        prompt: token ids ``[T]`` of the unpruned prompt, for the repetition penalty.
        limit: largest number of new tokens.
        next_position: rotary position of the first new token.
        constraint: limits of its tokens; ``None`` for none.
        result: new tokens so far.
    """

    prompt: Tensor
    limit: int
    next_position: int
    constraint: TokenConstraint | None = None
    result: Decoded = field(default_factory=Decoded)

    @property
    def position(self) -> int:
        """Rotary position of the last new token."""
        return self.next_position + len(self.result.tokens) - 1


@dataclass(frozen=True, slots=True)
class Choice:
    """Holds the next tokens of B sequences as the model prefers them, on its device.

    Attributes:
        tokens: best token of each sequence, ``[B, 1]``.
        figures: what the host reads of each sequence, float64 ``[B, 3]``: the token, its log-probability, and that of
            the likeliest other one.
        scores: logits with the repetition penalty, ``[B, vocab]``.
        logprobs: log-probability of each token without it, minus infinity for the best one, ``[B, vocab]``.
    """

    tokens: Tensor
    figures: Tensor
    scores: Tensor
    logprobs: Tensor


class Greedy:
    """Chooses tokens under a checkpoint's generation config.

    Args:
        eos_token_ids: tokens that end a sequence and count as its last token.
        repetition_penalty: divisor or factor for the logits of earlier tokens; 1 changes nothing.

    Raises:
        GlimpseError: the penalty is not positive.
    """

    def __init__(self, eos_token_ids: frozenset[int], repetition_penalty: float) -> None:
        if repetition_penalty <= 0:
            raise GlimpseError(
                f"expected a positive repetition_penalty, found {repetition_penalty}; change the checkpoint's "
                "generation_config.json, or the penalty of the model"
            )
        self.eos_token_ids = eos_token_ids
        self.penalty = repetition_penalty

    def seen(self, rows: Sequence[Row], vocabulary: int) -> Tensor | None:
        """Mark the tokens of each sequence so far, prompt included, bool ``[B, vocab]``; ``None`` without a penalty."""
        if self.penalty == 1.0:
            return None
        marks = torch.zeros(len(rows), vocabulary, dtype=torch.bool, device=rows[0].prompt.device)
        for mark, row in zip(marks, rows, strict=True):
            mark[row.prompt] = True
            mark[row.result.tokens] = True
        return marks

    def choose(self, logits: Tensor, seen: Tensor | None) -> Choice:
        """Choose the best next token of each sequence. The host does not wait, and no sequence changes yet.

        Args:
            logits: logits ``[B, vocab]``.
            seen: marks of the tokens of each sequence, as of :meth:`seen`, bool ``[B, vocab]``.
        """
        scores = self._scores(logits, seen)
        tokens = scores.argmax(dim=-1, keepdim=True)
        logprobs = logits.log_softmax(dim=-1)
        return Choice(tokens, _figures(logprobs, tokens), scores, logprobs)

    def take(self, rows: Sequence[Row], choice: Choice, figures: Sequence[Tensor]) -> bool:
        """Append the tokens of one step or of several to their sequences, each up to its end.

        The host waits for the device once, or twice where a constraint refuses a token. The best token of all is nearly
        always allowed, so masks are made only for the sequences of which it is not. A log-probability is the model's
        own, whatever a constraint leaves of the other tokens.

        Args:
            rows: B sequences.
            choice: choice of the last step, which may have spare rows behind them.
            figures: figures of each step, of the same rows; of a single one, if a sequence has a constraint.

        Returns:
            Whether every sequence goes on with the token that was chosen; otherwise a constraint refused it.

        Raises:
            GlimpseError: a constraint refuses every token.
        """
        steps = [figures[0].tolist()] if len(figures) == 1 else torch.stack(list(figures)).tolist()
        refused = [
            (place, row.constraint)
            for place, row in enumerate(rows)
            if row.constraint is not None and not self.over(row) and not row.constraint.take(int(steps[0][place][0]))
        ]
        if refused:
            allowed = _best_allowed(choice, refused)
            for (place, constraint), found in zip(refused, allowed, strict=True):
                rows[place].result.replaced += 1
                if not constraint.take(int(found[0])):
                    raise GlimpseError(
                        f"expected token {int(found[0])} to be allowed, as its mask says; correct the constraint"
                    )
                steps[0][place] = found
        for step in steps:
            for row, (token, logprob, other) in zip(rows, step, strict=False):
                if not self.over(row):
                    row.result.tokens.append(int(token))
                    row.result.logprobs.append(logprob)
                    row.result.margins.append(logprob - other)
        return not refused

    def over(self, row: Row) -> bool:
        """Tell whether a sequence has ended."""
        tokens = row.result.tokens
        return len(tokens) >= row.limit or (bool(tokens) and tokens[-1] in self.eos_token_ids)

    def _scores(self, logits: Tensor, seen: Tensor | None) -> Tensor:
        if seen is None:
            return logits
        # Positive logits are divided and others multiplied, as in transformers. A penalty over 1 lowers both.
        choose = torch.minimum if self.penalty > 1.0 else torch.maximum
        changed = logits * self.penalty
        choose(changed, logits / self.penalty, out=changed)  # in place, since logits of many rows are large
        return torch.where(seen, changed, logits)


def _figures(logprobs: Tensor, tokens: Tensor) -> Tensor:
    """Collect what the host reads of tokens ``[B, 1]``; their places in ``logprobs`` are overwritten."""
    chosen = logprobs.gather(1, tokens)
    # Not the two largest of topk, which sorts, and chooses another token than argmax where two are equal.
    others = logprobs.scatter_(1, tokens, float("-inf")).amax(dim=-1, keepdim=True)
    # In double precision, which holds all of them exactly.
    return torch.cat([tokens, torch.cat([chosen, others], dim=1).double()], dim=1)


def _best_allowed(choice: Choice, refused: Sequence[tuple[int, TokenConstraint]]) -> list[list[float]]:
    """Return the figures of the best token that each constraint allows, for the sequences at these places."""
    places = torch.tensor([place for place, _ in refused], device=choice.scores.device)
    allowed = allowed_tokens([constraint for _, constraint in refused], choice.scores)
    tokens = choice.scores[places].masked_fill_(~allowed, float("-inf")).argmax(dim=-1, keepdim=True)
    best = choice.figures[places, 1:2].to(choice.logprobs.dtype)
    logprobs = choice.logprobs[places].scatter_(1, choice.tokens[places], best)
    found: list[list[float]] = _figures(logprobs, tokens).tolist()
    return found
