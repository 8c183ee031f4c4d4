"""Decodes one token per sequence, as a function of tensors that stay where they are.

Between two steps nothing goes from the host to the device: each leaves the inputs of the next. On a CPU the host reads
every token, and a step sees just the slots that hold one. On CUDA a step is fixed until a sequence comes or goes, so
that a graph can repeat it, and the host reads the tokens of several steps at once, unless a sequence has a constraint.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from glimpseprune.decode.graphs import StepGraphs, graphs_for, rows_for
from glimpseprune.decode.greedy import Choice, Greedy, Row
from glimpseprune.decode.pool_cache import PoolCache
from glimpseprune.families.base import Backbone, run_layers

MOST_STEPS = 4
"""Steps per read on CUDA. Those behind the end of a sequence are for nothing, so they are no more than there are
sequences: of many, some go on."""


class Inputs:
    """Views of what each step reads and the one before it leaves.

    Args:
        values: last token, its rotary position and its slot of each row, int64 ``[3, rows]``.
        seen: tokens of each row, bool ``[rows, vocab]``; ``None`` without a repetition penalty.
    """

    def __init__(self, values: Tensor, seen: Tensor | None) -> None:
        self.tokens, self.positions = values[0, :, None], values[1, :, None]  # [rows, 1]
        self.ends = values[2]
        self.counters = values[1:]  # which go up by one with each step
        self.seen = seen


def decode_step(backbone: Backbone, greedy: Greedy, cache: PoolCache, inputs: Inputs, biased: bool) -> Choice:
    """Run the last token of every row, choose the next one, and make the inputs those of the step after this.

    The inputs change last, so a step that runs out of memory can be repeated.

    Args:
        backbone: the model.
        greedy: greedy search that chooses the tokens.
        cache: caches of the rows, which have been told to look at the ends of the inputs.
        inputs: what changes from step to step.
        biased: whether some of the seen slots hold no token of their row.
    """
    if inputs.seen is not None:
        inputs.seen.scatter_(1, inputs.tokens, True)
    hidden = backbone.embed_tokens(inputs.tokens)  # [rows, 1, D]
    rotary = backbone.rotary(inputs.positions.expand(backbone.rotary_axes, -1, -1))
    bias = cache.bias(hidden) if biased else None
    hidden = run_layers(backbone, range(backbone.num_layers), hidden, rotary, cache, bias=bias)
    choice = greedy.choose(backbone.logits(hidden[:, -1]), inputs.seen)
    inputs.tokens.copy_(choice.tokens)
    inputs.counters.add_(1)
    return choice


def run_steps(
    graphs: StepGraphs | None, key: tuple[int, int], step: Callable[[], Choice], rows: Sequence[Row]
) -> tuple[Choice, list[Tensor]]:
    """Run a step once, or on CUDA as often as it may be before the host looks at the tokens.

    Args:
        graphs: graphs of steps; ``None`` on a CPU.
        key: number of rows and of seen slots of the step.
        step: the step.
        rows: sequences that go on.

    Returns:
        Choice of the last step, and the figures of each.

    Raises:
        torch.OutOfMemoryError: memory is too short for the step.
    """
    if graphs is None:
        choice = step()
        return choice, [choice.figures]
    left = max(row.limit - len(row.result.tokens) for row in rows)
    limited = any(row.constraint is not None for row in rows)
    figures = []
    for _ in range(1 if limited else min(MOST_STEPS, len(rows), left)):
        choice = graphs.run(key, step, left)
        figures.append(choice.figures.clone())  # the next step overwrites them
    return choice, figures


class Stepper:
    """Runs the steps of a pool's rows.

    Args:
        backbone: the model.
        greedy: greedy search that chooses the tokens.
        cache: caches of the rows.
    """

    def __init__(self, backbone: Backbone, greedy: Greedy, cache: PoolCache) -> None:
        self._backbone, self._greedy, self._cache = backbone, greedy, cache
        self._graphs = graphs_for(backbone.device)
        # All of them stay where they are while no more rows come, because graphs hold on to them.
        self._every_input = torch.zeros(3, 0, dtype=torch.long, device=backbone.device)
        self._seen: Tensor | None = None  # tokens of each row, [rows, vocab], with a repetition penalty
        self._replaced = 0  # tensors of the cache, when the graphs were recorded
        self._inputs: Inputs | None = None  # of the rows in use; None where they are not those of the sequences

    @property
    def most_ahead(self) -> int:
        """Number of tokens that may be decoded behind the end of a sequence, for which its cache needs room."""
        return 0 if self._graphs is None else MOST_STEPS - 1

    def changed(self) -> None:
        """Say that a row came, or that a sequence goes on with another token than was chosen."""
        self._inputs = None

    def mark(self, place: int, row: Row) -> None:
        """Mark the tokens of a sequence, where there is a repetition penalty.

        Args:
            place: its row, which may be the next one.
            row: the sequence.

        Raises:
            torch.OutOfMemoryError: the device has no room for the marks.
        """
        marks = self._greedy.seen([row], self._backbone.shape.vocab_size)
        if marks is not None:
            self._make_room(place + 1, marks)[place] = marks[0]

    def move(self, row: int, to: int) -> None:
        """Let the last row take the place of one that leaves."""
        self._inputs = None
        if self._seen is not None:
            self._seen[to] = self._seen[row]

    def trim(self, rows: int) -> None:
        """Release what the rows behind the first ones take."""
        self._inputs, self._every_input = None, self._every_input[:, :0]
        if self._seen is not None:
            self._seen = self._seen[:rows].clone()

    def run(self, rows: Sequence[Row]) -> tuple[Choice, list[Tensor]]:
        """Run a step, or several on CUDA.

        Args:
            rows: sequences of all rows in use.

        Returns:
            Choice of the last step, and the figures of each, ``[rows, 3]``, of spare rows too.

        Raises:
            torch.OutOfMemoryError: memory is too short; the sequences have not changed, but their marks may have.
        """
        cache, inputs = self._cache, self._inputs
        if inputs is None:
            inputs = self._inputs = self._upload(rows)
        fixed = self._graphs is not None
        slots = cache.fixed_slots if fixed else cache.needed_slots
        cache.look(inputs.ends, slots)
        biased = fixed or not cache.equal
        step = partial(decode_step, self._backbone, self._greedy, cache, inputs, biased)
        return run_steps(self._graphs, (len(inputs.ends), slots), step, rows)

    def _upload(self, rows: Sequence[Row]) -> Inputs:
        """Bring the inputs to the device, with spare rows up to a number that there are graphs for."""
        count, cache = len(rows), self._cache
        used = count if self._graphs is None else min(rows_for(count), cache.rows)
        if self._every_input.shape[1] < used:
            self._every_input = self._every_input.new_zeros(3, cache.rows)
            self._replaced = -1
        if self._seen is not None:
            self._make_room(used, self._seen)
        if self._graphs is not None and self._replaced != cache.replaced:
            self._graphs.forget()
        self._replaced = cache.replaced
        lines = [[row.result.tokens[-1] for row in rows], [row.position for row in rows], cache.lengths]
        spare = [0] * (used - count)
        values = self._every_input[:, :used]
        values.copy_(torch.tensor([[*line, *spare] for line in lines]))
        return Inputs(values, None if self._seen is None else self._seen[:used])

    def _make_room(self, rows: int, like: Tensor) -> Tensor:
        """Grow the marks to at least so many rows, by more than needed, since that is rare then."""
        have = 0 if self._seen is None else len(self._seen)
        if self._seen is None or rows > have:
            grown = like.new_zeros(max(rows, 2 * have), like.shape[1])
            if self._seen is not None:
                grown[:have] = self._seen
            self._seen, self._replaced = grown, -1
        return self._seen
