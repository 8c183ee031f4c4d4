"""Keeps text from being run as a formula by programs that open CSV, and takes the mark off again."""

from __future__ import annotations

_MARK = "'"
_BEGINNINGS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""What a formula begins with; spreadsheets in some languages take the wide forms too."""


def may_run(text: str) -> bool:
    """Tell whether a spreadsheet could take text for a formula.

    Args:
        text: content of a cell.
    """
    return text.startswith(_BEGINNINGS)


def disarmed(text: str) -> str:
    """Put an apostrophe in front of text that could be run.

    Args:
        text: content of a cell.
    """
    return f"{_MARK}{text}" if may_run(text) else text


def armed(text: str) -> str:
    """Take off the apostrophe of :func:`disarmed`.

    Args:
        text: content of a cell.
    """
    return text[1:] if text[:1] == _MARK and may_run(text[1:]) else text
