"""Lets the questions of several pages run in one step, each page with its own cache.

Products with weights take all rows at once, which takes little longer than those of one page. Attention stays within a
page, so that no row looks at what belongs to another.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from glimpseprune.decode.log_cache import LogCache
from glimpseprune.families.base import CacheGroup


class LogGroup:
    """Prepares several logs for their next tokens.

    Args:
        parts: logs, each with the number of its rows that take part, at least one; rows stand in this order.

    Attributes:
        capacity: largest number of tokens in all logs.
    """

    def __init__(self, parts: Sequence[tuple[LogCache, int]]) -> None:
        self.logs = [log for log, _ in parts]
        self.counts = [count for _, count in parts]
        self.capacity = sum(log.capacity for log in self.logs)

    def look(self, slots: Tensor, whole: bool) -> None:
        """Say where the next tokens go.

        Args:
            slots: slots ``[R]`` of the next tokens, read at every ``append``.
            whole: true to look at all slots of each log, false at those that hold a token by then.
        """
        for log, count, part in zip(self.logs, self.counts, torch.split(slots, self.counts), strict=True):
            log.look(part, log.capacity if whole else log.end + count)

    def group(self, whose: Tensor, like: Tensor) -> CacheGroup:
        """Return the caches with the biases of the next tokens, which go where :meth:`look` says.

        Args:
            whose: question of each row within its page, ``[R]``.
            like: tensor of the biases' type.
        """
        parts = torch.split(whose, self.counts)
        biases = [log.bias(part, like) for log, part in zip(self.logs, parts, strict=True)]
        return CacheGroup(self.logs, self.counts, biases)

    def advance(self, steps: int) -> None:
        """Make the tokens of some steps a lasting part of the logs."""
        for log, count in zip(self.logs, self.counts, strict=True):
            log.advance(steps * count)
