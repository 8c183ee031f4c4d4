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
class Weighed:
    """Holds the tensors by which the next tokens of B sequences are chosen.

    Attributes:
        scores: logits with the repetition penalty, ``[B, vocab]``.
        logprobs: log-probability of each token without it, ``[B, vocab]``.
    """

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

    def weigh(self, logits: Tensor, seen: Tensor | None) -> Weighed:
        """Make the large tensors that :meth:`choose` needs, for which memory may be short; no sequence changes yet.

        Args:
            logits: logits ``[B, vocab]``.
            seen: marks of the tokens of each sequence, as of :meth:`seen`, bool ``[B, vocab]``.
        """
        return Weighed(self._scores(logits, seen), logits.log_softmax(dim=-1))

    def choose(self, weighed: Weighed, rows: Sequence[Row], seen: Tensor | None) -> None:
        """Append the next token to each sequence. The host waits for the device once, or twice for a constraint.

        A log-probability is the model's own, whatever a constraint leaves of the other tokens.

        Args:
            weighed: result of :meth:`weigh`, which is used up.
            rows: the B sequences.
            seen: the marks that :meth:`weigh` had; those of the new tokens are added.

        Raises:
            GlimpseError: a constraint refuses every token.
        """
        tokens = self._best(weighed.scores, rows)
        every = weighed.logprobs
        logprobs = every.gather(1, tokens)
        # Not the two largest of topk, which sorts, and chooses another token than argmax where two are equal.
        others = every.scatter_(1, tokens, float("-inf")).amax(dim=-1, keepdim=True)
        if seen is not None:
            seen.scatter_(1, tokens, True)
        # In double precision, which holds all of them exactly.
        chosen = torch.cat([tokens, torch.cat([logprobs, others], dim=1).double()], dim=1).tolist()
        for row, (token, logprob, other) in zip(rows, chosen, strict=True):
            row.result.tokens.append(int(token))
            row.result.logprobs.append(logprob)
            row.result.margins.append(logprob - other)

    def over(self, row: Row) -> bool:
        """Tell whether a sequence has ended."""
        return row.result.tokens[-1] in self.eos_token_ids or len(row.result.tokens) >= row.limit

    def _best(self, scores: Tensor, rows: Sequence[Row]) -> Tensor:
        """Return the best token of each sequence that its constraint allows, ``[B, 1]``.

        The best token of all is nearly always allowed, so masks are made only for the sequences of which it is not.
        """
        tokens = scores.argmax(dim=-1, keepdim=True)
        limited = [(place, row.constraint) for place, row in enumerate(rows) if row.constraint is not None]
        if not limited:
            return tokens
        best = tokens[:, 0].tolist()
        refused = [(place, constraint) for place, constraint in limited if not constraint.take(best[place])]
        if refused:
            places = torch.tensor([place for place, _ in refused], device=scores.device)
            allowed = allowed_tokens([constraint for _, constraint in refused], scores)
            better = scores[places].masked_fill_(~allowed, float("-inf")).argmax(dim=-1, keepdim=True)
            tokens[places] = better
            for (place, constraint), token in zip(refused, better[:, 0].tolist(), strict=True):
                rows[place].result.replaced += 1
                if not constraint.take(token):
                    raise GlimpseError(
                        f"expected token {token} to be allowed, as its mask says; correct the constraint"
                    )
        return tokens

    def _scores(self, logits: Tensor, seen: Tensor | None) -> Tensor:
        if seen is None:
            return logits
        # Positive logits are divided and others multiplied, as in transformers. A penalty over 1 lowers both.
        choose = torch.minimum if self.penalty > 1.0 else torch.maximum
        changed = logits * self.penalty
        choose(changed, logits / self.penalty, out=changed)  # in place, since logits of many rows are large
        return torch.where(seen, changed, logits)
