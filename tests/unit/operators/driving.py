"""Drives operators as a worker does: batches cut anywhere, checkpoints, restarts, batches undone and redone."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import polars as pl
from hypothesis import strategies as st

from streamproc import position
from streamproc.operators.base import Result, Stateful
from streamproc.operators.batch import Batch, Records

S = 1_000_000
FAR = 1 << 50
"""A Kafka timestamp in milliseconds that no event time is ahead of."""

Event = Literal["go on", "checkpoint", "restart", "crash", "undo"]
Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Source:
    """Args:
    schema: columns of the rows.
    records: rows of each record; record i has offset 2 * i, since real logs have holes.
    timestamps: Kafka timestamps in milliseconds.
    """

    schema: Mapping[str, pl.DataType]
    records: Sequence[Rows]
    timestamps: Sequence[int] = ()

    def batch(self, start: int, stop: int) -> Batch:
        """Records start..stop-1."""
        numbers = range(start, stop)
        stamps = [self.timestamps[i] if self.timestamps else FAR for i in numbers]
        offsets = [2 * i for i in numbers]
        values = [b"%d" % i for i in numbers]
        records = Records("topic", 0, offsets, stamps, [None] * len(offsets), values)
        rows = [{**row, position.COLUMN: at(i)} for i in numbers for row in self.records[i]]
        frame = pl.DataFrame(rows, schema={**self.schema, position.COLUMN: pl.Int64()}, orient="row")
        return Batch(frame, records, position.before(2 * start), position.before(2 * stop))


def at(record: int) -> int:
    """Position of a record of a `Source`."""
    return position.record(2 * record)


class Keeper:
    """Keeps the state of one operator, in frames that have been written and read."""

    def __init__(self) -> None:
        self.values: Mapping[str, Any] = {}
        self.buckets: dict[int, list[bytes]] = {}

    def checkpoint(self, operator: Stateful) -> None:
        changes = operator.changes()
        self.values = changes.values
        assert changes.dropped <= self.buckets.keys(), "a bucket is dropped that was never stored"
        for bucket in changes.dropped:
            del self.buckets[bucket]
        for bucket, rows in changes.appended.items():
            chunks = [rows, *self.read(bucket)]
            if len(chunks) > 2:
                chunks = [operator.merge(chunks[:2]), *chunks[2:]]
            self.buckets[bucket] = [_written(chunk) for chunk in chunks]

    def read(self, bucket: int) -> list[pl.DataFrame]:
        return [pl.read_ipc_stream(io.BytesIO(data)) for data in self.buckets.get(bucket, ())]


def _written(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_ipc_stream(buffer)
    return buffer.getvalue()


@dataclass
class Seen:
    """What came out of a chain, whatever happened on the way."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    late: list[dict[str, Any]] = field(default_factory=list)
    rejected: list[dict[str, Any]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    track: list[tuple[int, int]] = field(default_factory=list)

    def take(self, results: Sequence[Result]) -> None:
        last = results[-1]
        self.rows += last.batch.rows.to_dicts()
        for result in results:
            self.late += [] if result.late is None else result.late.to_dicts()
            self.rejected += [] if result.rejected is None else result.rejected.to_dicts()
            for name, rows in result.counts.items():
                self.counts[name] = self.counts.get(name, 0) + rows
        marks = last.batch.watermarks
        assert marks is not None
        self.track += zip(marks.positions.tolist(), marks.values.tolist(), strict=True)

    def copy(self) -> Seen:
        return Seen(list(self.rows), list(self.late), list(self.rejected), dict(self.counts), list(self.track))


class Chain:
    """Stateful operators one after the other.

    Args:
        build: makes them anew.
        between: what happens to the first one's output, e.g. a filter.
    """

    def __init__(
        self, build: Callable[[], Sequence[Stateful]], between: Callable[[Batch], Batch] = lambda b: b
    ) -> None:
        self._build = build
        self._between = between
        self._keepers = [Keeper() for _ in build()]
        self.operators = list(build())
        self._start()

    def _start(self) -> None:
        self.operators = list(self._build())
        for operator, keeper in zip(self.operators, self._keepers, strict=True):
            operator.restore(keeper.values, sorted(keeper.buckets), keeper.read)

    def process(self, batch: Batch) -> list[Result]:
        results: list[Result] = []
        for operator in self.operators:
            results.append(operator.process(batch))
            batch = results[-1].batch if len(results) > 1 else self._between(results[-1].batch)
        return results

    def _checkpoint(self) -> None:
        for operator, keeper in zip(self.operators, self._keepers, strict=True):
            keeper.checkpoint(operator)

    @property
    def stored(self) -> list[int]:
        """Buckets of the last operator that are stored."""
        return sorted(self._keepers[-1].buckets)

    def run(self, source: Source, cuts: Sequence[tuple[int, Event]] = ()) -> Seen:
        """Process all records, cut into batches of these sizes, with these events after them; the rest at once, and
        a checkpoint.
        """
        seen, done, durable = Seen(), 0, (0, Seen())
        for size, event in [*cuts, (len(source.records), "go on")]:
            stop = min(done + size, len(source.records))
            if event == "undo":
                before = [operator.state for operator in self.operators]
                self.process(source.batch(done, stop))
                for operator, state in zip(self.operators, before, strict=True):
                    operator.state = state
            seen.take(self.process(source.batch(done, stop)))
            done = stop
            if event in ("checkpoint", "restart"):
                self._checkpoint()
                durable = (done, seen.copy())
            if event in ("restart", "crash"):
                done, seen = durable[0], durable[1].copy()
                self._start()
        self._checkpoint()
        return seen


T = TypeVar("T")


def several(element: st.SearchStrategy[T], most: int) -> st.SearchStrategy[list[T]]:
    """Lists of all lengths alike; left alone, Hypothesis prefers short ones, in which nothing meets."""
    return st.integers(0, most).flatmap(lambda n: st.lists(element, min_size=n, max_size=n))


def cuts() -> st.SearchStrategy[list[tuple[int, Event]]]:
    """Any way through a log."""
    events: list[Event] = ["go on", "checkpoint", "restart", "crash", "undo"]
    return several(st.tuples(st.integers(0, 6), st.sampled_from(events)), 12)


def near_edges(unit: int) -> st.SearchStrategy[int]:
    """Event times at and beside multiples of a unit, before and after 1970."""
    return st.builds(lambda k, d: k * unit + d, st.integers(-4, 5), st.sampled_from([-1, 0, 0, 0, 1, unit // 2]))
