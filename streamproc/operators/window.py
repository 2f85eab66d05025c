"""`group_by(tumbling(...), keys).agg(...)`: one row for each window and group, once the watermark has passed it.

A row belongs to the window that its event time lies in. It is late iff that window's end <= W, the watermark before its
record. A window closes at the first record from which W >= its end, whether or not rows of that record get here; what
it yields has that record's position. (A record that both closes a window and has a row for it: the row still counts.)

Until then a window is kept as partial results, one row for each group of each part; parts are merged when they
outnumber the groups. Sums of floats may differ in their last bits with the parts; all else does not depend on them.

They are stored in buckets of `BUCKET` at least, each as many windows long as that takes: a manifest names every bucket,
and an hour of lateness is 3,600 open windows of a second. A bucket is dropped once all its windows are closed. Until
then the store has rows of closed windows too, however merged: up to which time windows are closed is stored beside
them, and a restart leaves out what has closed by then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from streamproc import position
from streamproc.errors import DataError
from streamproc.flow.aggregates import Aggregate
from streamproc.flow.windows import Tumbling
from streamproc.operators import aggregates as computing
from streamproc.operators.aside import moment, put_aside, running, without_null_times
from streamproc.operators.base import Changes, ReadBucket, Result
from streamproc.operators.batch import NEVER, TIME, Batch, Watermarks
from streamproc.operators.evaluate import evaluate

SMALL = 4_096
"""Parts are not merged below this many rows."""

BUCKET = 600_000_000
"""Buckets are at least this long (10 min)."""

_START, _ROWS, _CLOSED = "window", "rows", "closed"
_TIME, _POSITION = computing.TIME_COLUMN, computing.POSITION_COLUMN

Parts = tuple[pl.DataFrame, ...]


@dataclass(frozen=True, slots=True)
class Open:
    """Open windows as partial results.

    Args:
        settled: those that the store has.
        fresh: those that it has not.
        stored: buckets in the store.
        dropped: those that the store still has, but should not: all their windows are closed.
        first: no open window starts earlier; None if there are none.
        closed: windows that end at this time or before are closed, in microseconds.
    """

    settled: Parts = ()
    fresh: Parts = ()
    stored: frozenset[int] = frozenset()
    dropped: frozenset[int] = frozenset()
    first: int | None = None
    closed: int = NEVER


class Window:
    """Aggregates over tumbling windows.

    Args:
        tumbling: the windows.
        keys: columns to group by within a window; null is a group like any other.
        event_time: column with the event time, of type `TIME`.
        aggregates: by output column.
        schema: columns of the input.
        hidden: hidden columns that the aggregates use.

    Raises:
        TopologyError: an aggregate does not suit its type.
    """

    state: Open

    def __init__(
        self,
        tumbling: Tumbling,
        keys: tuple[str, ...],
        event_time: str,
        aggregates: Mapping[str, Aggregate],
        schema: Mapping[str, pl.DataType],
        hidden: tuple[str, ...] = (),
    ) -> None:
        self.columns = computing.output_columns(schema, keys, aggregates)
        self._tumbling = tumbling
        self._bucket = tumbling.every * max(1, -(-BUCKET // tumbling.every))
        self._keys = keys
        self._event_time = event_time
        self._hidden = hidden
        self._computations = computing.compile_aggregates(schema, aggregates)
        # 0.0 and -0.0 are one group: which of them it shows must not depend on which came first.
        self._keys_out = [_one_zero(pl.col(key)) if schema[key].is_float() else pl.col(key) for key in keys]
        self._group = [_START, *(f"key{i}" for i in range(len(keys)))]
        self.state = Open()

    def process(self, batch: Batch) -> Result:
        """Take the rows in, and pass on the windows that close.

        Raises:
            DataError: SP610, a sum does not fit an Int64 or a Decimal of 38 digits; the position is where that window
                closes. SP611, an expression of an aggregate fails at a row.
        """
        marks = running(batch)
        timed, rejected = without_null_times(batch, self._event_time)
        starts = self._floor(timed.rows[self._event_time].to_physical().to_numpy())
        timely, starts, late = self._without_late(timed, starts)
        if len(starts):
            first = int(starts.min())
            known = self.state.first
            fresh = self._add(self.state.fresh, self._partial(timely, starts))
            self.state = replace(self.state, fresh=fresh, first=first if known is None else min(first, known))
        closed = self._close(marks)
        self._forget(marks.last)
        rows, held = (self._no_rows(), 0) if closed is None else self._finish(closed, marks)
        counts = {
            "rejected": 0 if rejected is None else rejected.height,
            "late": timed.rows.height - len(starts),
            "held": len(starts) - held,
        }
        out = replace(batch, rows=rows, watermarks=self._floored(marks), aggregated=True)
        return Result(out, counts, rejected=rejected, late=late)

    def changes(self) -> Changes:
        """New partial results by the start of their bucket in microseconds, and up to when windows are closed."""
        state = self.state
        fresh = self.merge(state.fresh) if state.fresh else None
        appended = {} if fresh is None else self._by_bucket(fresh)
        settled = state.settled if fresh is None else self._add(state.settled, fresh)
        self.state = replace(
            state, settled=settled, fresh=(), stored=state.stored | appended.keys(), dropped=frozenset()
        )
        return Changes({_CLOSED: state.closed}, appended, state.dropped)

    def restore(self, values: Mapping[str, Any], buckets: Sequence[int], read: ReadBucket) -> None:
        """Take up the open windows."""
        closed = values.get(_CLOSED, NEVER)
        is_open = pl.col(_START) > closed - self._tumbling.every
        frames = [rows for b in buckets for frame in read(b) if (rows := frame.filter(is_open)).height]
        settled = (self.merge(frames),) if frames else ()
        self.state = Open(settled, stored=frozenset(buckets), first=_first(settled), closed=closed)

    def merge(self, frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
        """Partial results as one, with one row for each group."""
        steps = [step for computation in self._computations.values() for step in computation.merge_step]
        return pl.concat(frames).group_by(self._group).agg(pl.col(_ROWS).sum(), *steps)

    def _by_bucket(self, partial: pl.DataFrame) -> dict[int, pl.DataFrame]:
        start, offset = pl.col(_START), self._tumbling.offset
        bucket = (start - (start - offset) % self._bucket).alias("bucket")
        parts = partial.with_columns(bucket).partition_by("bucket", as_dict=True, include_key=False)
        return {int(start): rows for (start,), rows in parts.items()}

    def _floor(self, times: np.ndarray) -> np.ndarray:
        """Start of the window that each time lies in."""
        result: np.ndarray = times - (times - self._tumbling.offset) % self._tumbling.every
        return result

    def _without_late(self, batch: Batch, starts: np.ndarray) -> tuple[Batch, np.ndarray, pl.DataFrame | None]:
        marks, every = running(batch), self._tumbling.every
        if not len(starts) or starts.min() + every > marks.last:
            return batch, starts, None
        before = marks.at(batch.positions - 1).to_numpy()
        is_late = starts + every <= before
        index = np.flatnonzero(is_late)
        if not len(index):
            return batch, starts, None
        detail = pl.DataFrame({"start": starts[index], "mark": before[index]}).select(
            pl.concat_str(
                pl.lit("window ["),
                moment(pl.col("start")),
                pl.lit(", "),
                moment(pl.col("start") + every),
                pl.lit(") was closed at watermark "),
                moment(pl.col("mark")),
            )
        )
        late = put_aside(batch, index, "late", detail.to_series())
        return batch.with_rows(batch.rows.filter(pl.Series(~is_late))), starts[~is_late], late

    def _partial(self, batch: Batch, starts: np.ndarray) -> pl.DataFrame:
        """Partial results of rows."""
        computations = self._computations.values()
        rows = self._values(batch).with_columns(
            pl.Series(_START, starts),
            *batch.rows.select(key.alias(name) for key, name in zip(self._keys_out, self._group[1:], strict=True)),
            batch.rows[self._event_time].to_physical().alias(_TIME),
            batch.positions.alias(_POSITION),
        )
        if any(computation.ordered for computation in computations):
            rows = rows.sort(_TIME, maintain_order=True)
        steps = [step for computation in computations for step in computation.first_step]
        return rows.group_by(self._group).agg(pl.len().cast(pl.Int64).alias(_ROWS), *steps)

    def _values(self, batch: Batch) -> pl.DataFrame:
        """What is to be aggregated, row by row."""
        exprs = [value for computation in self._computations.values() for value in computation.prepared]
        names = [value.meta.output_name() for value in exprs]
        return evaluate(batch, exprs, self._hidden).select(names)

    def _add(self, parts: Parts, part: pl.DataFrame) -> Parts:
        """Parts and one more; the first has one row a group, the others together never more than it (or `SMALL`)."""
        parts = (*parts, part)
        pending = sum(part.height for part in parts[1:])
        return (self.merge(parts),) if pending > max(parts[0].height, SMALL) else parts

    def _close(self, marks: Watermarks) -> pl.DataFrame | None:
        """Take the windows that W has passed out of the state, as one frame of partial results."""
        state, every = self.state, self._tumbling.every
        if state.first is None or state.first + every > marks.last or not len(marks.values):
            return None
        passed = pl.col(_START) <= marks.last - every
        parts = (*state.settled, *state.fresh)
        settled, fresh = (
            tuple(rest for part in some if (rest := part.filter(~passed)).height)
            for some in (state.settled, state.fresh)
        )
        self.state = replace(state, settled=settled, fresh=fresh, first=_first((*settled, *fresh)))
        return self.merge([part.filter(passed) for part in parts])

    def _forget(self, closed: int) -> None:
        """Take note of what is closed, and of buckets in which nothing is open any more."""
        state = self.state
        done = frozenset(bucket for bucket in state.stored if bucket + self._bucket <= closed)
        self.state = replace(state, stored=state.stored - done, dropped=state.dropped | done, closed=closed)

    def _finish(self, partial: pl.DataFrame, marks: Watermarks) -> tuple[pl.DataFrame, int]:
        """Output rows of closed windows, and how many input rows they stand for."""
        start, every = pl.col(_START), self._tumbling.every
        rows = partial.with_columns(marks.reaches(partial[_START] + every).alias(position.COLUMN))
        rows = rows.sort(position.COLUMN, *self._group)
        result = rows.select(
            start.cast(TIME).alias("window_start"),
            (start + every).cast(TIME).alias("window_end"),
            *(pl.col(f"key{i}").alias(key) for i, key in enumerate(self._keys)),
            *(computation.finish.alias(name) for name, computation in self._computations.items()),
            position.COLUMN,
        )
        self._check_sums(result)
        return result, int(partial[_ROWS].sum())

    def _check_sums(self, result: pl.DataFrame) -> None:
        checked = [name for name, computation in self._computations.items() if computation.checked]
        failed = result.filter(pl.any_horizontal(pl.col(checked).is_null())) if checked else result.clear()
        if failed.height:
            row = failed.row(0, named=True)
            name = next(name for name in checked if row[name] is None)
            group = "".join(f", {key} = {row[key]!r}" for key in self._keys)
            raise DataError(
                "SP610",
                f'the sum "{name}" does not fit {self.columns[name]}',
                position=row[position.COLUMN],
                skippable=False,
                detail=[f"window [{row['window_start']}, {row['window_end']}){group}"],
                fix="cast the value to Float64",
            )

    def _floored(self, marks: Watermarks) -> Watermarks:
        """W of the rows that are passed on: the start of the first window that is still open."""
        before = marks.before if marks.before == NEVER else int(self._floor(np.array([marks.before]))[0])
        values = self._floor(marks.values)
        rises = values > np.concatenate(([before], values))[:-1]
        return Watermarks(before, marks.positions[rises], values[rises])

    def _no_rows(self) -> pl.DataFrame:
        return pl.DataFrame(schema={**self.columns, position.COLUMN: pl.Int64()})


def _first(parts: Parts) -> int | None:
    """The first start of all windows."""
    return min((int(part[_START].to_numpy().min()) for part in parts), default=None)


def _one_zero(value: pl.Expr) -> pl.Expr:
    return pl.when(value == 0).then(value.abs()).otherwise(value)
