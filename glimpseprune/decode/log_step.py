"""Decodes one token per question behind a prefix that all share; see :mod:`~glimpseprune.decode.step`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from glimpseprune.decode.graphs import StepGraphs
from glimpseprune.decode.greedy import Choice, Greedy, Row
from glimpseprune.decode.log_cache import LogCache
from glimpseprune.decode.step import MOST_STEPS, run_steps
from glimpseprune.families.base import Backbone, run_layers


class LogInputs:
    """Views of what each step reads and the one before it leaves.

    Args:
        values: last token, its rotary position, its slot and its question, of each question, int64 ``[4, Q]``.
        seen: tokens of each question, bool ``[Q, vocab]``; ``None`` without a repetition penalty.
    """

    def __init__(self, values: Tensor, seen: Tensor | None) -> None:
        self.values = values
        self.tokens, self.positions, self.slots, self.whose = values.unbind()
        self.counters = values[1:3]
        self.gains = torch.tensor([[1], [values.shape[1]]], device=values.device)  # of the counters, with each step
        self.seen = seen


def decode_log_step(backbone: Backbone, greedy: Greedy, log: LogCache, inputs: LogInputs) -> Choice:
    """Run the last token of every question, choose the next one, and make the inputs those of the step after this.

    Args:
        backbone: the model.
        greedy: greedy search that chooses the tokens.
        log: cache of the prefix and all questions, which has been told to look at the slots of the inputs.
        inputs: what changes from step to step.
    """
    if inputs.seen is not None:
        inputs.seen.scatter_(1, inputs.tokens[:, None], True)
    hidden = backbone.embed_tokens(inputs.tokens[None])  # [1, Q, D]
    rotary = backbone.rotary(inputs.positions.expand(backbone.rotary_axes, 1, -1))
    bias = log.bias(inputs.whose, hidden)
    hidden = run_layers(backbone, range(backbone.num_layers), hidden, rotary, log, bias=bias)
    choice = greedy.choose(backbone.logits(hidden[0]), inputs.seen)
    inputs.tokens.copy_(choice.tokens[:, 0])
    inputs.counters.add_(inputs.gains)
    return choice


def room_for_answers(limits: Sequence[int], graphs: StepGraphs | None) -> int:
    """Count the slots that :func:`decode_log` needs for new tokens.

    Args:
        limits: largest number of new tokens of each question.
        graphs: graphs of steps; ``None`` where steps run as they are.
    """
    return sum(limits) if graphs is None else len(limits) * (max(limits) + MOST_STEPS - 1)


def decode_log(
    backbone: Backbone, greedy: Greedy, log: LogCache, rows: Sequence[Row], logits: Tensor, graphs: StepGraphs | None
) -> None:
    """Decode the questions of a page to their ends.

    All take part in every step where graphs repeat it, elsewhere those that go on.

    Args:
        backbone: the model.
        greedy: greedy search that chooses the tokens.
        log: cache of the prefix and all questions, with :func:`room_for_answers`.
        rows: the Q questions, without new tokens.
        logits: logits ``[Q, vocab]`` of their first tokens.
        graphs: graphs of steps; ``None`` where steps run as they are.

    Raises:
        GlimpseError: a constraint refuses every token.
    """
    began = time.perf_counter()
    places, seen = list(range(len(rows))), greedy.seen(rows, logits.shape[1])
    choice = greedy.choose(logits, seen)
    figures = [choice.figures]
    inputs: LogInputs | None = None
    while True:
        active = [rows[place] for place in places]
        going = [row for row in active if not greedy.over(row)]
        as_chosen = greedy.take(active, choice, figures)
        now = time.perf_counter()
        for row in going:
            row.result.decode_ms += (now - began) * 1e3 / len(going)
        began = now
        left = [number for number, row in enumerate(active) if not greedy.over(row)]
        if not left:
            return
        if graphs is None and len(left) < len(places):
            places = [places[number] for number in left]
            seen, inputs = None if seen is None else seen[left], None
        if inputs is None:
            inputs = LogInputs(_values(log, rows, places).to(backbone.device), seen)
        elif not as_chosen:
            inputs.values.copy_(_values(log, rows, places))  # in place, since graphs hold on to it
        log.look(inputs.slots, log.end + len(places) if graphs is None else log.capacity)
        step = partial(decode_log_step, backbone, greedy, log, inputs)
        choice, figures = run_steps(graphs, (len(places), log.capacity), step, [active[number] for number in left])
        log.advance(len(places) * len(figures))


def _values(log: LogCache, rows: Sequence[Row], places: Sequence[int]) -> Tensor:
    """Make the inputs of a step from what the host knows, ``[4, Q]``."""
    active, slots = [rows[place] for place in places], range(log.end, log.end + len(places))
    tokens, positions = [row.result.tokens[-1] for row in active], [row.position for row in active]
    return torch.tensor([tokens, positions, list(slots), list(places)])
