"""Lists in a scratch database which units and pages the parts hold, from their footers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import pyarrow as pa

from pipeline.output.folder import Folder
from pipeline.output.held import Held
from pipeline.output.parts import part_ids, part_name, read_held
from pipeline.output.tables import read_footer
from pipeline.scratch import Scratch, portions

COMPACTED = "compacted-"
"""Beginning of the id of a part that stands for several."""
REPLACES = "replaces"
"""Footer entry of such a part: the ids of the parts that it stands for."""
_UNITS = pa.schema([("unit_id", pa.string()), ("part", pa.string())])
_PAGES = pa.schema([*_UNITS, ("page", pa.int32())])
_WINDOW = 256
_SUSPECTS = """
    with twice as (
        select unit_id from completed group by unit_id having count(*) > 1
        union
        select unit_id from completed semi join completed_pages using (unit_id)
        union
        select unit_id from completed_pages group by unit_id, page having count(*) > 1
    )
    select distinct part from (
        select part, unit_id from completed union all select part, unit_id from completed_pages
    ) semi join twice using (unit_id)
"""


class LiveParts:
    """The parts that count: all but those that a compacted part stands for.

    Attributes:
        replaces: by the id of each part that counts, the ids of those that it stands for, mostly none.
        gone: ids of all parts that others stand for, whether their files are still there or not.

    Args:
        folder: the output folder.
        known: what an earlier look found.

    Raises:
        UsageError: a compacted part is damaged.
        EngineError: the folder cannot be read.
    """

    def __init__(self, folder: Folder, known: LiveParts | None = None) -> None:
        before = {} if known is None else known.replaces
        parts = part_ids(folder)
        compacted = [part for part in parts if part.startswith(COMPACTED)]
        of = {part: before[part] if part in before else replaced_by(folder, part) for part in compacted}
        self.gone = {each for each_of in of.values() for each in each_of}
        self.replaces: Mapping[str, Sequence[str]] = {part: of.get(part, ()) for part in parts if part not in self.gone}

    def stand_for(self, parts: Iterable[str]) -> bool:
        """Tell whether every one of some parts counts, or another that stands for it does."""
        return all(part in self.replaces or part in self.gone for part in parts)

    def missing(self, published: set[str]) -> list[str]:
        """List, sorted, the parts that count and whose rows are not published.

        Args:
            published: ids of the parts that published files name.
        """
        return sorted(
            part
            for part, others in self.replaces.items()
            if part not in published and not (others and published.issuperset(others))
        )


def replaced_by(folder: Folder, part: str) -> list[str]:
    """Read which parts a compacted part stands for.

    Args:
        folder: the output folder.
        part: id of the compacted part.

    Raises:
        UsageError: it is damaged.
        EngineError: it cannot be read.
    """
    replaces: list[str] = json.loads(read_footer(folder, part_name(part), REPLACES)[REPLACES])
    return replaces


class Completed:
    """What the parts hold, in the tables ``completed`` and ``completed_pages``.

    Args:
        folder: the output folder.
        scratch: database of the tables.
    """

    def __init__(self, folder: Folder, scratch: Scratch) -> None:
        self._folder = folder
        self._scratch = scratch
        self._live: LiveParts | None = None
        self._parts: set[str] = set()
        scratch.create("completed", _UNITS)
        scratch.create("completed_pages", _PAGES)

    def refresh(self) -> LiveParts:
        """Read the footers of new parts, forget the parts that are gone, and return those that count.

        Raises:
            UsageError: a part is damaged; the message says what to do.
            EngineError: the folder cannot be read.
        """
        live = self._live = LiveParts(self._folder, self._live)
        self._forget(self._parts - live.replaces.keys())
        new = sorted(live.replaces.keys() - self._parts)
        single = [part for part in new if not live.replaces[part]]
        several = ([part] for part in new if live.replaces[part])  # whose footers are as long as those of many
        for parts in chain(portions(single, _WINDOW), several):
            held = dict(zip(parts, read_held(self._folder, parts), strict=True))
            units = [(unit, part) for part, of in held.items() for unit in of.units]
            pages = [(unit, part, page) for part, of in held.items() for unit in of.pages for page in of.pages[unit]]
            self._scratch.add("completed", _table(units, _UNITS))
            self._scratch.add("completed_pages", _table(pages, _PAGES))
            self._parts.update(parts)
        return live

    def repeated(self, pending: Sequence[str]) -> dict[str, Held]:
        """Map pending parts to what another part holds of them too, one that is published or pending before them.

        Args:
            pending: ids of the parts that are going to be published, in order; all others are published.
        """
        suspects = {part for rows in self._scratch.read(_SUSPECTS) for part in rows["part"].to_pylist()}
        place = {part: number for number, part in enumerate(pending)}
        ordered = sorted(suspects, key=lambda part: (place.get(part, -1), part))
        seen, repeated = Held(), {}
        for part, held in zip(ordered, read_held(self._folder, ordered), strict=True):
            if part in place:
                repeated[part] = seen.common(held)
            seen.add(held)
        return repeated

    def _forget(self, parts: set[str]) -> None:
        if parts:
            gone = pa.table({"part": pa.array(sorted(parts), pa.string())})
            for table in ("completed", "completed_pages"):
                self._scratch.run_with(gone, f"delete from {table} where part in (select part from given)")
            self._parts -= parts


def _table(rows: Sequence[tuple[Any, ...]], schema: pa.Schema) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else ((),) * len(schema)
    return pa.table(
        [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema=schema
    )
