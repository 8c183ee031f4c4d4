"""Marks the bundles in flight, so that a process that takes over knows where the one before it died.

Attempt 1 answers a bundle at full speed. A marker found at the start of an attempt means that the attempt before it
died. From attempt 2 on, each page is noted before it is begun. One death does not show that the page is to blame: the
machine may have ended the process. A page on which a second process dies is left out from then on; with attempt 1, it
has cost three.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.errors import EngineError
from pipeline.output.folder import Folder
from pipeline.output.json_files import Count

MAX_DEATHS = 2
"""Processes that may die on a page that they answer alone, before it is left out."""

MAX_UNEXPLAINED = 5
_FOLDER = "inflight"
_Place = tuple[str, tuple[int, ...]]  # id of the document, and the pages that are read at once, mostly one


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at a bundle.

    Attributes:
        number: number of the attempt, from 1; above 1, each page must be noted before it is begun.
        deaths: pair (document id, pages that are read at once) for each earlier attempt that died on a noted page.
        unexplained: number of earlier attempts that died while no page was noted.
    """

    number: int
    deaths: tuple[_Place, ...] = ()
    unexplained: int = 0

    @property
    def crashed(self) -> frozenset[_Place]:
        """Return the pages that must be left out."""
        return _crashed(self.deaths)

    @property
    def suspected(self) -> frozenset[_Place]:
        """Return the pages on which an attempt died, and which are tried again once all others are done."""
        return frozenset(self.deaths) - self.crashed


@dataclass(frozen=True, slots=True)
class InFlight:
    """A bundle that is being worked on.

    Attributes:
        bundle_id: id of the bundle.
        attempt: number of the attempt, from 1.
        pages_done: number of its pages that are done.
        crashed: pairs (document id, pages that are read at once) that are left out.
    """

    bundle_id: str
    attempt: int
    pages_done: int
    crashed: tuple[_Place, ...]


class _Marker(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    attempt: Annotated[int, Field(ge=1, le=10**6)]
    unexplained: Count
    page: _Place | None
    crashed: list[_Place]  # a page comes once for each attempt that died on it
    pages_done: Count = 0


class Markers:
    """Keeps one small file per bundle in flight in the output folder.

    Args:
        folder: the output folder.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def begin(self, bundle_id: str) -> Attempt:
        """Mark a bundle as in flight.

        Args:
            bundle_id: id of the bundle.

        Raises:
            EngineError: ``MAX_UNEXPLAINED`` attempts died while no page was at work, so leaving a page out would
                not help; the marker is removed, and the next call starts from attempt 1.
        """
        found = self._read(bundle_id)
        attempt = Attempt(1) if found is None else _after(found)
        if attempt.unexplained >= MAX_UNEXPLAINED:
            self.done(bundle_id)
            raise EngineError(
                f"bundle {bundle_id}: the process died {attempt.unexplained} times outside of any page; look for the "
                "cause in the worker logs (memory, driver, disk), then run the same command again"
            )
        self._write(bundle_id, attempt, None)
        return attempt

    def note(
        self, bundle_id: str, attempt: Attempt, document_id: str, pages: tuple[int, ...], pages_done: int = 0
    ) -> None:
        """Note the page that is about to begin, or several that are read at once; what was noted before is done."""
        self._write(bundle_id, attempt, (document_id, pages), pages_done)

    def between_pages(self, bundle_id: str, attempt: Attempt, pages_done: int = 0) -> None:
        """Note that no page is at work, so that a crash now is not blamed on one."""
        self._write(bundle_id, attempt, None, pages_done)

    def pages_done(self) -> int:
        """Count the pages that are done of the bundles in flight, as of their last notes.

        Raises:
            EngineError: the folder cannot be read, or a marker is damaged.
        """
        return sum(bundle.pages_done for bundle in self.in_flight())

    def in_flight(self) -> list[InFlight]:
        """List the bundles in flight, as of their last notes.

        Raises:
            EngineError: the folder cannot be read, or a marker is damaged.
        """
        names = self._folder.names(_FOLDER, ".json")
        bundles = [name.removeprefix(f"{_FOLDER}/").removesuffix(".json") for name in names]
        read = ((bundle, self._read(bundle)) for bundle in bundles)
        return [
            InFlight(bundle, marker.attempt, marker.pages_done, tuple(sorted(_crashed(marker.crashed))))
            for bundle, marker in read
            if marker is not None
        ]

    def done(self, bundle_id: str) -> None:
        """Forget a bundle once it is committed."""
        self._folder.delete(_name(bundle_id))

    def clear(self) -> None:
        """Forget all bundles, when a run stops its workers on purpose and no page is to blame."""
        for name in self._folder.names(_FOLDER, ".json"):
            self._folder.delete(name)

    def _read(self, bundle_id: str) -> _Marker | None:
        data = self._folder.read(_name(bundle_id))
        if data is None:
            return None
        try:
            return _Marker.model_validate_json(data)
        except ValidationError as error:
            raise EngineError(f"{self._folder.uri}/{_name(bundle_id)} is damaged; delete it: {error}") from error

    def _write(self, bundle_id: str, attempt: Attempt, page: _Place | None, pages_done: int = 0) -> None:
        marker = _Marker(
            attempt=attempt.number,
            unexplained=attempt.unexplained,
            page=page,
            crashed=sorted(attempt.deaths),
            pages_done=pages_done,
        )
        self._folder.write(_name(bundle_id), marker.model_dump_json().encode())


def _after(marker: _Marker) -> Attempt:
    """Return the attempt that follows one that died."""
    if marker.page is None:
        return Attempt(marker.attempt + 1, tuple(marker.crashed), marker.unexplained + 1)
    return Attempt(marker.attempt + 1, (*marker.crashed, marker.page), marker.unexplained)


def _crashed(deaths: Iterable[_Place]) -> frozenset[_Place]:
    return frozenset(place for place, number in Counter(deaths).items() if number >= MAX_DEATHS)


def _name(bundle_id: str) -> str:
    return f"{_FOLDER}/{bundle_id}.json"
