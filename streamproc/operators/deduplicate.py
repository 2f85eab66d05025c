"""`deduplicate`: of rows with the same keys that lie close together in event time, the first one passes.

Rows are judged in the order of the log. A row is late iff its event time is below W - within, W being the watermark
before its record; a row that is not late is a duplicate iff a row that was *kept* has the same keys and an event time
at most `within` away. (W after the record would say the same of a record's only row: the W that a row raises is its
own event time less the lateness, and never makes it late itself.)

Event time is cut into slots of `within` + 1 microseconds. Two kept rows of one key are further apart than `within`, so
each slot holds at most one of them, and what a row has to be compared with lies in its own slot and the two beside it:
three look-ups of a hash of (keys, slot), however long the key has been seen. Where the event time is one of the keys,
or `within` is 0, duplicates have equal times and one look-up does.

Slots are kept, stored and forgotten in buckets. A later row that is not late has an event time of at least W - within,
and what it is compared with, of at least W - 2 within (W - within where duplicates have equal times): a bucket is
forgotten once its last microsecond is older than that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl

from streamproc.flow.duration import text
from streamproc.operators.aside import moment, put_aside, running, without_null_times
from streamproc.operators.base import Changes, ReadBucket, Result
from streamproc.operators.batch import Batch
from streamproc.operators.firsts import first_ones
from streamproc.operators.hashing import hash_columns
from streamproc.operators.runs import Entries, Runs, add, groups, join, probe

BUCKET = 10_000_000
"""Buckets are at least this long (10 s), so that a short `within` does not make thousands of them."""

ROWS_IN_MEMORY = 8_000_000
"""Above this many rows (24 bytes each, so 200 MB) a task lets go of buckets that it can read again."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """Kept rows of a span of event time.

    Args:
        runs: all of them, or None while they are only in the store.
        fresh: those that the store does not have yet.
        stored: whether the store has any.
        used: number of the batch that last looked here.
    """

    runs: Runs | None = ()
    fresh: Runs = ()
    stored: bool = False
    used: int = 0

    @property
    def rows(self) -> int:
        """How many rows are in memory."""
        return sum(map(len, self.runs or ()))


@dataclass(frozen=True, slots=True)
class Kept:
    """All kept rows that can still matter.

    Args:
        buckets: by number.
        dropped: buckets that the store still has, but should not.
        batch: number of the batch.
    """

    buckets: Mapping[int, Bucket] = field(default_factory=dict)
    dropped: frozenset[int] = frozenset()
    batch: int = 0


class Deduplicate:
    """Passes on the first row of each key, and again once event time has moved on by more than `within`.

    Args:
        keys: columns that make rows the same; null equals null.
        event_time: column with the event time, of type `TIME`; may be one of the keys.
        within: how far apart duplicates may lie in event time, in microseconds.
    """

    state: Kept

    def __init__(self, keys: tuple[str, ...], event_time: str, within: int) -> None:
        self._event_time = event_time
        self._within = within
        self._same_time = event_time in keys or within == 0
        self._keys = keys if event_time in keys or within else (*keys, event_time)
        if self._same_time:
            self._slot, self._slots = max(within // 8, BUCKET), 1
        else:
            self._slot = within + 1
            self._slots = -(-BUCKET // self._slot)
        self._memory = within if self._same_time else 2 * within
        self._read: ReadBucket = lambda _: ()
        self.state = Kept()

    def process(self, batch: Batch) -> Result:
        """Pass on what is neither late nor a duplicate, in the same order."""
        batch, rejected = without_null_times(batch, self._event_time)
        height = batch.rows.height
        batch, late = self._without_late(batch)
        timely = batch.rows.height
        buckets = dict(self.state.buckets)
        number = self.state.batch + 1
        if timely:
            rows, slots = self._entries(batch.rows)
            new = ~self._seen(buckets, number, rows, slots)
            index = np.flatnonzero(new)
            index = index[first_ones(rows.take(index), slots[index], self._within)]
            self._keep(buckets, number, rows.take(index), slots[index])
            batch = batch if len(index) == timely else batch.with_rows(batch.rows[index])
        dropped = self._forget(buckets, batch)
        self._let_go(buckets, number)
        self.state = Kept(buckets, self.state.dropped | dropped, number)
        counts = {
            "rejected": 0 if rejected is None else rejected.height,
            "late": height - timely,
            "duplicates": timely - batch.rows.height,
        }
        return Result(batch, counts, rejected=rejected, late=late)

    def changes(self) -> Changes:
        """New rows by the start of their bucket in microseconds: `hi`, `lo` (UInt64, hash of the keys), `time`."""
        kept = self.state
        changes = Changes(
            appended={self._start(b): self._frame(bucket.fresh) for b, bucket in kept.buckets.items() if bucket.fresh},
            dropped=frozenset(map(self._start, kept.dropped)),
        )
        buckets = {
            b: replace(bucket, fresh=(), stored=bucket.stored or bool(bucket.fresh))
            for b, bucket in kept.buckets.items()
        }
        self._let_go(buckets, kept.batch)
        self.state = Kept(buckets, frozenset(), kept.batch)
        return changes

    def restore(self, values: Mapping[str, Any], buckets: Sequence[int], read: ReadBucket) -> None:  # noqa: ARG002
        """Take up stored buckets; each is read when a row first looks there."""
        self._read = read
        self.state = Kept({start // self._start(1): Bucket(None, stored=True) for start in buckets})

    def merge(self, frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
        """Rows of a bucket are a set: they are put together."""
        return pl.concat(frames)

    def _without_late(self, batch: Batch) -> tuple[Batch, pl.DataFrame | None]:
        marks = running(batch)
        times = batch.rows[self._event_time].to_physical().to_numpy()
        if not len(times) or times.min() >= marks.last - self._within:
            return batch, None
        before = marks.at(batch.positions - 1).to_numpy()
        is_late = times < before - self._within
        index = np.flatnonzero(is_late)
        if not len(index):
            return batch, None
        detail = pl.DataFrame({"time": times[index], "mark": before[index]}).select(
            pl.concat_str(
                pl.lit(f'event time "{self._event_time}" '),
                moment(pl.col("time")),
                pl.lit(f" is more than {text(self._within)} behind the watermark "),
                moment(pl.col("mark")),
            )
        )
        late = put_aside(batch, index, "late", detail.to_series())
        return batch.with_rows(batch.rows.filter(pl.Series(~is_late))), late

    def _entries(self, rows: pl.DataFrame) -> tuple[Entries, np.ndarray]:
        hi, lo = hash_columns(rows, self._keys)
        time = rows[self._event_time].to_physical().to_numpy()
        return Entries(lo, hi, time), time // self._slot

    def _seen(self, buckets: dict[int, Bucket], number: int, rows: Entries, slots: np.ndarray) -> np.ndarray:
        """Which rows have a duplicate among those kept before this batch."""
        seen = np.zeros(len(rows), bool)
        for shift in (0,) if self._same_time else (-1, 0, 1):
            near = slots + shift
            wanted = replace(rows, id=self._id(rows.id, near))
            for b, index in groups(near // self._slots):
                if b in buckets:
                    bucket = buckets[b] = self._loaded(b, buckets[b], number)
                    seen[index] |= probe(bucket.runs or (), wanted.take(index), self._within)
        return seen

    def _keep(self, buckets: dict[int, Bucket], number: int, rows: Entries, slots: np.ndarray) -> None:
        rows = replace(rows, id=self._id(rows.id, slots))
        for b, index in groups(slots // self._slots):
            run = rows.take(index).sorted()
            bucket = self._loaded(b, buckets.get(b, Bucket()), number)
            buckets[b] = replace(bucket, runs=add(bucket.runs or (), run), fresh=(*bucket.fresh, run))

    def _loaded(self, b: int, bucket: Bucket, number: int) -> Bucket:
        if bucket.runs is not None:
            return replace(bucket, used=number)
        frames = self._read(self._start(b))
        time = np.concatenate([frame["time"].to_numpy() for frame in frames])
        lo = np.concatenate([frame["lo"].to_numpy() for frame in frames])
        hi = np.concatenate([frame["hi"].to_numpy() for frame in frames])
        run = Entries(self._id(lo, time // self._slot), hi, time).sorted()
        return replace(bucket, runs=(run,), used=number)

    def _forget(self, buckets: dict[int, Bucket], batch: Batch) -> frozenset[int]:
        """Take out the buckets that no later row can need; those of them that the store has."""
        reach = running(batch).last - self._memory
        old = {b: bucket for b, bucket in buckets.items() if self._start(b + 1) <= reach}
        for b in old:
            del buckets[b]
        return frozenset(b for b, bucket in old.items() if bucket.stored)

    def _let_go(self, buckets: dict[int, Bucket], number: int) -> None:
        """Above the limit, drop from memory what was not looked at for longest and can be read again."""
        rows = sum(bucket.rows for bucket in buckets.values())
        for b in sorted(buckets, key=lambda b: buckets[b].used):
            bucket = buckets[b]
            if rows <= ROWS_IN_MEMORY:
                return
            if bucket.stored and not bucket.fresh and bucket.used < number:
                rows -= bucket.rows
                buckets[b] = replace(bucket, runs=None)

    def _start(self, b: int) -> int:
        return b * self._slot * self._slots

    def _id(self, lo: np.ndarray, slots: np.ndarray) -> np.ndarray:
        """Half of the hash of (keys, slot); its own inverse."""
        mixed: np.ndarray = slots.view(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        return lo if self._same_time else lo ^ mixed

    def _frame(self, fresh: Runs) -> pl.DataFrame:
        rows = join(fresh)
        return pl.DataFrame({"hi": rows.hi, "lo": self._id(rows.id, rows.time // self._slot), "time": rows.time})
