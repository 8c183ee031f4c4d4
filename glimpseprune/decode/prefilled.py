"""Defines the result of prefill, from which decode goes on."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from glimpseprune.decode.cache import PrefillCache
from glimpseprune.decode.log_step import LogPage


@dataclass(slots=True)
class Prefilled:
    """Holds one sequence that is ready for decode.

    Attributes:
        cache: keys and values of the kept prompt tokens, in every layer.
        logits: logits ``[vocab]`` of the first answer token, float32.
        next_position: rotary position of the first answer token, counted from the unpruned prompt.
        scores: importance logits ``[N]`` over all images of the prompt; ``None`` if nothing was scored.
        keep: mask of the visual tokens that stay, bool ``[N]``.
        floor_hit: true if the rule's floor decided in some image.
        cap_hit: true if the rule's cap decided in some image.
        page: questions of the page with which it decodes, if it shares a cache with them, and its place among them; its
            own cache is empty then.
        continuations: log-probability of each continuation that was asked for, ``[C]``; ``None`` for none.
    """

    cache: PrefillCache
    logits: Tensor
    next_position: int
    scores: Tensor | None
    keep: Tensor
    floor_hit: bool = False
    cap_hit: bool = False
    page: tuple[LogPage, int] | None = None
    continuations: Tensor | None = None
