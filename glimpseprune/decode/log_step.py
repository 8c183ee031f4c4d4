"""Decodes one token per question behind prefixes that several questions share; see :mod:`~glimpseprune.decode.step`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from glimpseprune.decode.graphs import StepGraphs
from glimpseprune.decode.greedy import Choice, Greedy, Row
from glimpseprune.decode.log_cache import LogCache
from glimpseprune.decode.log_group import LogGroup
from glimpseprune.decode.step import MOST_STEPS, run_steps
from glimpseprune.families.base import Backbone, run_layers


@dataclass(slots=True)
class LogPage:
    """Holds the questions of a page behind one prefix, ready for decode.

    Attributes:
        log: cache of the prefix and all questions, with :func:`room_for_answers`.
        rows: the Q questions; :func:`decode_logs` adds their tokens.
        logits: logits ``[Q, vocab]`` of their first tokens.
    """

    log: LogCache
    rows: list[Row]
    logits: Tensor


class LogInputs:
    """Views of what each step reads and the one before it leaves.

    Args:
        values: last token, its rotary position, its slot and its question, of each row, int64 ``[4, R]``.
        gains: what position and slot go up by with each step, int64 ``[2, R]``.
        seen: tokens of each row, bool ``[R, vocab]``; ``None`` without a repetition penalty.
    """

    def __init__(self, values: Tensor, gains: Tensor, seen: Tensor | None) -> None:
        self.values = values
        self.tokens, self.positions, self.slots, self.whose = values.unbind()
        self.counters = values[1:3]
        self.gains = gains
        self.seen = seen


def decode_log_step(backbone: Backbone, greedy: Greedy, logs: LogGroup, inputs: LogInputs) -> Choice:
    """Run the last token of every question, choose the next one, and make the inputs those of the step after this.

    Args:
        backbone: the model.
        greedy: greedy search that chooses the tokens.
        logs: caches of the pages, which have been told to look at the slots of the inputs.
        inputs: what changes from step to step.
    """
    if inputs.seen is not None:
        inputs.seen.scatter_(1, inputs.tokens[:, None], True)
    hidden = backbone.embed_tokens(inputs.tokens[None])  # [1, R, D]
    rotary = backbone.rotary(inputs.positions.expand(backbone.rotary_axes, 1, -1))
    hidden = run_layers(backbone, range(backbone.num_layers), hidden, rotary, logs.group(inputs.whose, hidden))
    choice = greedy.choose(backbone.logits(hidden[0]), inputs.seen)
    inputs.tokens.copy_(choice.tokens[:, 0])
    inputs.counters.add_(inputs.gains)
    return choice


def room_for_answers(limits: Sequence[int], graphs: StepGraphs | None) -> int:
    """Count the slots that :func:`decode_logs` needs for new tokens of a page.

    Args:
        limits: largest number of new tokens of each question.
        graphs: graphs of steps; ``None`` where steps run as they are.
    """
    return sum(limits) if graphs is None else len(limits) * (max(limits) + MOST_STEPS - 1)


def decode_logs(backbone: Backbone, greedy: Greedy, pages: Sequence[LogPage], graphs: StepGraphs | None) -> None:
    """Decode the questions of pages to their ends, all pages in the same steps.

    All questions take part in every step where graphs repeat it, elsewhere those that go on.

    Args:
        backbone: the model.
        greedy: greedy search that chooses the tokens.
        pages: pages whose questions have no new tokens yet; a single one where graphs repeat steps.
        graphs: graphs of steps; ``None`` where steps run as they are.

    Raises:
        GlimpseError: a constraint refuses every token.
    """
    began = time.perf_counter()
    places = [list(range(len(page.rows))) for page in pages]  # of the rows that take part, in each page
    active = [row for page in pages for row in page.rows]
    logits = torch.cat([page.logits for page in pages])
    seen = greedy.seen(active, logits.shape[1])
    choice = greedy.choose(logits, seen)
    figures = [choice.figures]
    inputs: LogInputs | None = None
    while True:
        going = [row for row in active if not greedy.over(row)]
        as_chosen = greedy.take(active, choice, figures)
        now = time.perf_counter()
        for row in going:
            row.result.decode_ms += (now - began) * 1e3 / len(going)
        began = now
        left = [number for number, row in enumerate(active) if not greedy.over(row)]
        if not left:
            break
        if graphs is None and len(left) < len(active):
            places = [
                [place for place in each if not greedy.over(page.rows[place])]
                for page, each in zip(pages, places, strict=True)
            ]
            seen, inputs = None if seen is None else seen[left], None
            active = [active[number] for number in left]
            left = list(range(len(active)))
        if inputs is None:
            logs = LogGroup([(page.log, len(each)) for page, each in zip(pages, places, strict=True) if each])
            inputs = LogInputs(_values(pages, places).to(backbone.device), _gains(places).to(backbone.device), seen)
        elif not as_chosen:
            inputs.values.copy_(_values(pages, places))  # in place, since graphs hold on to it
        logs.look(inputs.slots, whole=graphs is not None)
        step = partial(decode_log_step, backbone, greedy, logs, inputs)
        choice, figures = run_steps(graphs, (len(active), logs.capacity), step, [active[number] for number in left])
        logs.advance(len(figures))
    for page in pages:
        page.log.layers.clear()  # the page is still at hand for what else it tells


def _values(pages: Sequence[LogPage], places: Sequence[Sequence[int]]) -> Tensor:
    """Make the inputs of a step from what the host knows, ``[4, R]``."""
    values = []
    for page, each in zip(pages, places, strict=True):
        for slot, place in enumerate(each, page.log.end):
            row = page.rows[place]
            values.append((row.result.tokens[-1], row.position, slot, place))
    return torch.tensor(values).T.contiguous()


def _gains(places: Sequence[Sequence[int]]) -> Tensor:
    """Count what position and slot of each row go up by with each step, ``[2, R]``."""
    return torch.tensor([(1, len(each)) for each in places for _ in each]).T.contiguous()
