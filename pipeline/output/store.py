"""Keeps the output folder of a run; its parts are the source of truth."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import SettingsChangedError, UsageError
from pipeline.output.changed import changed_flags, changed_questions
from pipeline.output.completed import Completed, LiveParts
from pipeline.output.current import read_current
from pipeline.output.folder import Folder
from pipeline.output.held import Held
from pipeline.output.json_files import check_run, check_settings
from pipeline.output.parts import part_ids, read_held, write_part
from pipeline.output.schema import PAGE_COUNTS, SCHEMA_VERSION
from pipeline.output.tables import other_version, read_table, write_table
from pipeline.records import STATUSES, PageCount
from pipeline.results import BundleResult
from pipeline.scratch import Scratch

_CACHE = "cache"
_MOST_PAGES = 10**7  # a file that says more of a document would take all memory
_WRITTEN_TRIES, _WRITTEN_SECONDS = 50, 0.1


def new_run_id() -> str:
    """Make an id for a run; ids sort by the time at which the runs started, in UTC."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"


def _refusal(uri: str, flags: Mapping[str, str], questions: Mapping[str, Sequence[str]]) -> str:
    """Explain why settings are refused, and what a user can do."""
    lines = [f"{uri} holds answers of other settings, and answers of two settings do not mix:"]
    lines += [f"  {line}" for line in flags.values()]
    lines += [f"  question {name}: {line}" for name, changes in questions.items() for line in changes]
    ways = [f"Give question {name} a new id, or change it back, or take --reworded" for name in questions]
    if flags:
        ways.append(f"Give back the old value of {', '.join(flags)}")
    return "\n".join([*lines, *ways]) + "\nOr take another --output"


def _remedy(name: str) -> str:
    """Say what to do about a damaged file; only the settings cannot be made again."""
    if name == "settings.json":
        return "put back the file as docpipe wrote it, or choose another --output"
    return "delete it, and the next run writes it again"


class OutputStore:
    """Reads and writes everything that a run keeps in its output folder.

    Args:
        folder: the output folder.
        command: command that reproduces a failed row; ``{input}`` and ``{document_id}`` stand for the document.
        run_id: id of the run that commits; ``None`` makes a new one.
    """

    def __init__(self, folder: Folder, command: str = "docpipe run --input {input}", run_id: str | None = None) -> None:
        self.folder = folder
        self.command = command
        self.run_id = run_id or new_run_id()
        self._completed: tuple[Scratch, Completed] | None = None

    def commit(self, result: BundleResult) -> None:
        """Write a bundle, or some of its pages, as one part, in one step; writing it twice changes nothing.

        Args:
            result: rows of the bundle, whose units name the pages.

        Raises:
            EngineError: the result does not hold exactly one row for each page of each unit, or the file system
                refuses.
        """
        write_part(self.folder, result, self.command, self.run_id)

    def parts(self, bundle_id: str = "") -> dict[str, Held]:
        """Tell what every part holds, by the id of the part.

        Args:
            bundle_id: bundle whose parts are wanted; empty for those of all bundles.

        Raises:
            UsageError: a part is damaged; the message says what to do.
        """
        if bundle_id:  # none of whose parts is compacted while a run works on it
            parts = [part for part in part_ids(self.folder) if part.startswith(bundle_id)]
        else:
            parts = list(LiveParts(self.folder).replaces)
        return dict(zip(parts, read_held(self.folder, parts), strict=True))

    def completed(self, scratch: Scratch) -> Completed:
        """List what all parts hold in a database; each footer is read once.

        Args:
            scratch: the database.
        """
        if self._completed is None or self._completed[0] is not scratch:
            self._completed = scratch, Completed(self.folder, scratch)
        return self._completed[1]

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

    def check_settings(self, settings: Mapping[str, object], reworded: bool = False) -> None:
        """Refuse to mix answers of different settings in one folder; the first run records its settings.

        A new key, such as a new question, is added; a recorded key that is no longer given stays. A difference that no
        answer depends on is recorded.

        Args:
            settings: settings that may not change, as :mod:`pipeline.output.changed` describes them.
            reworded: whether the content of questions may change, whose old answers are then no longer current.

        Raises:
            SettingsChangedError: a setting differs from the recorded one.
        """
        known, merged = self._merged(settings, reworded)
        if merged != known:
            self.folder.write("settings.json", json.dumps(merged, indent=2).encode())

    def refuse_changed(self, settings: Mapping[str, object], reworded: bool = False) -> None:
        """Refuse what :meth:`check_settings` refuses, and write nothing.

        Args:
            settings: settings that may not change.
            reworded: whether the content of questions may change.

        Raises:
            SettingsChangedError: a setting differs from the recorded one.
        """
        self._merged(settings, reworded)

    def _merged(self, settings: Mapping[str, object], reworded: bool) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the recorded settings, and these with what is new or has changed without harm."""
        known = self._read("settings.json") or {}
        given = json.loads(json.dumps({"schema_version": SCHEMA_VERSION, **settings}))
        if known.get("schema_version", SCHEMA_VERSION) != SCHEMA_VERSION:
            raise SettingsChangedError(other_version(self.folder.uri, known["schema_version"]))
        try:
            check_settings(known, given)
        except ValueError as error:
            raise self.damaged("settings.json", str(error)) from error
        flags, questions = changed_flags(known, given), changed_questions(known, given)
        if flags or (questions and not reworded):
            raise SettingsChangedError(_refusal(self.folder.uri, flags, questions))
        return known, {**known, **given}

    def status_counts(self) -> dict[str, int]:
        """Count the current rows by status.

        Raises:
            UsageError: a file is damaged.
        """
        counts = Counter[str]()
        for name in self.folder.names("answers", ".parquet"):
            statuses = read_current(self.folder, name, ["status"])["status"]
            counts.update({c["values"]: c["counts"] for c in pc.value_counts(statuses).to_pylist()})
        return {status: counts[status] for status in STATUSES}

    def page_counts(self) -> Iterator[pa.Table]:
        """Yield the page counts that earlier runs saved, in the columns of ``PAGE_COUNTS``; failed ones are not saved.

        Raises:
            UsageError: a file is damaged.
        """
        for name in self.folder.names(_CACHE, ".parquet"):
            counts = read_table(self.folder, name, PAGE_COUNTS.names)
            least, most = pc.min_max(counts["pages"]).as_py().values()
            if counts["pages"].null_count or (len(counts) and not 1 <= least <= most <= _MOST_PAGES):
                raise self.damaged(name, "expected numbers of pages")
            yield counts

    def save_page_counts(self, counts: Iterable[PageCount]) -> None:
        """Add page counts to those saved before, in a file of their own."""
        known = {count.document_id: count.pages for count in counts if count.pages is not None}
        if known:
            rows = [pa.array(known.keys(), pa.string()), pa.array(known.values(), pa.int32())]
            digest = hashlib.sha256("\0".join(sorted(known)).encode()).hexdigest()[:16]
            write_table(self.folder, f"{_CACHE}/{digest}.parquet", pa.table(rows, schema=PAGE_COUNTS))

    def settle(self, name: str, value: Mapping[str, object]) -> dict[str, Any]:
        """Write a JSON file unless another process has, and return what is there from now on.

        Args:
            name: name of the file in the folder.
            value: its content.

        Raises:
            UsageError: the file is there and damaged.
        """
        if self.folder.create(name, json.dumps(value).encode()):
            return dict(value)
        for _ in range(_WRITTEN_TRIES):  # the other process may still be writing it
            if self.folder.read(name):
                break
            time.sleep(_WRITTEN_SECONDS)
        return self._read(name) or {}

    def read_settled(self, name: str) -> dict[str, Any] | None:
        """Read what :meth:`settle` wrote; ``None`` before that.

        Args:
            name: name of the file in the folder.

        Raises:
            UsageError: the file is there and damaged.
        """
        return self._read(name) if self.folder.read(name) else None

    def settled(self, folder: str) -> dict[str, dict[str, Any]]:
        """Read all that :meth:`settle` wrote in a subfolder, by name without suffix.

        Args:
            folder: name of the subfolder.

        Raises:
            UsageError: a file is damaged.
        """
        files = self.folder.names(folder, ".json")
        return {file.removeprefix(f"{folder}/").removesuffix(".json"): self._read(file) or {} for file in files}

    def damaged(self, name: str, what: str) -> UsageError:
        """Make the error for a file whose content makes no sense.

        Args:
            name: name of the file in the folder.
            what: what is wrong with it.
        """
        return UsageError(f"{self.folder.uri}/{name} is damaged: {what}; {_remedy(name)}")

    def write_run(self, run: Mapping[str, object]) -> None:
        """Write ``run.json``."""
        self.folder.write("run.json", (json.dumps(run, indent=2) + "\n").encode())

    def read_run(self, *needed: str) -> dict[str, Any] | None:
        """Read what the last run wrote about itself; ``None`` before the first.

        Args:
            *needed: fields that must be there.

        Raises:
            UsageError: the file is damaged.
        """
        found = self._read("run.json")
        try:
            if found is not None:
                check_run(found, needed)
        except ValueError as error:
            raise self.damaged("run.json", str(error)) from error
        return found

    def _read(self, name: str) -> dict[str, Any] | None:
        raw = self.folder.read(name)
        try:
            value = {} if raw is None else json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{self.folder.uri}/{name} is not valid JSON: {error}; {_remedy(name)}") from error
        if not isinstance(value, dict):
            raise UsageError(
                f"{self.folder.uri}/{name}: expected a JSON object, found {type(value).__name__}; {_remedy(name)}"
            )
        return None if raw is None else value
