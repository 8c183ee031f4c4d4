"""Errors by who has to act: bad input, an engine or model fault, or one bad page.

Every class keeps all of its arguments in ``args``, so each one survives pickling between processes.
"""

from __future__ import annotations

from typing import Literal

Stage = Literal["open", "render", "infer", "write"]


class DocpipeError(Exception):
    """Base of every error that docpipe raises on purpose."""


class UsageError(DocpipeError):
    """The command, a flag, the input or the output folder is wrong (exit code 2)."""


class QuestionsError(UsageError):
    """The questions file is invalid; the message names file, line and field."""


class SettingsChangedError(UsageError):
    """The output folder holds answers made with other settings; the message names the one that differs."""


class OutputError(UsageError):
    """The output cannot be written: it is no folder, access is denied, or the disk is full."""


class EngineError(DocpipeError):
    """Ray or the machine failed; the run can be resumed (exit code 3)."""


class ModelError(DocpipeError):
    """The model or its add-on cannot be loaded or computes wrong results (exit code 3)."""


def storable(message: str) -> str:
    """Escape what a library quotes of bytes that are not UTF-8, which no table holds.

    Args:
        message: what the library says.
    """
    return message.encode(errors="backslashreplace").decode()


class PageError(DocpipeError):
    """One document or page cannot be read or answered; it becomes a row in ``failures`` and never ends the run.

    Args:
        stage: stage that failed.
        error_type: a stable name to group by, such as ``EncryptedDocument`` or ``RenderTimeout``.
        message: what was expected, what was found and what to do.
    """

    def __init__(self, stage: Stage, error_type: str, message: str) -> None:
        told = storable(message)
        super().__init__(stage, error_type, told)
        self.stage: Stage = stage
        self.error_type = error_type
        self.message = told

    def __str__(self) -> str:
        return f"{self.error_type} ({self.stage}): {self.message}"
