"""Trains a task on one or several workers, and resumes from a checkpoint with the same results.

The batch and the random numbers of a step follow from its number. A checkpoint therefore needs neither a position in
the data nor the state of a random generator.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn

from glimpseprune.errors import DivergedError

Figures = dict[str, float]


class Task(Protocol):
    """Defines what is trained, and on which schedule."""

    @property
    def module(self) -> nn.Module:
        """Module with all parameters and buffers of a checkpoint."""

    @property
    def optimizers(self) -> Sequence[torch.optim.Optimizer]:
        """Optimisers of the parameters that learn, with the peak learning rates of the schedule."""

    @property
    def steps(self) -> int:
        """Number of steps."""

    @property
    def accumulation_steps(self) -> int:
        """Number of forward passes per step and worker, whose gradients are averaged."""

    @property
    def max_grad_norm(self) -> float:
        """Largest norm of the gradients, to which longer ones are scaled down."""

    def rate(self, step: int) -> float:
        """Return the share of the peak learning rates at a step, in 0..1."""

    def loss(self, step: int, part: int) -> tuple[Tensor, Figures]:
        """Compute the loss of one part of a step's batch, and figures to show.

        The result depends only on the parameters and the arguments.

        Args:
            step: number of the step, from 0.
            part: number of the part, from 0 to ``accumulation_steps`` times the number of workers minus 1.
        """


def train(task: Task, first: int, after: Callable[[int, Figures], bool], worker: int = 0, workers: int = 1) -> None:
    """Train from step ``first`` to the last.

    Args:
        task: task to train.
        first: number of steps done before, 0 or the result of :func:`load_checkpoint`.
        after: function called after every step with the number of steps done and this worker's mean figures; training
            stops if it returns true.
        worker: number of this worker, from 0; it takes every part p with ``p % workers == worker``.
        workers: number of workers; more than one need an initialised ``torch.distributed``.

    Raises:
        DivergedError: the norm of the gradients is not finite.
    """
    peaks = [[float(group["initial_lr"]) for group in optimizer.param_groups] for optimizer in _marked(task)]
    parameters = [p for optimizer in task.optimizers for group in optimizer.param_groups for p in group["params"]]
    for step in range(first, task.steps):
        for optimizer, rates in zip(task.optimizers, peaks, strict=True):
            for group, peak in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = peak * task.rate(step)
        sums: dict[str, list[float]] = {}
        for part in range(task.accumulation_steps):
            loss, figures = task.loss(step, part * workers + worker)
            (loss / task.accumulation_steps).backward()  # type: ignore[no-untyped-call]
            for name, value in {"loss": float(loss.detach()), **figures}.items():
                sums.setdefault(name, []).append(value)
        if workers > 1:
            _average(parameters, workers)
        norm = float(nn.utils.clip_grad_norm_(parameters, task.max_grad_norm))
        if not math.isfinite(norm):
            raise DivergedError(
                f"expected a finite gradient at step {step + 1}, found {norm}. The step was not taken and the last "
                "checkpoint is unchanged; resume from it with a lower learning rate"
            )
        for optimizer in task.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        if after(step + 1, {name: sum(values) / len(values) for name, values in sums.items()}):
            return


def cosine(step: int, steps: int, warm_up: float) -> float:
    """Compute a schedule that rises linearly and then falls to zero along half a cosine.

    Args:
        step: number of the step, from 0.
        steps: number of steps in all.
        warm_up: share of the steps that rise, in 0..1.

    Returns:
        Share of the peak learning rate, in 0..1.
    """
    rising = max(1.0, warm_up * steps)
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1.0 + math.cos(math.pi * (step - rising) / max(1.0, steps - rising)))


def save_checkpoint(path: Path, task: Task, step: int) -> None:
    """Write a checkpoint of module and optimisers in one step, so that a crash keeps the old one.

    Args:
        path: file of the checkpoint.
        task: task in training.
        step: number of steps done.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    state: dict[str, Any] = {
        "step": step,
        "module": task.module.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in task.optimizers],
    }
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    os.replace(temporary, path)


def load_checkpoint(path: Path, task: Task) -> int:
    """Restore module and optimisers, and return the number of steps done, 0 without a checkpoint."""
    if not path.is_file():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    task.module.load_state_dict(state["module"])
    for optimizer, saved in zip(task.optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    return int(state["step"])


def _marked(task: Task) -> Sequence[torch.optim.Optimizer]:
    """Note in each group of parameters its peak learning rate, which then survives in checkpoints."""
    for optimizer in task.optimizers:
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
    return task.optimizers


def _average(parameters: Sequence[nn.Parameter], workers: int) -> None:
    """Average the gradients of all workers; so few parameters learn that overlap would gain nothing."""
    for parameter in parameters:
        if not parameter.requires_grad:  # rests for now
            continue
        if parameter.grad is None:  # since every worker must take part in every reduction
            parameter.grad = torch.zeros_like(parameter)
        dist.all_reduce(parameter.grad)
        parameter.grad /= workers
