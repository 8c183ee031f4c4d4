"""A cluster that wants to know who asks: a refusal is one sentence, and the token is told nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import pytest

from jobs.cluster.submit import job_status, stop_job
from pipeline.errors import EngineError
from tests.support.http_server import served

TOKEN = "0123456789abcdef" * 4


class Guarded(BaseHTTPRequestHandler):
    """A head of Ray that refuses everybody."""

    asked: list[str | None] = []

    def do_GET(self) -> None:
        self.asked.append(self.headers.get("Authorization"))
        body = b"Unauthorized: Missing or invalid authentication token"
        self.send_response(401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def head(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    Guarded.asked = []
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    with served(Guarded) as address:
        yield address


def test_a_head_that_refuses_is_a_sentence_without_the_token(
    head: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    for ask in (job_status, stop_job):
        with pytest.raises(EngineError, match=f"^Ray at {head}: ") as refused:
            ask("raysubmit_1", head)
        assert TOKEN not in str(refused.value)
    assert Guarded.asked
    assert TOKEN not in "".join(capfd.readouterr())
