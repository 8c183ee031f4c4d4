"""Decodes sequences of many pages together; finished ones leave and new ones enter (continuous batching).

A pruned cache is about twenty times smaller than an unpruned one, so many more sequences fit side by side. A decode
step for many sequences takes little longer than for one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable

import torch
from torch import Tensor

from glimpseprune.decode.cache import PoolCache, PrefillCache
from glimpseprune.decode.constraint import BeginConstraint
from glimpseprune.decode.greedy import Decoded, Greedy, Row
from glimpseprune.decode.prefilled import Prefilled
from glimpseprune.families.base import Backbone, run_layers
from glimpseprune.stats import now_ms
from glimpseprune.without_cudnn import without_cudnn


class DecodePool:
    """Decodes its sequences greedily, one token per sequence and step.

    Args:
        backbone: the model.
        eos_token_ids: tokens that end a sequence and count as its last token.
        repetition_penalty: penalty from the model's generation config; 1 changes nothing.
        ran_out: function to call after memory ran out, with the bytes that the pool still holds.

    Attributes:
        done: results of the finished sequences by key; the caller removes them.
    """

    def __init__(
        self,
        backbone: Backbone,
        eos_token_ids: frozenset[int],
        repetition_penalty: float = 1.0,
        ran_out: Callable[[int], None] | None = None,
    ) -> None:
        self.backbone = backbone
        self.greedy = Greedy(eos_token_ids, repetition_penalty)
        self.done: dict[Hashable, Decoded] = {}
        self._rows: list[tuple[Hashable, Row]] = []  # row i of the cache belongs to sequence i
        self._waiting: list[tuple[Hashable, Row, PrefillCache]] = []  # in host memory
        self._most_rows = sys.maxsize  # lowered to what fits once memory runs out
        self._ran_out = ran_out
        self._cache = PoolCache()
        self._seen: Tensor | None = None  # tokens that each row has seen, [rows, vocab], with a repetition penalty

    def __len__(self) -> int:
        return len(self._rows) + len(self._waiting)

    @property
    def nbytes(self) -> int:
        """Bytes of the keys and values on the device, room for new tokens included."""
        return self._cache.nbytes

    @property
    def waiting(self) -> int:
        """Number of sequences that wait in host memory until the device has room."""
        return len(self._waiting)

    @torch.inference_mode()
    def add(
        self,
        key: Hashable,
        sequence: Prefilled,
        prompt: Tensor,
        max_new_tokens: int,
        constraint: BeginConstraint | None = None,
    ) -> None:
        """Add a sequence, and choose its first token from the logits of its prefill. Without room it waits.

        Args:
            key: name of the result in ``done``.
            sequence: result of prefill; the pool takes over its cache.
            prompt: unpruned token ids ``[T]``.
            max_new_tokens: largest number of new tokens, at least 1.
            constraint: function that makes the limits of its tokens; ``None`` for none.

        Raises:
            torch.OutOfMemoryError: the sequence does not fit, although the device holds no other.
        """
        if sequence.decoded is not None:
            self.done[key] = sequence.decoded
            return
        start = now_ms(self.backbone.device)
        row = Row(prompt, max_new_tokens, sequence.next_position, constraint and constraint())
        logits = sequence.logits[None]
        seen = self.greedy.seen([row], logits.shape[1])
        self.greedy.choose(self.greedy.weigh(logits, seen), [row], seen)
        row.result.decode_ms = now_ms(self.backbone.device) - start
        if self.greedy.over(row):
            self.done[key] = row.result
        else:
            self._enter(key, row, sequence.cache)

    @torch.inference_mode()
    @without_cudnn
    def step(self) -> None:
        """Decode one token per sequence and move finished sequences to ``done``. An empty pool does nothing.

        When memory runs out, half of the sequences move to host memory; they return as others finish.

        Raises:
            torch.OutOfMemoryError: memory is too short for a single sequence.
        """
        while self._waiting and len(self._rows) < self._most_rows:
            self._enter(*self._waiting.pop(0))
        if not self._rows:
            return
        start = now_ms(self.backbone.device)
        while True:
            try:
                weighed = self.greedy.weigh(self._forward(), self._seen)
                break
            except torch.OutOfMemoryError:
                if len(self._rows) == 1:
                    raise
            # After the handler, whose traceback keeps the tensors of the failed call alive.
            self._halve()
        self._cache.advance()
        self.greedy.choose(weighed, [row for _, row in self._rows], self._seen)
        share = (now_ms(self.backbone.device) - start) / len(self._rows)
        for place in reversed(range(len(self._rows))):
            key, row = self._rows[place]
            row.result.decode_ms += share
            if self.greedy.over(row):
                self.done[key] = row.result
                self._leave(place)
        if 2 * len(self._rows) <= self._cache.rows:  # not at every step, since this copies what is left
            self._trim()

    def run(self) -> None:
        """Decode until every sequence is finished."""
        while len(self):
            self.step()

    def _forward(self) -> Tensor:
        """Run the model on the last token of every sequence: logits ``[B, vocab]``."""
        backbone = self.backbone
        last = [[[row.result.tokens[-1]] for _, row in self._rows], [[row.position] for _, row in self._rows]]
        tokens, positions = torch.tensor(last, device=backbone.device).unbind()  # [B, 1] each
        hidden = backbone.embed_tokens(tokens)  # [B, 1, D]
        rotary = backbone.rotary(positions.expand(backbone.rotary_axes, -1, -1))
        filled, bias = self._cache.filled(), None
        if filled is not None:  # attention would make a bias of the mask in every layer
            bias = hidden.new_zeros(filled.shape).masked_fill_(~filled, float("-inf"))[:, None, None]
        hidden = run_layers(backbone, range(backbone.num_layers), hidden, rotary, self._cache, bias=bias)
        return backbone.logits(hidden[:, -1])

    def _enter(self, key: Hashable, row: Row, cache: PrefillCache) -> None:
        """Give a sequence a row, or let it wait if there is none."""
        if len(self._rows) < self._most_rows:
            try:
                seen = self.greedy.seen([row], self.backbone.shape.vocab_size)
                if seen is not None and self._seen is not None:
                    seen = torch.cat([self._seen, seen])
                self._cache.add(cache, row.limit - len(row.result.tokens))
            except torch.OutOfMemoryError:
                if not self._rows:
                    raise
            else:
                self._rows.append((key, row))
                self._seen = seen
                return
            self._give_back()
        cache.offload()
        self._waiting.append((key, row, cache))

    def _leave(self, place: int) -> None:
        self._cache.drop(place)
        self._rows[place] = self._rows[-1]
        self._rows.pop()
        if self._seen is not None:
            self._seen[place] = self._seen[-1]
            self._seen = self._seen[:-1]

    def _trim(self) -> None:
        self._cache.trim()
        if self._seen is not None:
            self._seen = self._seen.clone()

    def _halve(self) -> None:
        for place in reversed(range(len(self._rows) // 2, len(self._rows))):
            self._waiting.append((*self._rows[place], self._cache.take(place)))
            self._leave(place)
        self._give_back()

    def _give_back(self) -> None:
        """Release unused memory after it ran out, and cap the rows at their present number."""
        self._most_rows = len(self._rows)
        self._trim()
        torch.cuda.empty_cache()
        if self._ran_out is not None:
            self._ran_out(self.nbytes)
