"""What flows between operators: a frame of rows with their positions, and the running watermark beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import polars as pl

from streamproc import position

TIME = pl.Datetime("us", "UTC")
NEVER = -(1 << 62)
"""The watermark before any event time was seen, in microseconds: earlier than everything."""

HIDDEN: Mapping[str, pl.DataType] = {
    "_topic": pl.String(),
    "_partition": pl.Int32(),
    "_offset": pl.Int64(),
    "_timestamp": TIME,
    "_key": pl.Binary(),
    "_headers": pl.List(pl.Struct({"name": pl.String(), "value": pl.Binary()})),
}
"""Columns that expressions may use up to the first aggregate; never part of `*`."""


@dataclass(frozen=True)
class Records:
    """Consecutive records of one partition, as read from the log. Sequences have one entry a record.

    Args:
        topic: logical topic name.
        partition: its number.
        offsets: ascending, holes allowed.
        timestamps: Kafka timestamps in milliseconds since 1970.
        keys, values: bytes, or None.
        headers: list of (name, value) pairs or None for each record; empty sequence if they were not asked for.
    """

    topic: str
    partition: int
    offsets: Sequence[int]
    timestamps: Sequence[int]
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]
    headers: Sequence[Sequence[tuple[str, bytes | None]] | None] = ()

    def __len__(self) -> int:
        return len(self.offsets)

    @cached_property
    def positions(self) -> pl.Series:
        """Positions of the records: Int64, ascending, named `position.COLUMN`."""
        return position.records(pl.Series(self.offsets, dtype=pl.Int64))

    @cached_property
    def value_series(self) -> pl.Series:
        """Values as Binary."""
        return pl.Series("value", self.values, dtype=pl.Binary)

    @cached_property
    def key_series(self) -> pl.Series:
        """Keys as Binary."""
        return pl.Series("key", self.keys, dtype=pl.Binary)

    @cached_property
    def timestamp_series(self) -> pl.Series:
        """Kafka timestamps as `TIME`."""
        return (pl.Series("timestamp", self.timestamps, dtype=pl.Int64) * 1000).cast(TIME)

    def slice(self, start: int, stop: int) -> Records:
        """Records start..stop-1 by index."""
        return Records(
            self.topic,
            self.partition,
            self.offsets[start:stop],
            self.timestamps[start:stop],
            self.keys[start:stop],
            self.values[start:stop],
            self.headers[start:stop],
        )

    def take(self, indexes: Sequence[int]) -> Records:
        """The records at these indexes, which ascend."""
        return Records(
            self.topic,
            self.partition,
            [self.offsets[i] for i in indexes],
            [self.timestamps[i] for i in indexes],
            [self.keys[i] for i in indexes],
            [self.values[i] for i in indexes],
            [self.headers[i] for i in indexes] if self.headers else (),
        )

    def hidden(self, name: str) -> pl.Series:
        """A hidden column, one value a record, named `name`."""
        match name:
            case "_topic":
                return pl.repeat(self.topic, len(self), dtype=pl.String, eager=True).alias(name)
            case "_partition":
                return pl.repeat(self.partition, len(self), dtype=pl.Int32, eager=True).alias(name)
            case "_offset":
                return pl.Series(name, self.offsets, dtype=pl.Int64)
            case "_timestamp":
                return self.timestamp_series.alias(name)
            case "_key":
                return self.key_series.alias(name)
            case "_headers":
                pairs = [
                    None if row is None else [{"name": n, "value": v} for n, v in row]
                    for row in (self.headers or [None] * len(self))
                ]
                return pl.Series(name, pairs, dtype=HIDDEN[name])
        raise KeyError(name)


@dataclass(frozen=True)
class Watermarks:
    """The running watermark over a batch: W after each record that raises it (law 1: never a batch's maximum).

    Args:
        before: W before the batch, microseconds; `NEVER` if nothing was heard yet.
        positions: Int64 array, ascending: positions of the records that raise it.
        values: Int64 array, strictly increasing, all above `before`: W from that record on.
    """

    before: int = NEVER
    positions: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    values: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))

    @property
    def last(self) -> int:
        """W after the batch."""
        return int(self.values[-1]) if len(self.values) else self.before

    def at(self, positions: pl.Series) -> pl.Series:
        """W after the record at each position, inclusive of that record (Int64)."""
        index = np.searchsorted(self.positions, positions.to_numpy(), side="right")
        return pl.Series(np.concatenate(([self.before], self.values))[index], dtype=pl.Int64)

    def reaches(self, values: pl.Series) -> pl.Series:
        """Position of the first record from which W >= value, for values not above `last` (Int64).

        A value that W had already reached before the batch has no such record: it must not be asked for.
        """
        index = np.searchsorted(self.values, values.to_numpy(), side="left")
        return pl.Series(self.positions[index], dtype=pl.Int64)


@dataclass(frozen=True)
class Batch:
    """Rows caused by the records at positions [start, end) of one task's log.

    Args:
        rows: the user's columns, then `position.COLUMN` (Int64, ascending; several rows may share one position).
        source: the records themselves: hidden columns and rejected payloads are looked up there by position.
        start, end: the range of positions covered, also where it has no rows.
        watermarks: the running watermark, once `with_watermark` has been passed.
        aggregated: True after an aggregate: a row no longer stands for one record of `source`.
    """

    rows: pl.DataFrame
    source: Records
    start: int
    end: int
    watermarks: Watermarks | None = None
    aggregated: bool = False

    @property
    def visible(self) -> pl.DataFrame:
        """The user's columns alone."""
        return self.rows.drop(position.COLUMN)

    @property
    def positions(self) -> pl.Series:
        """The rows' positions."""
        return self.rows[position.COLUMN]

    def with_rows(self, rows: pl.DataFrame) -> Batch:
        """The same range with other rows (which carry their positions)."""
        return replace(self, rows=rows)

    def with_hidden(self, names: Sequence[str]) -> pl.DataFrame:
        """The user's columns and the named hidden columns, row by row."""
        frame = self.visible
        if not names:
            return frame
        index = self.source_index(self.positions)
        return frame.with_columns([self.source.hidden(name).gather(index) for name in names])

    def source_index(self, positions: pl.Series) -> pl.Series:
        """Index into `source` of the record at each position (UInt32)."""
        return self.source.positions.search_sorted(positions).cast(pl.UInt32)
