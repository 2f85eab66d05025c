"""Positions: where a row, a marker or a batch boundary stands in a task's log.

A position is one ordered 64-bit integer, `offset << 20 | n`. Before record o come its markers (o, 0), (o, 1), ...;
the record itself is (o, 2^20 - 1); the place after it is (o + 1, 0). So "everything up to and with record o" is the
half-open range that ends at `before(o + 1)`.

>>> record(7) < before(8) == after_record(7)
True
>>> offset_of(record(7)), offset_of(before(8))
(7, 8)
"""

from __future__ import annotations

import polars as pl

SHIFT = 20
LAST = (1 << SHIFT) - 1
OFFSET_MAX = (1 << (63 - SHIFT)) - 2
COLUMN = "__position"
"""Name of the column that holds a row's position in every frame between operators (Int64)."""


def before(offset: int) -> int:
    """Position before record `offset` and its markers: where a batch starts or ends."""
    if not 0 <= offset <= OFFSET_MAX:
        raise OverflowError(f"offset {offset} does not fit a position")
    return offset << SHIFT


def record(offset: int) -> int:
    """Position of the record at `offset`."""
    return before(offset) | LAST


def after_record(offset: int) -> int:
    """Position after the record at `offset`: the v of a table that holds it."""
    return before(offset + 1)


def offset_of(position: int) -> int:
    """Offset part of a position: what is compared with Kafka's offsets."""
    return position >> SHIFT


def records(offsets: pl.Series) -> pl.Series:
    """Positions of the records at `offsets` (Int64), as a series named `COLUMN`."""
    return (offsets * (1 << SHIFT) + LAST).cast(pl.Int64).alias(COLUMN)
