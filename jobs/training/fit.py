"""Trains under Ray Train, with one worker on CPUs or one per GPU; tasks do not know Ray."""

from __future__ import annotations

import csv
import io
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.ray_session import cluster, ray_session
from pipeline.errors import EngineError
from pipeline.families.registry import register_family, registered_families

if TYPE_CHECKING:
    from glimpseprune.training.trainer import Figures, Task

CHECKPOINT = "checkpoint.pt"
CURVE = "curve.csv"
_SAVE_SECONDS = 120.0
_SHOWN = 200  # times per run that the curve is written and shown
_LOOK_SECONDS = 2.0


def fit(
    make_task: Callable[[Any, int, str], Task],
    settings: Any,
    out: Path,
    gpu: bool,
    show: Callable[[str], Any],
    threads: int | None = None,
) -> None:
    """Train until done; the same call on the same folder continues where the last one stopped.

    Args:
        make_task: module-level function that makes the task in a worker, from settings, number of workers and device.
        settings: settings of the task, as plain data.
        out: folder for the checkpoint, ``curve.csv`` (one row per step) and TensorBoard files, seen by every worker.
        gpu: true for one worker per GPU, false for one worker on all CPUs.
        show: function that prints a line of progress.
        threads: CPU threads per worker; ``None`` takes its share of all CPUs.

    Raises:
        EngineError: a worker failed; the checkpoint stays.
    """
    out = out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("RAY_TRAIN_ENABLE_PRINT_PATCH", "0")
    with ray_session(None):
        from ray.train import RunConfig, ScalingConfig, TrainingFailedError
        from ray.train.torch import TorchTrainer

        cpus, gpus, _ = cluster()
        workers = int(gpus) if gpu else 1
        threads = threads or max(1, int(cpus) // workers)
        trainer = TorchTrainer(
            train_worker,
            train_loop_config={
                "task": make_task,
                "settings": settings,
                "out": str(out),
                "threads": threads,
                "families": registered_families(),
            },
            scaling_config=ScalingConfig(
                num_workers=workers, use_gpu=gpu, resources_per_worker={"CPU": threads, **({"GPU": 1} if gpu else {})}
            ),
            run_config=RunConfig(storage_path=str(out / "ray")),
        )
        try:
            with _followed(out / CURVE, show):
                trainer.fit()
        except TrainingFailedError as error:
            raise EngineError(
                f"training failed; run the same command again to continue from {out / CHECKPOINT}\n{_cause(error)}"
            ) from error


def train_worker(config: dict[str, Any]) -> None:
    """Train in one worker of Ray Train."""
    import ray.train
    import torch
    from ray.train.torch import get_device

    from glimpseprune.training.trainer import load_checkpoint, save_checkpoint, train

    for model_type, module_path in config["families"].items():
        register_family(model_type, module_path)
    context = ray.train.get_context()
    worker, workers = context.get_world_rank(), context.get_world_size()
    torch.set_num_threads(config["threads"])
    task: Task = config["task"](config["settings"], workers, str(get_device()))
    out = Path(config["out"])
    first = load_checkpoint(out / CHECKPOINT, task)
    every = max(1, task.steps // _SHOWN)
    curve = Curve(out, first) if worker == 0 else None
    saved = time.monotonic()

    def after(step: int, figures: Figures) -> bool:
        nonlocal saved
        if curve is not None:
            curve.add(step, figures)
            if step % every == 0 or step == task.steps:
                curve.flush()
            if step == task.steps or time.monotonic() - saved > _SAVE_SECONDS:
                save_checkpoint(out / CHECKPOINT, task, step)
                saved = time.monotonic()
        return False

    try:
        train(task, first, after, worker, workers)
    finally:
        if curve is not None:
            curve.close()


class Curve:
    """Writes ``curve.csv`` and TensorBoard files; rows after the checkpoint that a run resumes from are dropped.

    Args:
        folder: folder of the run.
        first: number of steps done before.
    """

    def __init__(self, folder: Path, first: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.path = folder / CURVE
        self.rows: list[dict[str, Any]] = []
        if first and self.path.is_file():
            with self.path.open(newline="", encoding="utf-8") as file:
                self.rows = [row for row in csv.DictReader(file) if int(row["step"]) <= first]
        self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=first + 1)

    def add(self, step: int, figures: Figures) -> None:
        """Add the figures after a step."""
        self.rows.append({"step": step, **figures})
        for name, value in figures.items():
            self.board.add_scalar(name, value, step)

    def flush(self) -> None:
        """Rewrite the file in one step; columns that a step lacks are left empty."""
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, names, restval="")
        writer.writeheader()
        writer.writerows(self.rows)
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(text.getvalue(), encoding="utf-8")
        os.replace(temporary, self.path)

    def close(self) -> None:
        """Write what is left, and close the files."""
        self.flush()
        self.board.close()


@contextmanager
def _followed(path: Path, show: Callable[[str], Any]) -> Iterator[None]:
    """Show the last row of the curve whenever it grows, since Ray runs its callbacks in another process."""
    done = threading.Event()
    shown = _last_row(path)

    def look() -> None:
        nonlocal shown
        over = False
        while not over:
            over = done.wait(_LOOK_SECONDS)
            row = _last_row(path)
            if row and row != shown:
                show(" ".join(f"{name}={float(value):g}" for name, value in row.items() if value != ""))
                shown = row

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _last_row(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return dict(next(iter(deque(csv.DictReader(file), maxlen=1)), {}))


def _cause(error: BaseException) -> str:
    """Return the last line of the worker's error."""
    return str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
