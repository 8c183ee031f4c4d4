"""The output folder: parts as the source of truth, and what is known from them."""

from __future__ import annotations

import io
import json
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import SettingsChangedError
from pipeline.folder import Folder
from pipeline.records import STATUSES, BundleResult, PageAnswer, PageCount
from pipeline.schema import PART, SCHEMA_VERSION, TABLES, with_metadata

_READERS = 16  # footers are read side by side; on an object store each costs a round trip


class OutputStore:
    """Everything a run writes.

    Args:
        folder: the output folder.
        command: the command that failed rows name as their reproduction; ``{input}`` stands for the document.
    """

    def __init__(self, folder: Folder, command: str = "docpipe run --input {input}") -> None:
        self.folder = folder
        self.command = command

    def commit(self, result: BundleResult) -> None:
        """Write one bundle as one part; its rows appear together or not at all. Doing it twice changes nothing.

        Raises:
            RuntimeError: the result has not exactly one answer for each page of each unit; nothing is written.
        """
        _check_complete(result)
        rows = {name: list(table) for name, table in self._rows(result).items()}
        metadata = {
            "bundle_id": result.bundle.bundle_id,
            "units": json.dumps([unit.unit_id for unit in result.bundle.units]),
        }
        table = pa.Table.from_pylist([rows], schema=with_metadata(PART, **metadata))
        self.folder.write(f"parts/{result.bundle.bundle_id}.parquet", to_parquet(table))

    def _rows(self, result: BundleResult) -> dict[str, Iterator[dict[str, Any]]]:
        documents = {document.document_id: document for document in result.bundle.documents}
        shared = {
            document_id: {
                "document": document.path,
                "document_sha256": result.sha256.get(document_id),
                "bundle_id": result.bundle.bundle_id,
            }
            for document_id, document in documents.items()
        }

        def failure(answer: PageAnswer) -> dict[str, Any]:
            detail = {} if answer.failure is None else asdict(answer.failure)
            command = self.command.format(input=shlex.quote(documents[answer.document_id].uri))
            return {**shared[answer.document_id], **_identity(answer), **detail, "command": command}

        return {
            "answers": (_without(asdict(a), "failure") | shared[a.document_id] for a in result.answers),
            "pages": (asdict(page) | shared[page.document_id] for page in result.pages),
            "failures": (_without(failure(a), "document_sha256") for a in result.answers if a.failure is not None),
        }

    def parts(self) -> dict[str, str]:
        """The file name of every committed bundle, by bundle id."""
        names = self.folder.names("parts", ".parquet")
        return {name.removeprefix("parts/").removesuffix(".parquet"): name for name in names}

    def completed_units(self) -> set[str]:
        """The ids of all units that are committed, from the footers of the parts."""
        return {unit for text in self.footers(self.parts().values(), "units") for unit in json.loads(text)}

    def footers(self, names: Iterable[str], key: str) -> list[str]:
        """One metadata value of each file."""

        def one(name: str) -> str:
            with self.folder.fs.open(self.folder.path(name), "rb") as file:
                return str(pq.read_schema(file).metadata[key.encode()].decode())

        with ThreadPoolExecutor(_READERS) as pool:
            return list(pool.map(one, names))

    def check_settings(self, settings: Mapping[str, object]) -> None:
        """Refuse to mix answers of different settings in one folder; the first run writes them down.

        A key that was not there before (a new question) is added; a key that is no longer there is left.

        Raises:
            SettingsChangedError: naming the key, its old and its new value.
        """
        raw = self.folder.read("settings.json")
        known: dict[str, object] = {} if raw is None else json.loads(raw)
        given = json.loads(json.dumps({**settings, "schema_version": SCHEMA_VERSION}))
        for key, value in given.items():
            if key in known and known[key] != value:
                raise SettingsChangedError(
                    f"{self.folder.uri} holds answers made with {key} = {known[key]!r}; this run has {value!r}. "
                    "Use the old value, or another --output"
                )
        if not given.keys() <= known.keys():
            self.folder.write("settings.json", json.dumps({**known, **given}, indent=2).encode())

    def status_counts(self, unit_ids: set[str]) -> dict[str, int]:
        """Rows by status, over the committed rows of the given units."""
        counts = Counter[str]()
        for name in self.parts().values():
            rows = self.read_part(name, "answers").select(["unit_id", "status"]).to_pylist()
            counts.update(row["status"] for row in rows if row["unit_id"] in unit_ids)
        return {status: counts[status] for status in STATUSES}

    def read_part(self, name: str, table: str) -> pa.Table:
        """The rows of one table in one part."""
        with self.folder.fs.open(self.folder.path(name), "rb") as file:
            column = pq.read_table(file, columns=[table]).column(table)
        rows = column.combine_chunks().flatten()
        return pa.Table.from_struct_array(rows).cast(TABLES[table])

    def page_counts(self) -> dict[str, PageCount]:
        """Page counts of earlier runs, by document id; only successful ones are remembered."""
        raw = self.folder.read("cache/page_counts.json")
        known: dict[str, int] = {} if raw is None else json.loads(raw)
        return {document_id: PageCount(document_id, pages) for document_id, pages in known.items()}

    def save_page_counts(self, counts: Iterable[PageCount]) -> None:
        """Remember page counts, beside those remembered before."""
        known = {document_id: count.pages for document_id, count in self.page_counts().items()}
        known.update({count.document_id: count.pages for count in counts if count.pages is not None})
        self.folder.write("cache/page_counts.json", json.dumps(known).encode())

    def write_run(self, run: Mapping[str, object]) -> None:
        """Write ``run.json``."""
        self.folder.write("run.json", (json.dumps(run, indent=2) + "\n").encode())

    def read_run(self) -> dict[str, Any] | None:
        """What the last run wrote about itself; ``None`` before the first."""
        raw = self.folder.read("run.json")
        return None if raw is None else dict(json.loads(raw))


def _check_complete(result: BundleResult) -> None:
    """A row lost or doubled here would be lost or doubled for ever, so the count is taken before it is committed."""
    wanted = Counter((unit.unit_id, page) for unit in result.bundle.units for page in unit.pages or (None,))
    found = Counter((answer.unit_id, answer.page) for answer in result.answers)
    if wanted != found:
        wrong = sorted({key for key in wanted | found if wanted[key] != found[key]}, key=str)
        raise RuntimeError(
            f"bundle {result.bundle.bundle_id}: expected one answer for each unit and page, found "
            f"{found[wrong[0]]} for unit {wrong[0][0]} page {wrong[0][1]} and {len(wrong) - 1} more; please report "
            "it"
        )


def to_parquet(table: pa.Table) -> bytes:
    """A table as the bytes of a Parquet file, zstd."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _identity(answer: PageAnswer) -> dict[str, Any]:
    return {name: getattr(answer, name) for name in ("unit_id", "document_id", "page", "question_id")}


def _without(row: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != key}
