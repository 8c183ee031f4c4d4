"""Continuous batching: prefilled sequences of many pages decode together; the finished leave, new ones enter.

A pruned cache is some twenty times smaller than the page it came from, so many more sequences fit side by side, and a
decoding step costs little more for many than for one.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import RepetitionPenaltyLogitsProcessor

from glimpseprune.backbone import Backbone
from glimpseprune.cache import PoolCache, PrefillCache
from glimpseprune.prefill import Prefilled
from glimpseprune.stats import now_ms


@dataclass(slots=True)
class Decoded:
    """New tokens of one sequence, the log-probability of each, and its share of the wall time in milliseconds."""

    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    decode_ms: float = 0.0


@dataclass(slots=True)
class _Sequence:
    """A sequence in the pool; ``history`` is the unpruned prompt and what was generated, for the repetition penalty."""

    key: Hashable
    history: Tensor | None
    limit: int
    next_position: int
    result: Decoded


class DecodePool:
    """Decodes greedily whatever it holds, one token for every sequence a step.

    Args:
        backbone: the model.
        eos_token_ids: tokens that end a sequence; the one that did is part of the result.
        repetition_penalty: as in the model's generation config; 1 changes nothing.

    Attributes:
        done: finished sequences by key, until they are taken.
    """

    def __init__(self, backbone: Backbone, eos_token_ids: frozenset[int], repetition_penalty: float = 1.0) -> None:
        self.backbone = backbone
        self.eos_token_ids = eos_token_ids
        self.penalty = RepetitionPenaltyLogitsProcessor(repetition_penalty) if repetition_penalty != 1.0 else None
        self.done: dict[Hashable, Decoded] = {}
        self._rows: list[_Sequence] = []  # row i of the cache belongs to sequence i
        self._waiting: list[tuple[_Sequence, PrefillCache]] = []  # put back when memory ran out
        self._cache = PoolCache()

    def __len__(self) -> int:
        return len(self._rows) + len(self._waiting)

    @property
    def nbytes(self) -> int:
        """Bytes of the keys and values that are held, the room for what is to come included."""
        return self._cache.nbytes

    def add(self, key: Hashable, sequence: Prefilled, prompt: Tensor, max_new_tokens: int) -> None:
        """Take a sequence in; its first token is known from its prefill.

        Args:
            key: to find the result in ``done``.
            sequence: what prefill gave; its cache is used up.
            prompt: its unpruned token ids ``[T]``.
            max_new_tokens: at least 1.
        """
        start = now_ms(self.backbone.device)
        history = prompt if self.penalty is not None else None
        row = _Sequence(key, history, max_new_tokens, sequence.next_position, Decoded())
        self._choose(sequence.logits[None], [row])
        row.result.decode_ms = now_ms(self.backbone.device) - start
        if self._over(row):
            self.done[key] = row.result
            return
        self._enter(row, sequence.cache)

    def step(self) -> None:
        """One token for every sequence; the finished go to ``done``. With nothing to do, nothing happens.

        When memory runs out, half of the sequences wait until there is room.

        Raises:
            torch.OutOfMemoryError: not even one sequence fits.
        """
        if not self._rows and self._waiting:
            self._enter(*self._waiting.pop(0))
        if not self._rows:
            return
        start = now_ms(self.backbone.device)
        while True:
            try:
                logits = self._forward()
                break
            except torch.OutOfMemoryError:
                if len(self._rows) == 1:
                    raise
            # Outside the handler: the traceback it holds keeps the tensors of the failed call alive.
            self._halve()
        self._cache.advance()
        self._choose(logits, self._rows)
        share = (now_ms(self.backbone.device) - start) / len(self._rows)
        for row in self._rows:
            row.result.decode_ms += share
        for place in reversed(range(len(self._rows))):
            if self._over(self._rows[place]):
                self.done[self._rows[place].key] = self._rows[place].result
                self._leave(place)

    def run(self) -> None:
        """Step until every sequence is done."""
        while len(self):
            self.step()

    def _forward(self) -> Tensor:
        """The model on the last token of every sequence: ``[B, vocab]``."""
        device = self.backbone.device
        tokens = torch.tensor([[row.result.tokens[-1]] for row in self._rows], device=device)
        places = [row.next_position + len(row.result.tokens) - 1 for row in self._rows]
        hidden = self.backbone.embed_tokens(tokens)  # [B, 1, D]
        positions = torch.tensor(places, device=device)[None, :, None].expand(self.backbone.rotary_axes, -1, -1)
        rotary = self.backbone.rotary(positions)
        filled = self._cache.filled()
        for layer in range(self.backbone.num_layers):
            hidden = self.backbone.run_layer(layer, hidden, rotary, self._cache, filled)
        return self.backbone.logits(hidden[:, -1])

    def _choose(self, logits: Tensor, rows: list[_Sequence]) -> None:
        """Append to each sequence what the stock model's greedy search would, from logits ``[B, vocab]``."""
        scores = logits
        if self.penalty is not None:
            pairs = zip(rows, logits, strict=True)
            scores = torch.cat([self.penalty(row.history[None], one[None]) for row, one in pairs])  # type: ignore[index]
        tokens = scores.argmax(dim=-1)
        logprobs = logits.log_softmax(dim=-1).gather(1, tokens[:, None])[:, 0]
        for row, token, logprob in zip(rows, tokens.tolist(), logprobs.tolist(), strict=True):
            row.result.tokens.append(token)
            row.result.logprobs.append(logprob)
            if row.history is not None:
                row.history = torch.cat([row.history, row.history.new_tensor([token])])

    def _over(self, row: _Sequence) -> bool:
        return row.result.tokens[-1] in self.eos_token_ids or len(row.result.tokens) >= row.limit

    def _enter(self, row: _Sequence, cache: PrefillCache) -> None:
        self._cache.add(cache, row.limit - len(row.result.tokens))
        self._rows.append(row)

    def _leave(self, place: int) -> None:
        self._cache.drop(place)
        self._rows[place] = self._rows[-1]
        self._rows.pop()

    def _halve(self) -> None:
        for place in reversed(range(len(self._rows) // 2, len(self._rows))):
            self._waiting.append((self._rows[place], self._cache.take(place)))
            self._leave(place)
        self._cache.trim()
        torch.cuda.empty_cache()
