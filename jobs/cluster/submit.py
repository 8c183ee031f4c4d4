"""Submits runs to a cluster through the Ray Jobs API, and follows, queries and stops them by job id."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from jobs import exit_codes
from jobs.cluster.payload import ENVIRONMENT_VARIABLE, pack
from jobs.cluster.runtime import runtime_env
from jobs.settings import RunSettings
from pipeline.errors import EngineError, UsageError
from pipeline.file_names import ROOT_MARK, local_input, without_password
from pipeline.pages.apart import check_apart
from pipeline.pages.passwords import PasswordPlaces, read_places
from pipeline.questions.file import QuestionSet

Say = Callable[[str], Any]
_POLL_SECONDS = 1.0
_AGENT_SECONDS = 60.0
_CONNECT_SECONDS = 5.0
_REASON_LETTERS = 1500
_NO_AGENT = "No available agent"
_OVERRIDES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")


def submit(run: RunSettings, questions: QuestionSet, address: str) -> str:
    """Submit a run to a cluster; settings, questions and where passwords lie travel inside the submission.

    Passwords themselves do not, since Ray shows and logs what travels.

    Args:
        run: settings of the run.
        questions: questions to ask, whose file need not exist on the cluster.
        address: ``auto`` or ``http://head:8265``.

    Returns:
        The job id.

    Raises:
        UsageError: a local path would mean something else on the cluster, the password file is wrong, the submission is
            too large, or the wheel is not there.
        EngineError: the cluster cannot be reached or refuses.
    """
    check_apart(run.input, run.output)
    travelling, places = _travelling(run), _travelling_places(run)
    payload = pack(travelling, questions, places)
    with TemporaryDirectory(prefix="docpipe-") as folder:
        environment = {} if run.wheel is None else runtime_env(run.wheel, Path(folder))
        with _explained(address):
            return _submit(_client(address), {**environment, "env_vars": {ENVIRONMENT_VARIABLE: payload}})


def _submit(client: Any, environment: dict[str, Any]) -> str:
    """Submit the job, and wait if the cluster's agents are still starting."""
    deadline = time.monotonic() + _AGENT_SECONDS
    while True:
        try:
            # No entrypoint_num_cpus and the like: with any of them, Ray may place the driver off the head node.
            job: str = client.submit_job(
                entrypoint="python -m jobs.cluster.payload",
                runtime_env=environment,
            )
        except RuntimeError as error:
            if _NO_AGENT not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(_POLL_SECONDS)
        else:
            return job


def follow(job: str, address: str, say: Say) -> int:
    """Pass on the log of a job until it ends.

    Args:
        job: result of :func:`submit`.
        address: Jobs API of the cluster, or ``auto``.
        say: function that receives pieces of the log, line ends included.

    Returns:
        The exit code of the run.

    Raises:
        EngineError: the cluster cannot be reached, or knows no such job.
        KeyboardInterrupt: the user stops following; the job continues.
    """
    with _explained(address):
        client = _client(address)

        async def tail() -> None:
            async for piece in client.tail_job_logs(job):
                say(piece)

        client.get_job_info(job)
        asyncio.run(tail())
        while not client.get_job_status(job).is_terminal():  # the log ends a little before the job does
            time.sleep(_POLL_SECONDS)
        info = client.get_job_info(job)
        if _never_began(info):  # so that no log tells why
            say(f"docpipe: {job}: {_reason(info)}\n")
        return _exit_code(info)


def job_status(job: str, address: str) -> str:
    """Describe the state of a job in one line.

    Args:
        job: id of the submitted job.
        address: Jobs API of the cluster, or ``auto``.

    Raises:
        EngineError: the cluster cannot be reached, or knows no such job.
    """
    with _explained(address):
        info = _client(address).get_job_info(job)
        code = "" if info.driver_exit_code is None else f", exit code {info.driver_exit_code}"
        reason = f", {_reason(info)}" if _never_began(info) else ""
        return f"{job}: {info.status.value.lower()}{code}{reason}"


def stop_job(job: str, address: str) -> str:
    """Ask a job to stop, as Ctrl-C would, and describe the result in one line.

    Args:
        job: id of the submitted job.
        address: Jobs API of the cluster, or ``auto``.

    Raises:
        EngineError: the cluster cannot be reached, or knows no such job.
    """
    with _explained(address):
        running = _client(address).stop_job(job)
    return f"{job}: stopping; the same run resumes" if running else f"{job}: has already ended"


def _client(address: str) -> Any:
    override = next((name for name in _OVERRIDES if os.environ.get(name)), None)
    if address != "auto" and override is not None and os.environ[override] != address:
        raise UsageError(
            f"Ray would use {override}={os.environ[override]} from the environment instead of --address {address}; "
            "unset one of them"
        )
    if override is None and address == "auto":
        _check_running()
    from ray.job_submission import JobSubmissionClient

    return JobSubmissionClient(address)


def _check_running() -> None:
    """Refuse the Ray that ``auto`` stands for if it has ended: Ray notes where it ran, and would wait for it."""
    from ray._private import services

    found = services.canonicalize_bootstrap_address_or_die("auto")
    host, _, port = found.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        raise ConnectionError(
            f"expected a running Ray, found nothing at {found}, where the last one ran ({error}); start one with "
            "`ray start --head`, or name another with --address http://head:8265"
        ) from error


@contextmanager
def _explained(address: str) -> Iterator[None]:
    """Turn the client's plain exceptions into :class:`EngineError`, keeping their messages."""
    from ray.exceptions import RayError

    try:
        yield
    except (RayError, RuntimeError, ConnectionError, ValueError, OSError) as error:
        raise EngineError(f"Ray at {address}: {error}") from error


def _never_began(info: Any) -> bool:
    """Tell whether a job failed before its program ran: its environment could not be made, or no node took it."""
    return bool(info.status.value == "FAILED" and info.driver_exit_code is None)


def _reason(info: Any) -> str:
    """Return the end of what Ray says of a job, in which the innermost error stands."""
    return " ".join((info.message or "Ray gives no reason").split())[-_REASON_LETTERS:]


def _exit_code(info: Any) -> int:
    if info.status.value == "STOPPED":
        return exit_codes.INTERRUPTED
    if info.status.value == "SUCCEEDED":
        return exit_codes.DONE
    code = info.driver_exit_code
    return int(code) if code is not None and code > 0 else exit_codes.ENGINE


def _travelling(run: RunSettings) -> RunSettings:
    """Return the settings for the cluster: local paths become absolute, and are refused unless they are shared."""
    choice = run.choice
    paths = {
        "input": run.input,
        "output": (run.output,),
        "calibration": () if run.calibration is None else (run.calibration,),
        "model": (choice.model,) if _is_folder(choice.model) else (),
        "glimpse": (choice.glimpse,) if choice.glimpse is not None and _is_folder(choice.glimpse) else (),
    }
    changed: dict[str, Any] = {"address": None, "detach": False, "shared_fs": False, "wheel": None}
    # These need not exist there, but recorded commands name them.
    if run.questions is not None:
        changed["questions"] = _absolute(run.questions)
    if run.schema_ is not None:
        from pipeline.questions.schema_source import is_model

        changed["schema_"] = run.schema_ if is_model(run.schema_) else _absolute(run.schema_)
    changed |= {"password_file": None if run.password_file is None else _absolute(run.password_file)}
    named: dict[str, str] = {}
    for flag, given in paths.items():
        secret = next((path for path in given if without_password(path) != path), None)
        if secret is not None:
            raise UsageError(
                f"--{flag} {without_password(secret)}: there is a password in it, which Ray would show and log; leave "
                "it out, and give it to fsspec where Ray is started, as FSSPEC_SFTP_PASSWORD for sftp://"
            )
        local = [path for path in given if _is_local(path)]
        if local and not run.shared_fs:
            raise UsageError(
                f"--{flag} {local[0]} is a path of this machine, which the cluster may not have; use a URI such as "
                "s3://, or add --shared-fs if the path means the same on every node"
            )
        if given:
            whole = tuple(_absolute(path) if path in local else path for path in given)
            if flag in ("model", "glimpse"):
                named[flag] = whole[0]
            else:
                changed[flag] = whole if flag == "input" else whole[0]
    return run.model_copy(update={**changed, "choice": choice.model_copy(update=named)})


def _travelling_places(run: RunSettings) -> PasswordPlaces | None:
    """Say where passwords lie, for the cluster; files of this machine are refused unless they are shared."""
    if run.password_file is None:
        return None
    places = read_places(run.password_file)
    for glob, place in places.by_glob.items():
        if place.file is not None and not run.shared_fs:
            raise UsageError(
                f"--password-file {run.password_file}: {glob}: {place.file} is a file of this machine, which the "
                "cluster may not have; use {env: NAME}, with the variable set where Ray is started on the head, or add "
                "--shared-fs if the path means the same on every node"
            )
    return places


def _is_local(path: str) -> bool:
    return local_input(path) is not None


def _absolute(path: str) -> str:
    """Return the absolute form of an address; one that says where the path below it begins still does."""
    local = local_input(path)
    if local is None:
        return path
    above, mark, below = local.rpartition(ROOT_MARK)
    return f"{os.path.abspath(above)}{mark}{below}" if mark else os.path.abspath(local)


def _is_folder(name: str) -> bool:
    return Path(name).expanduser().is_dir()
