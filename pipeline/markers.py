"""Evidence of bundles in flight: how often one was tried, and which page it died on.

A process that dies takes its memory with it, and an engine restarts it for ever. So a marker file is written before
a bundle is worked on and deleted after its commit; one that is found at the start tells that a predecessor died.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from pipeline.folder import Folder

PageKey = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Attempt:
    """Which attempt at a bundle this is, from 1, and the pages (document id, page) that earlier ones died on."""

    number: int
    crashed: frozenset[PageKey]


class Markers:
    """In-flight markers of one output folder.

    The first attempt works at full speed. From the second on, each page is noted before it is worked on; a later one
    skips every page that an earlier one died on, so a bundle with n deadly pages is done after n + 2 attempts at most.
    """

    def __init__(self, folder: Folder) -> None:
        self.folder = folder

    def begin(self, bundle_id: str) -> Attempt:
        """Note that a bundle is being worked on."""
        raw = self.folder.read(_name(bundle_id))
        number, crashed = 1, set[PageKey]()
        if raw is not None:
            last = json.loads(raw)
            number = last["attempt"] + 1
            crashed = {(document, page) for document, page in last["crashed"]}
            if last["page"] is not None:
                crashed.add((last["page"][0], last["page"][1]))
        self._write(bundle_id, number, crashed, None)
        return Attempt(number, frozenset(crashed))

    def note(self, bundle_id: str, attempt: Attempt, document_id: str, page: int) -> None:
        """Note the page that is worked on from now."""
        self._write(bundle_id, attempt.number, set(attempt.crashed), (document_id, page))

    def done(self, bundle_id: str) -> None:
        """The bundle is committed; forget its attempts."""
        self.folder.delete(_name(bundle_id))

    def _write(self, bundle_id: str, number: int, crashed: set[PageKey], page: PageKey | None) -> None:
        text = json.dumps({"attempt": number, "crashed": sorted(crashed), "page": page})
        self.folder.write(_name(bundle_id), text.encode())


def _name(bundle_id: str) -> str:
    return f"inflight/{bundle_id}.json"
