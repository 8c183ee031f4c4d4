"""Says why an answer stands for no value."""

from __future__ import annotations

from collections.abc import Iterable


class NoValue(ValueError):
    """An answer stands for no value of its type, or for more than one; the message says so in a user's words."""

    def __init__(self, message: str, instead: Iterable[str] = ()) -> None:
        """Keep the message, and how else the text could be written.

        Args:
            message: what was expected and found.
            instead: texts that each say one of the things that this one may mean.
        """
        super().__init__(message)
        self.instead = tuple(instead)
