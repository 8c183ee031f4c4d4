"""Decodes sequences of many pages together; finished ones leave and new ones enter (continuous batching).

A pruned cache is about twenty times smaller than an unpruned one, so many more sequences fit side by side. A decode
step for many sequences takes little longer than for one.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Hashable

import torch
from torch import Tensor

from glimpseprune.decode.cache import PrefillCache
from glimpseprune.decode.constraint import BeginConstraint
from glimpseprune.decode.greedy import Decoded, Greedy, Row
from glimpseprune.decode.log_pool import LogPool
from glimpseprune.decode.pool_cache import PoolCache
from glimpseprune.decode.prefilled import Prefilled
from glimpseprune.decode.step import Stepper
from glimpseprune.families.base import Backbone
from glimpseprune.stats import now_ms
from glimpseprune.without_cudnn import without_cudnn


class DecodePool:
    """Decodes its sequences greedily.

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
        self._stepper = Stepper(backbone, self.greedy, self._cache)
        self._logs = LogPool(backbone, self.greedy)  # of questions that share a cache with others of their page

    def __len__(self) -> int:
        return len(self._rows) + len(self._waiting) + len(self._logs)

    @property
    def nbytes(self) -> int:
        """Bytes of the keys and values on the device, room for new tokens included."""
        return self._cache.nbytes + self._logs.nbytes

    @property
    def full(self) -> bool:
        """Whether it should decode before a page comes: sequences wait for room, or enough pages are together."""
        return bool(self._waiting) or self._logs.full

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
        if sequence.page is not None:
            page, place = sequence.page
            if self.greedy.over(page.rows[place]):
                self.done[key] = page.rows[place].result
            else:
                self._logs.add(key, page, place)
            return
        start = now_ms(self.backbone.device)
        row = Row(prompt, max_new_tokens, sequence.next_position, constraint and constraint())
        logits = sequence.logits[None]
        seen = self.greedy.seen([row], logits.shape[1])
        choice = self.greedy.choose(logits, seen)
        self.greedy.take([row], choice, [choice.figures])
        row.result.decode_ms = now_ms(self.backbone.device) - start
        if self.greedy.over(row):
            self.done[key] = row.result
        else:
            self._enter(key, row, sequence.cache)

    @torch.inference_mode()
    @without_cudnn
    def step(self) -> None:
        """Decode a token of every sequence and move finished ones to ``done``. An empty pool does nothing.

        Questions that share a cache with others of their page come first, and decode to their ends. On CUDA it is up to
        four tokens, because the host waits for the device after each step. When memory runs out, half of the sequences
        move to host memory; they return as others finish.

        Raises:
            torch.OutOfMemoryError: memory is too short for a single sequence.
        """
        if len(self._logs):
            self.done |= self._logs.run()
            return
        while self._waiting and len(self._rows) < self._most_rows:
            self._enter(*self._waiting.pop(0))
        if not self._rows:
            return
        start = time.perf_counter()  # nothing is queued, and the end comes with the tokens
        while True:
            rows = [row for _, row in self._rows]
            try:
                choice, figures = self._stepper.run(rows)
                break
            except torch.OutOfMemoryError:
                if len(rows) == 1:
                    raise
            # After the handler, whose traceback keeps the tensors of the failed call alive.
            self._halve()
        self._cache.advance(len(figures))
        if not self.greedy.take(rows, choice, figures):
            self._stepper.changed()
        share = (time.perf_counter() - start) * 1e3 / len(rows)
        for place in reversed(range(len(rows))):
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

    def _enter(self, key: Hashable, row: Row, cache: PrefillCache) -> None:
        """Give a sequence a row, or let it wait if there is none."""
        if len(self._rows) < self._most_rows:
            try:
                self._stepper.mark(len(self._rows), row)
                self._cache.add(cache, row.limit - len(row.result.tokens) + self._stepper.most_ahead)
            except torch.OutOfMemoryError:
                if not self._rows:
                    raise
            else:
                self._rows.append((key, row))
                self._stepper.changed()
                return
            self._give_back()
        cache.offload()
        self._waiting.append((key, row, cache))

    def _leave(self, place: int) -> None:
        self._cache.drop(place)
        self._stepper.move(len(self._rows) - 1, place)
        self._rows[place] = self._rows[-1]
        self._rows.pop()

    def _trim(self) -> None:
        self._cache.trim()
        self._stepper.trim(len(self._rows))

    def _halve(self) -> None:
        for place in reversed(range(len(self._rows) // 2, len(self._rows))):
            self._waiting.append((*self._rows[place], self._cache.take(place)))
            self._leave(place)
        self._give_back()
        for place, (_, row) in enumerate(self._rows):  # steps before the one that failed have left their marks
            self._stepper.mark(place, row)

    def _give_back(self) -> None:
        """Release unused memory after it ran out, and cap the rows at their present number."""
        self._most_rows = len(self._rows)
        self._trim()
        torch.cuda.empty_cache()
        if self._ran_out is not None:
            self._ran_out(self.nbytes)
