"""What stateful steps must answer, one record at a time: a slow, plain reading of the rules. Times are microseconds.

A record is a list of its rows that reach the step, in order, beside all event times that the watermark sees of it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Record:
    """Args:
    times: event times of its rows before any filter.
    rows: those of its rows that reach the step, as (event time, keys, value).
    """

    times: Sequence[int]
    rows: Sequence[tuple[int, tuple[Any, ...], Any]]


@dataclass
class Watermark:
    """Largest event time so far, less the lateness; None before the first."""

    lateness: int
    value: int | None = None

    def see(self, times: Sequence[int]) -> None:
        for time in times:
            if self.value is None or time - self.lateness > self.value:
                self.value = time - self.lateness

    def has_passed(self, time: int) -> bool:
        return self.value is not None and time <= self.value


@dataclass
class Judged:
    """Rows as (index of the record, index of the row in it)."""

    kept: list[tuple[int, int]] = field(default_factory=list)
    duplicates: list[tuple[int, int]] = field(default_factory=list)
    late: list[tuple[int, int]] = field(default_factory=list)


def deduplicated(records: Sequence[Record], lateness: int, within: int) -> Judged:
    """A row is late below W - within; else a duplicate iff a kept row has its keys at most `within` away."""
    watermark, result = Watermark(lateness), Judged()
    kept: dict[tuple[Any, ...], list[int]] = {}
    for r, record in enumerate(records):
        for i, (time, keys, _) in enumerate(record.rows):
            if watermark.has_passed(time + within + 1):
                result.late.append((r, i))
            elif any(abs(time - other) <= within for other in kept.get(keys, ())):
                result.duplicates.append((r, i))
            else:
                kept.setdefault(keys, []).append(time)
                result.kept.append((r, i))
        watermark.see(record.times)
    return result


@dataclass
class Windows:
    """Closed windows as (index of the record that closed them, start, keys, values in the order of event time); windows
    that stay open as (start, keys) -> number of rows; late rows as (index of the record, index of the row in it).
    """

    closed: list[tuple[int, int, tuple[Any, ...], list[Any]]] = field(default_factory=list)
    held: dict[tuple[int, tuple[Any, ...]], int] = field(default_factory=dict)
    late: list[tuple[int, int]] = field(default_factory=list)


def windowed(records: Sequence[Record], lateness: int, every: int, offset: int) -> Windows:
    """A row is late iff W has passed the end of its window; a window closes at the record that brings W there."""
    watermark, result = Watermark(lateness), Windows()
    windows: dict[tuple[int, tuple[Any, ...]], list[tuple[int, int, int, Any]]] = {}
    for r, record in enumerate(records):
        for i, (time, keys, value) in enumerate(record.rows):
            start = math.floor((time - offset) // every) * every + offset
            if watermark.has_passed(start + every):
                result.late.append((r, i))
            else:
                windows.setdefault((start, keys), []).append((time, r, i, value))
        watermark.see(record.times)
        for start, keys in [window for window in windows if watermark.has_passed(window[0] + every)]:
            rows = sorted(windows.pop((start, keys)), key=lambda row: row[:3])
            result.closed.append((r, start, keys, [row[3] for row in rows]))
    result.held = {window: len(rows) for window, rows in windows.items()}
    return result


def _spread(values: list[float], ddof: int) -> float | None:
    if len(values) <= ddof:
        return None
    mean = math.fsum(values) / len(values)
    return math.fsum((v - mean) ** 2 for v in values) / (len(values) - ddof)


def _root(value: float | None) -> float | None:
    return None if value is None else math.sqrt(value)


AGGREGATES: dict[str, Callable[[list[Any]], Any]] = {
    "count": len,
    "sum": sum,
    "mean": lambda values: statistics.fmean(values) if values else None,
    "min": lambda values: min(values, default=None),
    "max": lambda values: max(values, default=None),
    "var": lambda values: _spread(values, 1),
    "std": lambda values: _root(_spread(values, 0)),
}
"""Over the values that take part and are not null."""
