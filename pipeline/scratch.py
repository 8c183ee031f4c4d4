"""Holds tables on a local disk, so that work on more rows than fit into memory takes little of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from types import TracebackType
from typing import Self, TypeVar

import duckdb
import pyarrow as pa

from pipeline.errors import OutputError
from pipeline.temporary import TemporaryFolder

MEMORY = "512MB"
"""Memory for sorting and joining; what needs more goes to the disk."""
_BATCH = 20_000
Item = TypeVar("Item")
_NO_ROOM = ("Out of Memory Error", "IO Error", "No space left on device")
_INTERRUPTED = "Query interrupted"


class Scratch:
    """A database in a temporary folder, which is deleted when it is closed or collected.

    The folder is where ``TMPDIR`` says. Every method may be called while the rows of another are being read. Ctrl-C is
    heeded when a statement ends, if not before.

    Raises:
        OutputError: the disk is full, in any method.
    """

    def __init__(self) -> None:
        with understood():
            self._folder = TemporaryFolder()
            self._connection = duckdb.connect(
                f"{self._folder.path}/tables.duckdb",
                config={
                    "memory_limit": MEMORY,
                    "temp_directory": str(self._folder.path),
                    "threads": 2,
                    "preserve_insertion_order": False,
                },
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Delete all tables."""
        self._connection.close()
        self._folder.delete()

    def create(self, name: str, schema: pa.Schema) -> None:
        """Create an empty table, in the place of one of the same name.

        Args:
            name: name of the table.
            schema: its columns.
        """
        self.run_with(schema.empty_table(), f"create or replace table {name} as select * from given")

    def add(self, name: str, rows: pa.Table) -> None:
        """Add rows to a table.

        Args:
            name: name of the table.
            rows: rows with the columns of the table, in any order.
        """
        self.run_with(rows, f"insert into {name} by name select * from given")

    def run(self, sql: str) -> None:
        """Run a statement that returns nothing.

        Args:
            sql: the statement.
        """
        with understood():
            self._connection.execute(sql)

    def value(self, sql: str) -> int:
        """Return the one number that a query finds; 0 for null.

        Args:
            sql: the query.
        """
        with understood(), self._connection.cursor() as cursor:
            return int(cursor.execute(sql).fetchall()[0][0] or 0)

    def read(self, sql: str, rows: int | None = None) -> Iterator[pa.Table]:
        """Yield what a query finds, a few rows at a time.

        Args:
            sql: the query; without ``order by``, the rows come in any order.
            rows: most rows at a time; ``None`` for 20,000.
        """
        with understood(), self._connection.cursor() as cursor:
            for batch in cursor.sql(sql).to_arrow_reader(rows or _BATCH):
                yield pa.Table.from_batches([batch])

    def read_with(self, given: pa.Table, sql: str) -> pa.Table:
        """Return all that a query over some rows finds.

        Args:
            given: rows that the query calls ``given``.
            sql: the query.
        """
        with understood(), self._connection.cursor() as cursor:
            cursor.register("given", given)
            return cursor.sql(sql).to_arrow_table()

    def run_with(self, given: pa.Table, sql: str) -> None:
        """Run a statement that reads some rows and returns nothing.

        Args:
            given: rows that the statement calls ``given``.
            sql: the statement.
        """
        with understood():
            self._connection.register("given", given)
            try:
                self._connection.execute(sql)
            finally:
                self._connection.unregister("given")


def portions(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Take items a few at a time.

    Args:
        items: the items.
        size: most items at a time.
    """
    rest = iter(items)
    while portion := list(islice(rest, size)):
        yield portion


@contextmanager
def understood() -> Iterator[None]:
    """Tell a disk without room, and make of an interruption what it was; while rows are read, Arrow tells of both.

    Raises:
        OutputError: the temporary folder is full.
    """
    try:
        yield
    except (duckdb.Error, pa.ArrowException, RuntimeError, OSError) as error:
        if _INTERRUPTED in str(error):
            raise KeyboardInterrupt from error
        if any(words in str(error) for words in _NO_ROOM):
            raise OutputError(
                f"the temporary folder cannot hold what is to be sorted: {str(error).splitlines()[0]}; "
                "let TMPDIR name a folder with more space, and run the same command again"
            ) from error
        raise
