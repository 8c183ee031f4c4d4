"""How good answers are: by a metric, or by a judge behind an API."""

from __future__ import annotations

import json
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from pipeline.datasets.example import Example
from pipeline.errors import EngineError
from pipeline.training.judge import KEY, Judge
from pipeline.training.quality import RewardName, metric_grader
from tests.support.http_server import served

TOTAL = Example(Path("a.pdf"), 1, "total", "What is the total?", ("EUR 1,250.00", "1250 EUR"), (), type="money")


@pytest.mark.parametrize(
    ("name", "grades"), [("exact", [1.0, 0.0, 0.0]), ("anls", [1.0, 10 / 12, 0.0]), ("typed", [1.0, 1.0, 0.0])]
)
def test_a_metric_grades_each_answer(name: RewardName, grades: list[float]) -> None:
    answers = ["EUR 1,250.00", "EUR 1250.00", "n/a"]
    assert metric_grader(name)([(TOTAL, answer) for answer in answers]) == pytest.approx(grades, abs=0.1)


class TestJudge:
    def test_is_asked_once_about_each_different_answer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[tuple[str | None, Any]] = []

        class Handler(_Handler):
            def reply(self, body: Any) -> str:
                asked.append((self.headers["Authorization"], body))
                return " 1.0\n" if "Answer: right" in body["messages"][0]["content"] else "0.25"

        monkeypatch.setenv(KEY, "secret")
        other = replace(TOTAL, question="Who?")
        with served(Handler) as url:
            graded = [(TOTAL, "right"), (TOTAL, "wrong"), (TOTAL, "right"), (other, "wrong")]
            assert Judge(f"{url}/v1/", "judge-7b")(graded) == [1.0, 0.25, 1.0, 0.25]
        assert len(asked) == 3
        assert {(key, body["model"], body["temperature"]) for key, body in asked} == {("Bearer secret", "judge-7b", 0)}
        told = sorted(body["messages"][0]["content"] for _, body in asked)
        assert "Question: What is the total?\nRight answers: EUR 1,250.00 | 1250 EUR\nAnswer: right" in told[0]

    def test_is_asked_again_where_it_is_busy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("pipeline.training.judge._WAIT_SECONDS", 0.0)
        calls = iter([503, 429, 200])

        class Handler(_Handler):
            def status(self) -> int:
                return next(calls)

            def reply(self, body: Any) -> str:
                return "1"

        with served(Handler) as url:
            assert Judge(f"{url}/v1", "m")([(TOTAL, "a")]) == [1.0]

    @pytest.mark.parametrize(
        ("status", "reply", "told"),
        [
            (200, "quite good", "expected a number from 0 to 1, found 'quite good'"),
            (401, "1", "HTTPError.*401.*" + KEY),
        ],
    )
    def test_what_it_cannot_grade_ends_the_training(self, status: int, reply: str, told: str) -> None:
        class Handler(_Handler):
            def status(self) -> int:
                return status

            def reply(self, body: Any) -> str:
                return reply

        with served(Handler) as url, pytest.raises(EngineError, match=told):
            Judge(f"{url}/v1", "m")([(TOTAL, "a")])


class _Handler(BaseHTTPRequestHandler):
    def status(self) -> int:
        return 200

    def reply(self, body: Any) -> str:
        raise NotImplementedError

    def do_POST(self) -> None:
        assert self.path == "/v1/chat/completions"
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status = self.status()
        sent = json.dumps({"choices": [{"message": {"role": "assistant", "content": self.reply(body)}}]}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing on standard error."""
