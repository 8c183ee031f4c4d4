"""Remembers, over an interruption, which pages were scored for questions of which no page has been read yet.

Their rows wait until one has been read, so they are in no part. What was scored need not be scored again.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.output.folder import Folder

_FOLDER = "scored"
Scored = dict[str, dict[int, float]]
"""Probability, in 0..1, that a page holds the answer, by the id of a unit and the page."""


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    presences: Scored


def write_scored(folder: Folder, bundle_id: str, presences: Mapping[str, Mapping[int, float]]) -> None:
    """Remember what was scored of a bundle; without anything, this does nothing.

    Args:
        folder: the output folder.
        bundle_id: id of the bundle.
        presences: probability that a page holds the answer, by unit and page.

    Raises:
        OutputError, EngineError: the file system refuses.
    """
    if presences:
        content = _File(presences={unit: dict(pages) for unit, pages in presences.items()})
        folder.write(_name(bundle_id), content.model_dump_json().encode())


def read_scored(folder: Folder, bundle_id: str) -> Scored:
    """Return what was scored of a bundle before an interruption; empty without one, and where the file is damaged.

    Args:
        folder: the output folder.
        bundle_id: id of the bundle.

    Raises:
        EngineError: the file cannot be read.
    """
    data = folder.read(_name(bundle_id))
    try:
        return {} if data is None else _File.model_validate_json(data).presences
    except ValidationError:  # then the pages are scored again
        return {}


def forget_scored(folder: Folder, bundle_id: str) -> None:
    """Forget a bundle once it is committed.

    Args:
        folder: the output folder.
        bundle_id: id of the bundle.
    """
    if folder.read(_name(bundle_id)) is not None:
        folder.delete(_name(bundle_id))


def _name(bundle_id: str) -> str:
    return f"{_FOLDER}/{bundle_id}.json"
