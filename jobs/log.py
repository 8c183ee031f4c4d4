"""Writes what a run says on standard error: sentences for people, or one JSON object per line for machines."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

LogFormat = Literal["text", "json"]
Level = Literal["info", "warning", "error"]
_PACKAGES = ("glimpseprune", "pipeline", "jobs")


@dataclass(frozen=True, slots=True)
class Log:
    """The log of a run.

    Attributes:
        log_format: ``text`` or ``json``.
        run_id: id of the run; ``None`` before it has one.
    """

    log_format: LogFormat = "text"
    run_id: str | None = None

    @property
    def is_json(self) -> bool:
        """Tell whether lines are JSON."""
        return self.log_format == "json"

    def say(self, message: str, event: str, level: Level = "info", **fields: Any) -> None:
        """Write one line, or as text as many as the message has.

        Args:
            message: what happened, in words.
            event: name of the kind of line, for machines.
            level: how bad it is.
            **fields: further values of a JSON line; text leaves them out.
        """
        sys.stderr.write(self.line(message, event, level, **fields) + "\n")
        sys.stderr.flush()

    def line(self, message: str, event: str, level: Level = "info", **fields: Any) -> str:
        """Make what :meth:`say` writes."""
        if not self.is_json:
            return message
        told = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "level": level, "event": event}
        return json.dumps({**told, "run": self.run_id, "message": message, **fields})

    @contextmanager
    def with_warnings(self) -> Iterator[None]:
        """Write what the packages' loggers say as lines of this log, if it is JSON; Python writes text by itself."""
        if not self.is_json:
            yield
            return
        handler, loggers = _Handler(self), [logging.getLogger(name) for name in _PACKAGES]
        before = [logger.propagate for logger in loggers]
        for logger in loggers:
            logger.addHandler(handler)
            logger.propagate = False
        try:
            yield
        finally:
            for logger, propagate in zip(loggers, before, strict=True):
                logger.removeHandler(handler)
                logger.propagate = propagate


class _Handler(logging.Handler):
    """Passes records of Python's logging on to a log."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record as one line."""
        level: Level = "error" if record.levelno >= logging.ERROR else "warning"
        self._log.say(record.getMessage(), record.name, level)
