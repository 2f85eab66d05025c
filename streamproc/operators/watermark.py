"""`with_watermark`: the running watermark, and no rows without a believable event time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from streamproc.operators.aside import moment, put_aside, together, without_null_times
from streamproc.operators.base import Changes, ReadBucket, Result
from streamproc.operators.batch import NEVER, Batch, Watermarks

_VALUE = "event_time_max"


class WithWatermark:
    """Takes note of the largest event time so far; the watermark W is that much behind it.

    Rejected are rows without an event time ("event_time_null") and rows whose event time is further beyond the
    Kafka timestamp of their record than allowed ("event_time_ahead"): one wrong clock would make all others late.

    Args:
        column: event time, of type `TIME`.
        lateness: W = largest event time - lateness, in microseconds.
        ahead: how far an event time may be beyond the Kafka timestamp, in microseconds.
    """

    state: int
    """Largest event time that was accepted, in microseconds; `NEVER` before the first."""

    def __init__(self, column: str, lateness: int, ahead: int) -> None:
        self._column = column
        self._lateness = lateness
        self._ahead = ahead
        self.state = NEVER

    def process(self, batch: Batch) -> Result:
        """Pass on all believable rows, with `Watermarks`."""
        timed, null = without_null_times(batch, self._column)
        passed, ahead = self._without_ahead(timed)
        rejected = together(null, ahead)
        before = self.state - self._lateness if self.state > NEVER else NEVER
        # Starting from NEVER also keeps differences from overflowing: event times before it (146,000 BC) raise nothing.
        times = passed.rows[self._column].to_physical().to_numpy()
        highest = np.maximum.accumulate(np.maximum(times, self.state))
        raises = np.flatnonzero(highest > np.concatenate(([self.state], highest))[:-1])
        positions = passed.positions.to_numpy()[raises]
        last = np.append(positions[1:] != positions[:-1], True)[: len(positions)]  # of the rows of one record
        if len(raises):
            self.state = int(highest[-1])
        watermarks = Watermarks(before, positions[last], highest[raises][last] - self._lateness)
        return Result(
            replace(passed, watermarks=watermarks),
            {"rejected": batch.rows.height - passed.rows.height},
            rejected=rejected,
        )

    def changes(self) -> Changes:
        """The largest event time."""
        return Changes({_VALUE: self.state})

    def restore(self, values: Mapping[str, Any], buckets: Sequence[int], read: ReadBucket) -> None:  # noqa: ARG002
        """Take up the largest event time."""
        self.state = values.get(_VALUE, NEVER)

    def merge(self, frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
        """No rows are kept, so there are none to merge."""
        return pl.concat(frames)

    def _without_ahead(self, batch: Batch) -> tuple[Batch, pl.DataFrame | None]:
        times = batch.rows[self._column].to_physical()
        stamps = batch.source.timestamp_series.gather(batch.source_index(batch.positions)).to_physical()
        ahead = times > stamps.clip(NEVER, -NEVER) + self._ahead
        if not ahead.any():
            return batch, None
        index = np.flatnonzero(ahead.to_numpy())
        detail = pl.DataFrame({"time": times[index], "stamp": stamps[index]}).select(
            pl.concat_str(
                pl.lit(f'event time "{self._column}" '),
                moment(pl.col("time")),
                pl.lit(" is too far beyond the Kafka timestamp "),
                moment(pl.col("stamp")),
            )
        )
        rejected = put_aside(batch, index, "event_time_ahead", detail.to_series())
        return batch.with_rows(batch.rows.filter(~ahead)), rejected
