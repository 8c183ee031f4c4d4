"""The training loop: steps, schedule, several workers, and a checkpoint from which it goes on as if never stopped.

What a step sees is a pure function of its number, so a checkpoint needs no state of data or random numbers.
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
    """Something that can be trained step by step."""

    @property
    def module(self) -> nn.Module:
        """Holds everything that belongs into a checkpoint."""

    @property
    def optimizers(self) -> Sequence[torch.optim.Optimizer]:
        """Over the parameters that learn; their learning rates are the highest of the schedule."""

    @property
    def steps(self) -> int:
        """Number of steps."""

    @property
    def accumulation_steps(self) -> int:
        """Forward passes a step and worker; their gradients are averaged."""

    @property
    def max_grad_norm(self) -> float:
        """Gradients are scaled down to this norm."""

    def rate(self, step: int) -> float:
        """Share of the learning rates at a step, in 0..1."""

    def loss(self, step: int, part: int) -> tuple[Tensor, Figures]:
        """Loss of one part of a step's batch, and figures to show; depends on parameters, step and part alone."""


def train(task: Task, first: int, after: Callable[[int, Figures], bool], worker: int = 0, workers: int = 1) -> None:
    """Run the steps ``first`` .. ``task.steps - 1``.

    Args:
        task: what is trained.
        first: 0, or what :func:`load_checkpoint` gave.
        after: called after every step with the number of steps done and this worker's mean figures; true stops.
        worker: this worker's number; worker w takes the parts p with p % workers == w.
        workers: how many there are; more than one need an initialised ``torch.distributed``.

    Raises:
        DivergedError: a gradient is not finite.
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
                f"the gradient of step {step + 1} is {norm}; expected a finite number. The step was not taken and the "
                "last checkpoint is as it was; go on from it with a lower learning rate"
            )
        for optimizer in task.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        if after(step + 1, {name: sum(values) / len(values) for name, values in sums.items()}):
            return


def cosine(step: int, steps: int, warm_up: float) -> float:
    """Linear warm-up over a share of the steps, then a half cosine down to zero."""
    rising = max(1.0, warm_up * steps)
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1.0 + math.cos(math.pi * (step - rising) / max(1.0, steps - rising)))


def flat_then_linear(step: int, steps: int, warm_up: int, decay: int) -> float:
    """Linear warm-up over some steps, constant, then linear to zero over the last ``decay`` steps."""
    return min(1.0, (step + 1) / max(1, warm_up), (steps - step) / max(1, decay))


def save_checkpoint(path: Path, task: Task, step: int) -> None:
    """Write module and optimisers after ``step`` steps; a crash leaves the old checkpoint."""
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
    """Restore module and optimisers; the number of steps done, 0 where there is no checkpoint."""
    if not path.is_file():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    task.module.load_state_dict(state["module"])
    for optimizer, saved in zip(task.optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    return int(state["step"])


def _marked(task: Task) -> Sequence[torch.optim.Optimizer]:
    """The optimisers, each group with the rate it was made with, which a checkpoint brings back."""
    for optimizer in task.optimizers:
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
    return task.optimizers


def _average(parameters: Sequence[nn.Parameter], workers: int) -> None:
    """Average the gradients of all workers. Few parameters learn here, so nothing is gained by overlapping it."""
    for parameter in parameters:
        if parameter.grad is None:  # every worker has to take part in every reduction
            parameter.grad = torch.zeros_like(parameter)
        dist.all_reduce(parameter.grad)
        parameter.grad /= workers
