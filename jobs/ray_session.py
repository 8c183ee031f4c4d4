"""Starts a Ray for this run, or connects to the cluster that this process runs in."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from jobs.interrupts import interruptible
from pipeline.errors import EngineError


@contextmanager
def ray_session(address: str | None) -> Iterator[None]:
    """Start a local Ray, or connect to the cluster that this process runs in.

    If Ray is already initialised in this process, it is used and left as it is. The session folder of a local Ray is
    deleted at the end, unless the run fails with an :class:`EngineError`, whose reason is in its logs.

    Args:
        address: ``None`` for a local Ray, ``auto`` for the cluster.

    Raises:
        EngineError: Ray does not start.
    """
    os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"  # under `uv run`, every worker would run uv
    # Ray Data starts actors in a way that makes Ray's core print an "error" on every run; Python's messages still show.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import pyarrow as pa
    import ray

    pa.array([0]).to_pandas()  # pyarrow looks for pandas again, which Ray Data needs and a run has left out until now
    if ray.is_initialized():
        yield
        return
    local: dict[str, Any] = {} if address else {"include_dashboard": False}
    try:
        with _no_stderr():  # the core reports there that it applies the variable above
            context = ray.init(address=address or "local", log_to_driver=False, logging_level="ERROR", **local)
    except Exception as error:  # Ray raises just this class where a node is not up in time
        raise EngineError(f"Ray does not start: {error}") from error
    _errors_only_on_the_console()
    keep = address is not None
    try:
        with interruptible():
            yield
    except EngineError:
        keep = True
        raise
    finally:
        ray.shutdown()
        if not keep:
            _delete_session(Path(context.address_info["session_dir"]))


def cluster() -> tuple[float, float, int]:
    """Return the number of CPUs and GPUs, and the task memory in bytes, of the running Ray."""
    import ray

    total: dict[str, Any] = ray.cluster_resources()
    return float(total.get("CPU", 0)), float(total.get("GPU", 0)), int(total.get("memory", 0))


def nodes_with(resource: str) -> list[str]:
    """List the ids of the nodes of the running Ray that have some of a resource.

    Args:
        resource: ``CPU`` or ``GPU``.
    """
    import ray

    return [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get(resource, 0)]


def _delete_session(folder: Path) -> None:
    """Delete the folder of a session that has ended, and the link that calls it the latest."""
    shutil.rmtree(folder, ignore_errors=True)
    latest = folder.parent / "session_latest"
    with suppress(OSError):  # no such link, or another session replaces it
        if latest.readlink() == folder:
            latest.unlink()


@contextmanager
def _no_stderr() -> Iterator[None]:
    """Discard what native code writes to standard error."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _errors_only_on_the_console() -> None:
    """Silence Ray Data's plan and progress on the console; its log in Ray's session folder keeps them."""
    import ray.data  # sets its logging up
    from ray._private.log import PlainRayHandler

    for handler in logging.getLogger(ray.data.__name__).handlers:
        if isinstance(handler, PlainRayHandler):
            handler.setLevel(logging.ERROR)
