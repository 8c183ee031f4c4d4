"""Reads which pages a question is asked on: ``all``, ``3`` or ``1-3,-1``, or of several together: ``1+2``.

Pages are 1-based, ranges inclusive, and negative numbers count from the end.
"""

from __future__ import annotations

import re
import reprlib
from dataclasses import dataclass

_PART = re.compile(r"(?P<first>-?[1-9][0-9]{0,8})(?:-(?P<last>-?[1-9][0-9]{0,8}))?")


@dataclass(frozen=True, slots=True)
class PageRanges:
    """Chooses pages of a document before its number of pages is known.

    Attributes:
        parts: first and last page of each range; empty stands for all pages.
        together: whether the pages are read together, for one answer.
    """

    parts: tuple[tuple[int, int], ...]
    together: bool = False

    @classmethod
    def parse(cls, text: str) -> PageRanges:
        """Read ``all``, a comma-separated list of pages and ranges, or pages joined by ``+``.

        Args:
            text: page ranges such as ``1-3,-1``, or pages to read together, such as ``1+2``.

        Raises:
            ValueError: a part is wrong; the message names it and what is expected.
        """
        if text.strip() == "all":
            return cls(())
        if "+" in text:
            return cls(tuple((page, page) for page in _together(text)), together=True)
        parts = []
        for part in text.split(","):
            match = _PART.fullmatch(part.strip())
            if match is None:
                raise ValueError(
                    f"{reprlib.repr(part.strip())} is not a page range; expected 'all' or a list such as '1-3,-1'"
                )
            first = int(match["first"])
            last = first if match["last"] is None else int(match["last"])
            if (first > 0) == (last > 0) and first > last:
                raise ValueError(f"{reprlib.repr(part.strip())} ends before it begins")
            parts.append((first, last))
        return cls(tuple(parts))

    @property
    def at_once(self) -> int:
        """Return the most pages that the model reads for one answer."""
        return len(self.parts) if self.together else 1

    def resolve(self, page_count: int) -> tuple[int, ...]:
        """Return the chosen pages of a document with ``page_count`` pages, increasing, without missing ones."""
        if not self.parts:
            return tuple(range(1, page_count + 1))
        pages: set[int] = set()
        for first, last in self.parts:
            start, end = (page if page > 0 else page_count + 1 + page for page in (first, last))
            pages.update(range(max(start, 1), min(end, page_count) + 1))
        return tuple(sorted(pages))


def _together(text: str) -> list[int]:
    """Read pages that are joined by ``+``."""
    matches = [_PART.fullmatch(part.strip()) for part in text.split("+")]
    pages = [int(match["first"]) for match in matches if match is not None and match["last"] is None]
    if len(pages) < len(matches):
        raise ValueError(
            f"{reprlib.repr(text.strip())} names no pages to read together: expected pages such as '1+2' or '1+-1'; "
            "ranges and other pages cannot stand beside them, and need a question of their own"
        )
    if len(set(pages)) < len(pages):
        raise ValueError(f"{reprlib.repr(text.strip())} names a page twice")
    return pages
