"""The seam of all sinks: a place for rows that remembers, atomically with them, how far each task has come (law 4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

import polars as pl


@dataclass(frozen=True, slots=True)
class TableState:
    """What state remembers of a table for one task.

    Args:
        id: identity of the table, changes when it is made anew.
        version: its version as of which `v` is known.
        v: confirmed position: the table holds all rows of the task below it.
        epoch: the owner's epoch.
    """

    id: str
    version: int
    v: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Claim:
    """What a task brings when it claims a table.

    Args:
        task: id of the task.
        topic_id: identity of the topic it reads.
        start: position at which it will go on; v of a table that has none yet.
        confirmed: what its state knows of the table; None if it never wrote there.
        first: True if the task has no earlier state: then the table must not know it.
        same_code: False if the stage's fingerprint changed: then the table must not be ahead of `start`.
    """

    task: str
    topic_id: str
    start: int
    confirmed: TableState | None
    first: bool
    same_code: bool = True


class Sink(Protocol):
    """One table in one process. Calls come from one thread; commits run on the sink's own."""

    def check(self, claims: Iterable[Claim]) -> None:
        """Say now what `claim` would refuse; changes nothing.

        Raises:
            TableError: as in `claim`.
        """
        ...

    def claim(self, claims: Iterable[Claim]) -> Mapping[str, TableState]:
        """Become the owner of these tasks in the table; blocks until that is durable. A missing table is created.

        Raises:
            TableError: the table was deleted, restored or altered, has lost rows, knows a task without state, ...
            Fenced: another owner was faster.
        """
        ...

    def write(self, task: str, rows: pl.DataFrame | None, end: int, counters: Mapping[str, Any]) -> None:
        """Buffer rows (with `position.COLUMN`; None if there are none) of positions below `end`.

        They follow those of the last call. `counters` are the task's cumulative counters as of `end`. May block while
        the buffer is full.

        Raises:
            Fenced: those tasks are another's by now. Rows of a task that is not among them have been taken.
            TableError: what an earlier commit met; or the buffer is full, and the table takes no rows.
        """
        ...

    def commit(self) -> Future[Mapping[str, TableState]]:
        """Make everything written so far durable. The result: what state is to remember, task by task.

        A table without new rows commits nothing and keeps its v. The future raises Fenced or TableError.
        """
        ...

    def release(self, task: str) -> None:
        """Forget a task and what is buffered for it; a commit in flight is waited for."""
        ...

    def close(self) -> None:
        """Stop; what is not committed is dropped."""
        ...
