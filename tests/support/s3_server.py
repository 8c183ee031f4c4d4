"""A real S3 server on loopback, which refuses as many calls as a test says, and counts them."""

from __future__ import annotations

import random
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import fsspec
import pytest
from botocore.retries.standard import ExponentialBackoff
from moto.core.base_backend import BackendDict
from moto.server import DomainDispatcherApplication, create_backend_app
from s3fs import S3FileSystem
from werkzeug.serving import WSGIRequestHandler, make_server

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}
_BODY = "<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
_REFUSALS = {
    "503 Slow Down": ("SlowDown", "Please reduce your request rate."),
    "500 Internal Server Error": ("InternalError", "We encountered an internal error. Please try again."),
    "403 Forbidden": ("AccessDenied", "Access Denied"),
}
_Start = Callable[..., Any]


def use_server(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have s3:// mean this server, here and in processes that are started, with pauses that take no time here."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(ExponentialBackoff, "delay_amount", lambda *_: 0.001)
    S3FileSystem.clear_instance_cache()


def few_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up after two tries, as a user may want by the configuration of fsspec."""
    config = {"config_kwargs": {"retries": {"mode": "standard", "total_max_attempts": 2}}}
    monkeypatch.setitem(fsspec.config.conf, "s3", config)
    monkeypatch.setattr(S3FileSystem, "retries", 1)
    S3FileSystem.clear_instance_cache()


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: Any) -> None:
        """Say nothing."""


@dataclass
class S3Server:
    """What a test changes of the server, and what it saw.

    Attributes:
        url: its address.
        share: share of the calls that are refused, in 0..1.
        refused: number of refused calls, by status.
        served: number of calls that were answered.
        statuses: statuses of refusals, in turn.
        done_anyway: whether a refused call is carried out all the same, as when an answer is lost.
        only: pattern of the calls that may be refused, written as ``PUT /bucket/key``.
    """

    url: str = ""
    share: float = 0.0
    refused: Counter[str] = field(default_factory=Counter)
    served: Counter[str] = field(default_factory=Counter)
    statuses: tuple[str, ...] = ("503 Slow Down", "500 Internal Server Error")
    done_anyway: bool = False
    only: str = ""
    _random: random.Random = field(default_factory=lambda: random.Random(5))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def environment(self) -> dict[str, str]:
        """Variables that make ``s3://`` mean this server."""
        return {**CREDENTIALS, "AWS_ENDPOINT_URL": self.url, "AWS_EC2_METADATA_DISABLED": "true"}

    def refuses(self, call: str) -> str | None:
        """Return the status of a refusal, ``None`` for a call that is served."""
        with self._lock:
            if not re.search(self.only, call) or self._random.random() >= self.share:
                self.served[call.split()[0]] += 1
                return None
            status = self.statuses[self.refused.total() % len(self.statuses)]
            self.refused[status] += 1
            return status


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Serve S3 on a free port of loopback until the context ends."""
    BackendDict.reset()  # what an earlier server of this process held
    real = DomainDispatcherApplication(create_backend_app)
    state = S3Server()

    def faulty(environ: dict[str, Any], start: _Start) -> Iterable[bytes]:
        status = state.refuses(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
        if status is None:
            return real(environ, start)
        if state.done_anyway:
            list(real(environ, lambda *_: lambda data: None))
        else:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        code, message = _REFUSALS[status]
        body = b"" if environ["REQUEST_METHOD"] == "HEAD" else _BODY.format(code=code, message=message).encode()
        start(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
        return [body]

    server = make_server("127.0.0.1", 0, faulty, threaded=True, request_handler=_Quiet)
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def s3_bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """Serve an empty ``s3://bucket`` until the context ends."""
    with s3_server() as server:
        use_server(server, monkeypatch)
        S3FileSystem().mkdir("bucket")
        server.served.clear()
        yield server
