"""The seam of all operators: batch in, batch out; state, if any, as an immutable value and append-only chunks.

An operator never reads a clock, a socket or a file, and its output never depends on where batches are cut (law 1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import polars as pl

from streamproc.operators.batch import Batch

OnFail = Literal["warn", "drop", "reject", "stop"]
"""What becomes of a row that fails: it is passed on and counted, dropped, set aside as rejected, or the run stops."""


@dataclass(frozen=True, slots=True)
class Result:
    """What an operator makes of a batch.

    Args:
        batch: rows passed on.
        counts: input rows that were not passed on, by outcome: "filtered", "duplicates", "late", "rejected", "dropped",
            "unmatched", and the change of "held" (rows that wait in state; negative when they leave it). What is not
            named was passed on. "warned" is extra: those rows pass.
        rejected: rows for `<topology>__rejected`: `position.COLUMN` Int64, "reason" String, "detail" String, and
            "value" Binary only where the payload is not that of the source record (rows after an aggregate).
        late: rows for `<topology>__late`: the same columns.
    """

    batch: Batch
    counts: Mapping[str, int] = field(default_factory=dict)
    rejected: pl.DataFrame | None = None
    late: pl.DataFrame | None = None


class Operator(Protocol):
    """The code of a step."""

    def process(self, batch: Batch) -> Result:
        """Process one batch.

        Raises:
            DataError: the record at `position` must stop the run. State may have moved: the caller restores it.
        """
        ...


@dataclass(frozen=True, slots=True)
class Changes:
    """State that changed since the last call of `changes()`.

    Args:
        values: small values, whole each time, as JSON holds them (int, float, str, None, lists and dicts of these).
        appended: new rows of a bucket. Buckets are integers, here event times in microseconds.
        dropped: buckets that are forgotten, all rows of them; applied before `appended`.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    appended: Mapping[int, pl.DataFrame] = field(default_factory=dict)
    dropped: frozenset[int] = frozenset()


ReadBucket = Callable[[int], Sequence[pl.DataFrame]]
"""All rows of a bucket as of the last checkpoint, as the frames they were appended in or merged into."""


@runtime_checkable
class Stateful(Protocol):
    """An operator with state.

    `state` is an immutable value that holds everything that `process` changes: putting an earlier value back undoes a
    batch. Rows handed out by `changes()` come back by `ReadBucket`, so they need not be kept in memory.
    """

    state: Any

    def process(self, batch: Batch) -> Result: ...

    def changes(self) -> Changes:
        """What changed since the last call; called at a checkpoint only."""
        ...

    def restore(self, values: Mapping[str, Any], buckets: Sequence[int], read: ReadBucket) -> None:
        """Take up the state of a checkpoint. Called once, before the first batch; with nothing for a new task."""
        ...

    def merge(self, frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
        """Rows of one bucket, appended separately, as one frame with the same meaning."""
        ...
