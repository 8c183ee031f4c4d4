"""Asks a language model how good answers are, over an API compatible with that of OpenAI."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from pipeline.datasets.example import Example
from pipeline.errors import EngineError
from pipeline.training.quality import Graded

KEY = "OPENAI_API_KEY"
_ASKED = (
    "How right is an answer to a question about a document? Reply with a number from 0 (wrong) to 1 (right), and with "
    "nothing else.\nQuestion: {question}\nRight answers: {right}\nAnswer: {answer}"
)
_AT_ONCE = 16
_TRIES, _WAIT_SECONDS, _LIMIT_SECONDS = 3, 2.0, 60.0


class Judge:
    """Grades answers by a chat model, at temperature 0; the key, if it needs one, is in ``OPENAI_API_KEY``.

    Args:
        url: address of the API, such as ``http://host:8000/v1``.
        model: name of the chat model there.
    """

    def __init__(self, url: str, model: str) -> None:
        self.url, self.model = f"{url.rstrip('/')}/chat/completions", model

    def __call__(self, graded: Graded) -> list[float]:
        """Return the grade of each answer, in 0..1; the same answer to the same question is asked about once.

        Args:
            graded: answers, each with its example.

        Raises:
            EngineError: the API cannot be reached, refuses, or does not reply with a number.
        """
        different = dict.fromkeys((example, answer) for example, answer in graded)
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            grades = list(threads.map(lambda pair: self._grade(*pair), different))
        found = dict(zip(different, grades, strict=True))
        return [found[example, answer] for example, answer in graded]

    def _grade(self, example: Example, answer: str) -> float:
        text = _ASKED.format(question=example.question, right=" | ".join(example.answers), answer=answer)
        body = {"model": self.model, "temperature": 0, "messages": [{"role": "user", "content": text}]}
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(KEY):
            headers["Authorization"] = f"Bearer {key}"
        request = Request(self.url, json.dumps(body).encode(), headers)
        with _as_engine_error(self.url):
            reply = str(_sent(request)["choices"][0]["message"]["content"])
        number = re.fullmatch(r"\s*([01](?:\.\d+)?|\.\d+)\s*", reply)
        if number is None:
            raise EngineError(f"{self.url}: expected a number from 0 to 1, found {reply!r:.80}; take another judge")
        return min(1.0, float(number[1]))


def _sent(request: Request) -> Any:
    """Send a request, again where the server is busy or cannot be reached."""
    attempt = 0
    while True:
        try:
            with urlopen(request, timeout=_LIMIT_SECONDS) as response:
                return json.load(response)
        except (URLError, TimeoutError) as error:
            refused = isinstance(error, HTTPError) and error.code < 500 and error.code != 429
            if refused or attempt == _TRIES - 1:
                raise
        time.sleep(_WAIT_SECONDS * 2**attempt)
        attempt += 1


@contextmanager
def _as_engine_error(url: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise EngineError(
            f"{url}: expected the reply of a chat model, found {type(error).__name__}: {error}; check the address of "
            f"the judge, its model and {KEY}"
        ) from error
