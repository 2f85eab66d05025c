"""Rows that wait for a commit. The worker's thread adds, the executor's takes away what has landed."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple

import polars as pl

from streamproc.position import COLUMN
from streamproc.sinks.protocol import OnBatch, on_batch


class Place(NamedTuple):
    """How far a task has been written, and its cumulative counters there."""

    end: int
    counters: Mapping[str, Any]


class _Piece(NamedTuple):
    end: int
    rows: pl.DataFrame
    bytes: int


class Buffer:
    """Rows of one task.

    Args:
        v: what the table holds of it at the claim.
        start: where the task goes on.
    """

    def __init__(self, v: int, start: int) -> None:
        self.place = Place(start, {})
        self._v = v
        self._pieces: deque[_Piece] = deque()

    def add(self, rows: pl.DataFrame | None, end: int, counters: Mapping[str, Any]) -> None:
        """Add rows of positions [place.end, end), less what the table holds already (law 4)."""
        start = self.place.end
        if end < start:
            raise ValueError(f"positions went back from {start} to {end}")
        self.place = Place(end, counters)
        decision = on_batch(self._v, start, end)
        if rows is None or decision is OnBatch.SKIP:
            return
        if decision is OnBatch.TRIM:
            rows = rows.filter(pl.col(COLUMN) >= self._v)
        if rows.height:
            self._pieces.append(_Piece(end, rows, int(rows.estimated_size())))

    def below(self, end: int) -> list[pl.DataFrame]:
        """Rows up to `end`."""
        return [piece.rows for piece in tuple(self._pieces) if piece.end <= end]

    def landed(self, v: int) -> None:
        """The table holds everything below `v`."""
        while self._pieces and self._pieces[0].end <= v:
            self._pieces.popleft()

    def size(self) -> tuple[int, int]:
        """Rows and bytes."""
        pieces = tuple(self._pieces)
        return sum(piece.rows.height for piece in pieces), sum(piece.bytes for piece in pieces)
