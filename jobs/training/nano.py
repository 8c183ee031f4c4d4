"""Does the work of ``docpipe train nano``: trains the embedded model from random weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.training.fit import CHECKPOINT, fit

if TYPE_CHECKING:
    from pipeline.nano.training.task import NanoTask


def make_task(settings: dict[str, Any], workers: int, device: str) -> NanoTask:
    """Make the task in a worker."""
    import torch

    from pipeline.nano.training.task import NanoTask

    return NanoTask(settings["seed"], torch.device(device))


def train_nano(out: Path, seed: int, gpu: bool, threads: int | None, show: Callable[[str], Any]) -> Path:
    """Start or resume training, write the checkpoint folder and return its path.

    Args:
        out: folder of the training state; the model goes to ``base/`` below it.
        seed: seed of weights and data.
        gpu: true to train on GPUs, false to train on CPUs.
        threads: CPU threads; ``None`` takes all.
        show: function that prints a line.

    Raises:
        EngineError: a worker failed.
    """
    fit(make_task, {"seed": seed}, out, gpu, show, threads)
    import torch

    from glimpseprune.training.trainer import load_checkpoint
    from pipeline.nano.training.export import export
    from pipeline.nano.training.task import NanoTask

    task = NanoTask(seed, torch.device("cpu"))
    load_checkpoint(out / CHECKPOINT, task)
    export(task.module.model, out / "base")
    return out / "base"
