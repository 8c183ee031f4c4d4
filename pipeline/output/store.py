"""Keeps the output folder of a run; its parts are the source of truth."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import SettingsChangedError, UsageError
from pipeline.output.folder import Folder
from pipeline.output.held import Held
from pipeline.output.parts import read_held, write_part
from pipeline.output.schema import SCHEMA_VERSION
from pipeline.output.tables import read_tables
from pipeline.records import STATUSES, BundleResult, PageCount


class OutputStore:
    """Reads and writes everything that a run keeps in its output folder.

    Args:
        folder: the output folder.
        command: command that reproduces a failed row; ``{input}`` stands for the document.
    """

    def __init__(self, folder: Folder, command: str = "docpipe run --input {input}") -> None:
        self.folder = folder
        self.command = command
        self._held: dict[str, Held] = {}  # by the id of a part

    def commit(self, result: BundleResult) -> None:
        """Write a bundle, or some of its pages, as one part, in one step; writing it twice changes nothing.

        Args:
            result: rows of the bundle, whose units name the pages.

        Raises:
            EngineError: the result does not hold exactly one row for each page of each unit, or the file system
                refuses.
        """
        write_part(self.folder, result, self.command)

    def parts(self, bundle_id: str = "") -> dict[str, Held]:
        """Tell what every part holds, by the id of the part; each footer is read once.

        Args:
            bundle_id: bundle whose parts are wanted; empty for those of all bundles.

        Raises:
            UsageError: a part is damaged; the message says what to do.
        """
        names = self.folder.names("parts", ".parquet")
        parts = [name.removeprefix("parts/").removesuffix(".parquet") for name in names]
        parts = [part for part in parts if part.startswith(bundle_id)]
        new = [part for part in parts if part not in self._held]
        self._held.update(zip(new, read_held(self.folder, new), strict=True))
        return {part: self._held[part] for part in parts}

    def done(self, bundle_id: str = "") -> Held:
        """Tell which units and pages are committed, from the footers of the parts.

        Args:
            bundle_id: bundle whose parts are asked; empty for those of all bundles.

        Raises:
            UsageError: a part is damaged; the message says what to do.
        """
        done = Held()
        for held in self.parts(bundle_id).values():
            done.add(held)
        return done

    def check_settings(self, settings: Mapping[str, object]) -> None:
        """Refuse to mix answers of different settings in one folder; the first run records its settings.

        A new key, such as a new question, is added; a recorded key that is no longer given stays.

        Args:
            settings: settings that may not change, by the names a user knows.

        Raises:
            SettingsChangedError: a value differs from the recorded one.
        """
        known = self._read("settings.json") or {}
        given = json.loads(json.dumps({**settings, "schema_version": SCHEMA_VERSION}))
        for key, value in given.items():
            if key in known and known[key] != value:
                raise SettingsChangedError(
                    f"{self.folder.uri} holds answers made with {key} = {known[key]!r}; this run has {value!r}. "
                    "Use the old value, or another --output"
                )
        if not given.keys() <= known.keys():
            self.folder.write("settings.json", json.dumps({**known, **given}, indent=2).encode())

    def status_counts(self, unit_ids: Collection[str]) -> dict[str, int]:
        """Count the published rows of some units by status."""
        wanted = pa.array(list(unit_ids), pa.string())
        counts = Counter[str]()
        for rows in read_tables(self.folder, self.folder.names("answers", ".parquet"), ["unit_id", "status"]):
            mine = rows.filter(pc.is_in(rows["unit_id"], wanted))
            counts.update({c["values"]: c["counts"] for c in pc.value_counts(mine["status"]).to_pylist()})
        return {status: counts[status] for status in STATUSES}

    def page_counts(self) -> dict[str, PageCount]:
        """Return the page counts that earlier runs saved, by document id; failed counts are not saved."""
        known = self._read("cache/page_counts.json") or {}
        return {document_id: PageCount(document_id, pages) for document_id, pages in known.items()}

    def save_page_counts(self, counts: Iterable[PageCount]) -> None:
        """Add page counts to those saved before."""
        known = {document_id: count.pages for document_id, count in self.page_counts().items()}
        known.update({count.document_id: count.pages for count in counts if count.pages is not None})
        self.folder.write("cache/page_counts.json", json.dumps(known).encode())

    def write_run(self, run: Mapping[str, object]) -> None:
        """Write ``run.json``."""
        self.folder.write("run.json", (json.dumps(run, indent=2) + "\n").encode())

    def read_run(self) -> dict[str, Any] | None:
        """Read what the last run wrote about itself; ``None`` before the first."""
        return self._read("run.json")

    def _read(self, name: str) -> dict[str, Any] | None:
        raw = self.folder.read(name)
        try:
            value = {} if raw is None else json.loads(raw)
        except ValueError as error:
            raise UsageError(f"{self.folder.uri}/{name} is not valid JSON: {error}") from error
        if not isinstance(value, dict):
            raise UsageError(f"{self.folder.uri}/{name}: expected a JSON object, found {type(value).__name__}")
        return None if raw is None else value
