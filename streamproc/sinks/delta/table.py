"""A Delta table as the protocol sees it: find or create it, read what it knows of tasks, commit rows with their ids.

A commit here is what delta-rs makes of it: done, or an exception that says nothing (see `protocol`). One handle is
kept, because the compare-and-swap on transaction ids is against the handle's snapshot. Not for use by two threads.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import polars as pl
from deltalake import ColumnProperties, DeltaTable, WriterProperties, write_deltalake
from deltalake.exceptions import DeltaError

from streamproc.plan import model
from streamproc.sinks.delta import problems
from streamproc.sinks.delta.handle import FORMAT, NO_HOOKS, OWNER, load, properties
from streamproc.sinks.delta.log import Commit, Log
from streamproc.sinks.delta.retry import PATIENT, Retry, Sleep
from streamproc.sinks.delta.schema import delta_schema, differences, stored_columns
from streamproc.sinks.protocol import FORGOTTEN, InTable, owner_id, topic_id

_SAMPLE_ROWS = 1000
_WRITTEN_BY_DICTIONARY = 0.5
"""Columns with fewer distinct values than this part of a sample are written with a dictionary."""


class Table:
    """One table, which may be missing until `take`: to open it writes nothing.

    Args:
        uri: see `uri_of`.
        planned: its columns and partitioning.
        topology: name of the topology that owns it.
        storage_options: of the object store.
        sleep: waits, in seconds.

    Raises:
        TableError: it differs from what is planned, belongs to another topology, can't be read.
    """

    def __init__(
        self, uri: str, planned: model.Table, topology: str, storage_options: Mapping[str, str] | None, sleep: Sleep
    ) -> None:
        self.uri = uri
        self.topology = topology
        self._options = dict(storage_options or {})
        self._sleep = sleep
        self._types = stored_columns(uri, planned.columns)
        self._schema = delta_schema(self._types)
        self._partition_by = list(planned.partition_by)
        self._casts = {name: t for name, t in self._types.items() if t != planned.columns[name]}
        self._found: DeltaTable | None = None
        self.id = ""
        """Its identity, "" as long as it is missing."""
        self.reload()

    @property
    def version(self) -> int:
        """Version of the handle; -1 as long as the table is missing."""
        return self._found.version() if self._found else -1

    @property
    def is_ours(self) -> bool:
        """True if it is there and says that it is its topology's."""
        return self._found is not None and OWNER in self._found.metadata().configuration

    def reload(self) -> None:
        """Take a fresh handle, if the table is there.

        Raises:
            TableError: the table is gone, made anew, no longer as planned or ours.
        """
        handle = load(self.uri, self._options, self._sleep, PATIENT)
        if handle is None:
            if self.id:
                raise problems.deleted(self.uri)
            return
        id = str(handle.metadata().id)
        if self.id and id != self.id:
            raise problems.remade(self.uri, self.id, id)
        self._check(handle)
        self._found, self.id = handle, id

    def take(self) -> None:
        """Create the table, or adopt one without an owner; others may be doing the same.

        Raises:
            TableError: as `reload`, or it can't be written.
        """
        retry = self.retry("written")
        while not self.is_ours:
            try:
                self._adopt() if self._found else self._create()
            except (DeltaError, OSError) as error:
                retry.after(error)
            self.reload()

    def retry(self, doing: str) -> Retry:
        """Patience with one thing that is done to the table: "written" or "read"."""
        return Retry(self.uri, doing, self._sleep)

    def read(self, task: str) -> InTable:
        """What the table holds of a task, as of the handle."""
        if self._found is None:
            return InTable()
        version_of = self._found.transaction_version
        v, epoch = version_of(task), version_of(owner_id(task))
        return InTable(None if v in (None, FORGOTTEN) else v, epoch or 0, version_of(topic_id(task)))

    def commits(self, first: int, last: int) -> list[Commit]:
        """Versions first..last (both included) whose log files are still there.

        Raises:
            TableError: they can't be read.
        """
        retry = self.retry("read")
        while True:
            try:
                return list(self._log.between(first, last))
            except OSError as error:
                retry.after(error)

    def writers(self, first: int) -> dict[str, str]:
        """Writer of the last commit that names a task, by task, from version `first` to that of the handle."""
        return {
            task: commit.metadata.get("writer", "")
            for commit in self.commits(first, self.version)
            for task in commit.metadata.get("epochs", ())
        }

    def stored(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The planned columns of `rows`, in the types that the table holds."""
        return rows.select(*self._types).cast(self._casts) if self._casts else rows.select(*self._types)  # type: ignore[arg-type]

    def append(self, rows: pl.DataFrame, txns: Mapping[str, int], metadata: Mapping[str, Any]) -> None:
        """Commit rows (see `stored`) and transaction ids as one.

        Raises:
            Any exception of delta-rs or the store; the commit may have landed.
        """
        write_deltalake(
            self._handle,
            rows.to_arrow(compat_level=pl.CompatLevel.oldest()),
            mode="append",
            writer_properties=_writer_properties(rows),
            commit_properties=properties(txns, metadata),
            post_commithook_properties=NO_HOOKS,
        )

    def touch(self, txns: Mapping[str, int], metadata: Mapping[str, Any]) -> None:
        """Commit transaction ids alone. Raises as `append`."""
        self._handle.create_write_transaction(
            [],
            "append",
            self._handle.schema(),
            partition_by=self._partition_by,
            commit_properties=properties(txns, metadata),
            post_commithook_properties=NO_HOOKS,
        )
        self._handle.update_incremental()

    def checkpoint(self) -> None:
        """Write a checkpoint of the log as of the handle."""
        self._handle.create_checkpoint()

    def check_foreign(self, first: int, last: int) -> None:
        """Look at commits first..last. What came before a reset has been accepted by it.

        Raises:
            TableError: one of them is by somebody else and altered rows; version and operation are named.
        """
        bad: list[Commit] = []
        for commit in self.commits(first, last):
            if "reset" in commit.metadata:
                bad.clear()
            elif commit.alters(self.topology):
                bad.append(commit)
        if bad:
            raise problems.altered(self.uri, bad)

    @cached_property
    def _log(self) -> Log:
        return Log(self.uri, self._options)

    @property
    def _handle(self) -> DeltaTable:
        if self._found is None:
            raise problems.deleted(self.uri)
        return self._found

    def _adopt(self) -> None:
        self._handle.alter.set_table_properties(
            {OWNER: self.topology},
            raise_if_not_exists=False,
            commit_properties=properties({}, self._metadata),
            post_commithook_properties=NO_HOOKS,
        )

    def _create(self) -> None:
        """Of several at once one succeeds: retried, a creation would land on top of the other's, as another table."""
        DeltaTable.create(
            self.uri,
            self._schema,
            partition_by=self._partition_by,
            configuration={OWNER: self.topology},
            storage_options=self._options,
            commit_properties=properties({}, self._metadata, retries=0),
            post_commithook_properties=NO_HOOKS,
            raise_if_key_not_exists=False,
        )

    @property
    def _metadata(self) -> dict[str, Any]:
        return {"format": FORMAT, "topology": self.topology}

    def _check(self, handle: DeltaTable) -> None:
        metadata = handle.metadata()
        owner = metadata.configuration.get(OWNER, self.topology)
        if owner != self.topology:
            raise problems.owned_by_other(self.uri, owner, self.topology)
        lines = differences(self._schema, self._partition_by, handle.schema(), metadata.partition_columns)
        if lines:
            raise problems.schema_differs(self.uri, lines)


def _writer_properties(rows: pl.DataFrame) -> WriterProperties:
    """zstd 1; a dictionary only for columns whose values repeat in a sample: for others it doubles the time."""
    sample = rows.head(_SAMPLE_ROWS)
    limit = max(1, int(sample.height * _WRITTEN_BY_DICTIONARY))
    repeating = [
        name
        for name, dtype in sample.schema.items()
        if not dtype.is_nested() and not dtype.is_float() and sample[name].n_unique() <= limit
    ]
    return WriterProperties(
        compression="ZSTD",
        compression_level=1,
        default_column_properties=ColumnProperties(dictionary_enabled=False),
        column_properties={name: ColumnProperties(dictionary_enabled=True) for name in repeating},
    )
