"""Batches for operators that look at one row at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from streamproc import position
from streamproc.operators.base import Result
from streamproc.operators.batch import Batch, Records


def source(values: Sequence[bytes | None], first: int = 100) -> Batch:
    """A batch as its task's source step gets it: positions alone. Records have offsets first, first + 2, ..."""
    offsets = [first + 2 * i for i in range(len(values))]
    keys = [b"k%d" % i for i in range(len(values))]
    records = Records("events", 3, offsets, [1_000 + i for i in range(len(values))], keys, values)
    return Batch(
        pl.DataFrame([records.positions]), records, position.before(first), position.before(first + 2 * len(values))
    )


def batch(columns: Mapping[str, Sequence[Any]] | pl.DataFrame, *, aggregated: bool = False) -> Batch:
    """A batch with one row a record."""
    frame = pl.DataFrame(columns)
    made = source([b"payload %d" % i for i in range(frame.height)])
    return Batch(frame.with_columns(made.positions), made.source, made.start, made.end, aggregated=aggregated)


def part(whole: Batch, start: int, stop: int) -> Batch:
    """Rows start..stop-1 of a batch that has one row a record."""
    return Batch(
        whole.rows.slice(start, stop - start),
        whole.source.slice(start, stop),
        whole.start,
        whole.end,
        aggregated=whole.aggregated,
    )


def at(row: int) -> int:
    """Position of a record of these batches."""
    return position.record(100 + 2 * row)


def places(result: Result) -> list[int]:
    """Which records the rows passed on stem from."""
    return [(position.offset_of(p) - 100) // 2 for p in result.batch.rows[position.COLUMN].to_list()]


def rejected(result: Result) -> list[tuple[int, str]]:
    """(record, reason) of the rejected rows."""
    frame = result.rejected
    if frame is None:
        return []
    return [
        ((position.offset_of(p) - 100) // 2, reason) for p, reason in frame.select(position.COLUMN, "reason").rows()
    ]
