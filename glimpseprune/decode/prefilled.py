"""Holds a sequence between prefill and decoding."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from glimpseprune.decode.cache import PrefillCache
from glimpseprune.decode.greedy import Decoded


@dataclass(slots=True)
class Prefilled:
    """One sequence that is ready to decode.

    Attributes:
        cache: keys and values of the prompt tokens that were kept, in every layer.
        logits: ``[vocab]`` of the first answer token, float32.
        next_position: rotary position of the first answer token, counted from the unpruned prompt.
        scores: ``[N]`` importance logits over all images of the prompt; ``None`` where nothing was scored.
        keep: ``[N]`` bool.
        floor_hit: whether the rule's floor decided in some image.
        cap_hit: whether the rule's cap decided in some image.
        decoded: the answer, where it was decoded together with others of its page; the cache is empty then.
    """

    cache: PrefillCache
    logits: Tensor
    next_position: int
    scores: Tensor | None
    keep: Tensor
    floor_hit: bool = False
    cap_hit: bool = False
    decoded: Decoded | None = None
