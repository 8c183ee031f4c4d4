"""Figures of what pruning did to one item, and of its cost."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch


@dataclass(slots=True)
class PruneStats:
    """Figures of one item. A figure that does not apply is ``None``.

    Attributes:
        visual_tokens: visual tokens of the prompt, over all its images.
        kept_tokens: those left in the KV cache when decoding starts.
        floor_hit: fewer than ``min_tokens`` passed the threshold in some image, so the best ones were taken anyway.
        cap_hit: more than ``max_ratio`` passed in some image, so only the best ones were taken.
        kv_tokens_full: prompt tokens, what an unpruned cache would hold.
        kv_tokens_kept: tokens in the cache when decoding starts.
        kv_bytes_full: bytes of a cache of ``kv_tokens_full``.
        kv_bytes_kept: bytes of the cache as it is.
        vision_ms: vision tower, wall time; ``None`` where the item before it has the same image, run only once.
        prefill_ms: language model up to the first token's logits, wall time, without what is shared; of questions that
            run together, each has an equal part.
        decode_ms: this item's share of the decode steps it took part in, wall time; shares add up to the total.
        prefix_ms: layers 0..K over what the questions of a page share, wall time; ``None`` where nothing is shared, or
            it ran for the item before.
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
        """Kept over all visual tokens, in 0..1; ``None`` without an image."""
        return self.kept_tokens / self.visual_tokens if self.visual_tokens else None


def now_ms(device: torch.device) -> float:
    """A wall clock in milliseconds, read after everything queued on the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() * 1e3
