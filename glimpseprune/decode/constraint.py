"""Limits the tokens that a sequence may go on with; what the limits stand for is up to the caller."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor


class TokenConstraint(Protocol):
    """Knows which tokens may come next in one sequence."""

    def allowed(self) -> bytes:
        """Return one bit per token of the vocabulary, the lowest of the first byte for token 0; 1 allows a token.

        The tokens that end a sequence are allowed where it may end. At least one token is allowed.
        """

    def take(self, token: int) -> bool:
        """Go on behind a token, and tell whether it is allowed; where it is not, nothing changes."""


BeginConstraint = Callable[[], TokenConstraint]
"""Makes the constraint of a sequence without tokens. A prefill that is repeated calls it again."""


def allowed_tokens(constraints: Sequence[TokenConstraint], logits: Tensor) -> Tensor:
    """Return which tokens may come next in each of R sequences, bool ``[R, vocab]``, on the device of the logits.

    Args:
        constraints: constraints of the R sequences.
        logits: logits ``[B, vocab]``.
    """
    packed = bytearray(b"".join(one.allowed() for one in constraints))
    octets = torch.frombuffer(packed, dtype=torch.uint8).view(len(constraints), -1).to(logits.device)
    places = torch.arange(8, dtype=torch.uint8, device=logits.device)
    bits = octets[:, :, None].bitwise_right_shift(places).bitwise_and_(1)  # [R, vocab / 8, 8]
    return bits.view(len(constraints), -1)[:, : logits.shape[1]].bool()
