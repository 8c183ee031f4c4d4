"""Runs on a cluster: submitted through Ray's Jobs API, followed, looked at and stopped."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import fsspec
from fsspec.utils import get_protocol

from jobs import exit_codes
from jobs.settings import RunSettings
from pipeline.checkpoints import NANO
from pipeline.errors import EngineError, UsageError

JOB_VARIABLE = "DOCPIPE_JOB"
_POLL_SECONDS = 2.0
_AGENT_SECONDS = 60.0
_NO_AGENT = "No available agent"


def submit_and_follow(run: RunSettings) -> int:
    """Submit a run to the cluster at ``run.address``; follow its log unless ``run.detach``.

    Settings and questions travel inside the submission; the cluster's machines need docpipe and access to input and
    output.

    Returns:
        The exit code of the run; 0 when detached.

    Raises:
        UsageError: a local path would not mean the same there.
        EngineError: the cluster cannot be reached or refuses.
    """
    if run.address is None:
        raise UsageError("--address is required to submit a run")
    if not run.shared_fs:
        _refuse_local_paths(run)
    client = _client(run.address)
    inner = run.model_copy(update={"address": None, "detach": False})
    with fsspec.open(run.questions, "rt", encoding="utf-8") as file:
        payload = {"settings": inner.model_dump(mode="json"), "questions": file.read()}
    job = _submit(client, run.address, json.dumps(payload))
    hint = f"docpipe logs|status|stop {job} --address {run.address}"
    sys.stderr.write(f"submitted as {job}; {hint}\n")
    return exit_codes.DONE if run.detach else follow(job, run.address)


def _submit(client: Any, address: str, payload: str) -> str:
    """Submit the job; a cluster whose agents are still starting is waited for."""
    name = f"docpipe-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    deadline = time.monotonic() + _AGENT_SECONDS
    while True:
        try:
            job: str = client.submit_job(
                entrypoint="python -m jobs.submitted",
                submission_id=name,
                runtime_env={"env_vars": {JOB_VARIABLE: payload}},
            )
        except RuntimeError as error:
            if _NO_AGENT not in str(error) or time.monotonic() > deadline:
                raise EngineError(f"{address} refuses the job: {error}") from error
            time.sleep(_POLL_SECONDS)
        else:
            return job


def follow(job: str, address: str) -> int:
    """Copy the log of a job to standard output until it ends; its exit code. Ctrl-C leaves the job running."""
    client = _client(address)

    async def copy() -> None:
        async for text in client.tail_job_logs(job):
            sys.stdout.write(text)
            sys.stdout.flush()

    try:
        asyncio.run(copy())
        while not _info(client, job).status.is_terminal():  # the log can end before the job does
            time.sleep(_POLL_SECONDS)
    except KeyboardInterrupt:
        sys.stderr.write(f"detached; the run goes on: docpipe logs {job} --address {address}\n")
        return exit_codes.DONE
    info = _info(client, job)
    code = info.driver_exit_code
    return int(code) if code is not None else exit_codes.ENGINE


def job_status(job: str, address: str) -> str:
    """One line about a job."""
    info = _info(_client(address), job)
    return f"{job}: {info.status}" + (f", {info.message}" if info.message else "")


def stop_job(job: str, address: str) -> str:
    """Ask a job to stop; what it committed stays."""
    client = _client(address)
    _info(client, job)
    asked = client.stop_job(job)
    return f"{job}: asked to stop" if asked else f"{job}: has ended already"


def _info(client: Any, job: str) -> Any:
    try:
        return client.get_job_info(job)
    except RuntimeError as error:
        raise UsageError(f"no job {job} there: {error}") from error


def _client(address: str) -> Any:
    elsewhere = os.environ.get("RAY_ADDRESS")
    if elsewhere and elsewhere != address:  # Ray would follow the variable without a word
        raise UsageError(f"RAY_ADDRESS is {elsewhere}, --address is {address}; unset one")
    from ray.job_submission import JobSubmissionClient

    try:
        return JobSubmissionClient(address)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise EngineError(f"no cluster answers at {address}: {error}") from error


def _refuse_local_paths(run: RunSettings) -> None:
    places = [("--input", given) for given in run.input] + [("--output", run.output)]
    places += [
        (flag, name)
        for flag, name in (("--model", run.model), ("--glimpse", run.glimpse))
        if name is not None and name != NANO and Path(name).expanduser().exists()
    ]
    for flag, place in places:
        if flag in ("--model", "--glimpse") or get_protocol(place) in ("file", "local"):
            raise UsageError(
                f"{flag} {place} is a local path, and the run goes to {run.address}; use a URI that the cluster can "
                "read, or --shared-fs if the path means the same there"
            )
