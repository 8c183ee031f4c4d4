"""Defines the figures of pruning one item, and the clock that measures them."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch


@dataclass(slots=True)
class PruneStats:
    """Holds the figures of one item; a figure that does not apply is ``None``.

    Attributes:
        visual_tokens: number of visual tokens of the prompt, over all its images.
        kept_tokens: number of visual tokens in the KV cache when decode starts.
        floor_hit: true if fewer than ``min_tokens`` passed in some image, so that the best ones were taken anyway.
        cap_hit: true if more than ``max_ratio`` passed in some image, so that only the best ones were taken.
        kv_tokens_full: number of prompt tokens, all of which an unpruned cache holds.
        kv_tokens_kept: number of tokens in the cache when decode starts.
        kv_bytes_full: bytes of an unpruned cache.
        kv_bytes_kept: bytes of the cache when decode starts.
        vision_ms: wall time of the vision tower in milliseconds; ``None`` if it ran for an earlier item with the same
            image.
        prefill_ms: wall time of the language model up to the first logits, in milliseconds, without ``prefix_ms``;
            questions that run together have equal shares.
        decode_ms: share of the wall time of the decode steps that the item took part in, in milliseconds; the shares
            add up to the total.
        prefix_ms: wall time of the prefix that the questions of a page share, in milliseconds; ``None`` if nothing is
            shared or an earlier item reports it.
    """

    visual_tokens: int
    kept_tokens: int
    floor_hit: bool
    cap_hit: bool
    kv_tokens_full: int
    kv_tokens_kept: int
    kv_bytes_full: int
    kv_bytes_kept: int
    vision_ms: float | None = None
    prefill_ms: float | None = None
    decode_ms: float | None = None
    prefix_ms: float | None = None

    @property
    def retention(self) -> float | None:
        """Kept visual tokens divided by all visual tokens, in 0..1; ``None`` without an image."""
        return self.kept_tokens / self.visual_tokens if self.visual_tokens else None


def now_ms(device: torch.device) -> float:
    """Read the wall clock in milliseconds, after all queued work of a device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() * 1e3
