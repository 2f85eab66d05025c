"""The Delta log, read as it is: JSON files by version. What others did stands there, and what `verify` proves."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
import pyarrow.fs as pafs
from deltalake.fs import DeltaStorageHandler

METADATA = "streamproc"
"""Key of our entry in a commit's metadata."""

_FILE = re.compile(r"_delta_log/(\d{20})\.json$")
_ALTERING = ("RESTORE", "DELETE", "UPDATE", "MERGE", "TRUNCATE", "CREATE OR REPLACE", "REPLACE")


@dataclass(frozen=True, slots=True)
class Added:
    """A data file that a commit adds; `rows` is None where no statistics are kept."""

    path: str
    rows: int | None


@dataclass(frozen=True, slots=True)
class Commit:
    """One version of a table.

    Args:
        version: its number.
        operation: e.g. "WRITE", "RESTORE"; "" if the writer named none.
        mode: of a write: "Append", "Overwrite".
        metadata: what streamproc wrote about it; empty if it was another's.
        added: data files added.
        removed: paths of data files removed.
        removes_rows: True if a removal is said to change data (an OPTIMIZE says that it does not).
        txns: transaction ids that it sets.
        rows_written: as the writer's metrics say; None if they don't.
    """

    version: int
    operation: str = ""
    mode: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    added: tuple[Added, ...] = ()
    removed: tuple[str, ...] = ()
    removes_rows: bool = False
    txns: Mapping[str, int] = field(default_factory=dict)
    rows_written: int | None = None

    def alters(self, topology: str) -> bool:
        """True if this is a commit of somebody else that may have changed or removed rows of ours."""
        if self.metadata.get("topology") == topology:
            return False
        overwrites = self.mode.lower() == "overwrite"
        return self.removes_rows or overwrites or self.operation.upper().startswith(_ALTERING)


class Log:
    """The log files of a table.

    Args:
        uri: where the table is.
        storage_options: of the object store.
    """

    def __init__(self, uri: str, storage_options: Mapping[str, str] | None = None) -> None:
        self._files = pafs.PyFileSystem(DeltaStorageHandler(uri, dict(storage_options or {})))

    def versions(self) -> list[int]:
        """Versions whose files are there, in order."""
        found = self._files.get_file_info(pafs.FileSelector("_delta_log", allow_not_found=True))
        matches = (_FILE.search(info.path) for info in found)
        return sorted(int(match.group(1)) for match in matches if match)

    def read(self, version: int) -> Commit | None:
        """One version, or None if its file is gone (logs are cleaned after a while)."""
        try:
            with self._files.open_input_file(f"_delta_log/{version:020}.json") as file:
                return parse(version, file.read())
        except FileNotFoundError:
            return None

    def between(self, first: int, last: int) -> Iterator[Commit]:
        """Versions first..last (both included) that are still there."""
        for version in range(first, last + 1):
            commit = self.read(version)
            if commit is not None:
                yield commit


def parse(version: int, data: bytes) -> Commit:
    """A log file's content."""
    actions = [orjson.loads(line) for line in data.splitlines() if line.strip()]
    info: dict[str, Any] = next((action["commitInfo"] for action in actions if "commitInfo" in action), {})
    adds = [action["add"] for action in actions if "add" in action]
    removes = [action["remove"] for action in actions if "remove" in action]
    txns = [action["txn"] for action in actions if "txn" in action]
    metadata = info.get(METADATA)
    return Commit(
        version=version,
        operation=str(info.get("operation", "")),
        mode=str((info.get("operationParameters") or {}).get("mode", "")),
        metadata=metadata if isinstance(metadata, dict) else {},
        added=tuple(Added(add["path"], _rows(add)) for add in adds),
        removed=tuple(remove["path"] for remove in removes),
        removes_rows=any(remove.get("dataChange", True) for remove in removes),
        txns={txn["appId"]: txn["version"] for txn in txns},
        rows_written=(info.get("operationMetrics") or {}).get("num_added_rows"),
    )


def _rows(add: Mapping[str, Any]) -> int | None:
    stats = add.get("stats")
    rows = orjson.loads(stats).get("numRecords") if stats else None
    return int(rows) if rows is not None else None
