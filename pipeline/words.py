"""The words of a page's text layer, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a page's text layer, in the order of the file.

    Attributes:
        text: lines with a line feed between them, and words of a line with a blank; no word holds either.
        corners: ``x0, y0, x1, y1`` of each word in turn, in PDF points from the top left of the page as displayed.
    """

    text: str
    corners: tuple[float, ...]

    @classmethod
    def from_json(cls, raw: Mapping[str, Any] | None) -> Words | None:
        """Read back what :func:`dataclasses.asdict` and JSON made of words, or of none."""
        return None if raw is None else cls(raw["text"], tuple(raw["corners"]))
