"""Gathers pages whose questions share a cache, so that several pages decode in the same steps."""

from __future__ import annotations

from collections.abc import Hashable

from glimpseprune.decode.greedy import Decoded, Greedy
from glimpseprune.decode.log_step import LogPage, decode_logs
from glimpseprune.families.base import Backbone

MOST_PAGES = 8
"""Pages that decode in the same steps. A step runs attention page by page, so that more of them gain little."""


class LogPool:
    """Decodes the questions of its pages, all at once.

    Args:
        backbone: the model.
        greedy: greedy search that chooses the tokens.
    """

    def __init__(self, backbone: Backbone, greedy: Greedy) -> None:
        self._backbone, self._greedy = backbone, greedy
        self._keys: list[tuple[LogPage, dict[int, Hashable]]] = []

    def __len__(self) -> int:
        return sum(len(keys) for _, keys in self._keys)

    @property
    def full(self) -> bool:
        """Whether as many pages wait as should decode together."""
        return len(self._keys) >= MOST_PAGES

    @property
    def nbytes(self) -> int:
        """Bytes of the keys and values, room for new tokens included."""
        return sum(page.log.nbytes for page, _ in self._keys)

    def add(self, key: Hashable, page: LogPage, place: int) -> None:
        """Add a question, whose page waits from the first of its questions on.

        Args:
            key: name of its result.
            page: questions of the page.
            place: its place among them.
        """
        for other, keys in self._keys:
            if other is page:
                keys[place] = key
                return
        self._keys.append((page, {place: key}))

    def run(self) -> dict[Hashable, Decoded]:
        """Decode the questions of all pages to their ends, and return the results by key.

        Raises:
            GlimpseError: a constraint refuses every token.
        """
        decode_logs(self._backbone, self._greedy, [page for page, _ in self._keys], None)
        done = {key: page.rows[place].result for page, keys in self._keys for place, key in keys.items()}
        self._keys.clear()
        return done
