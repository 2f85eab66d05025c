"""One partition: an ordered log of records with offsets, of which some belong to transactions that are still open."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

from streamproc.operators.batch import Records
from streamproc.runtime.memory.refusals import OffsetOutOfRange

Headers = Sequence[tuple[str, bytes | None]] | None

COMPACT_FROM = 1024
"""A compacted partition is compacted when it holds this many records, and twice as many as after the last time."""


class Span(NamedTuple):
    """Offsets [start, end) that one transaction wrote in one go."""

    start: int
    end: int


class PartitionLog:
    """Records in columns. Offsets only grow; holes are left by transactions' control markers, by aborted records, which
    are removed at once since every reader is a read-committed one, and by compaction.

    Args:
        compacted: keep only the newest record of each key.
    """

    def __init__(self, compacted: bool = False) -> None:
        self.first = 0
        self.end = 0
        self._compacted = compacted
        self._compact_at = COMPACT_FROM
        self._offsets: list[int] = []
        self._timestamps: list[int] = []
        self._keys: list[bytes | None] = []
        self._values: list[bytes | None] = []
        self._headers: list[Headers] = []
        self._open: dict[str, list[Span]] = {}

    @property
    def stable(self) -> int:
        """The last stable offset: what is below it is decided, and visible."""
        return min((spans[0].start for spans in self._open.values()), default=self.end)

    def append(
        self,
        values: Sequence[bytes | None],
        keys: Sequence[bytes | None],
        timestamps: Sequence[int],
        headers: Sequence[Headers],
        transaction: str | None = None,
    ) -> int:
        """Append records, as part of a transaction if one is named; returns the first one's offset."""
        span = Span(self.end, self.end + len(values))
        self._offsets += range(*span)
        self._values += values
        self._keys += keys
        self._timestamps += timestamps
        self._headers += headers
        self.end = span.end
        if transaction is not None and values:
            self._open.setdefault(transaction, []).append(span)
        else:
            self._compact_if_due()
        return span.start

    def decide(self, transaction: str, commit: bool) -> None:
        """End a transaction: its control marker takes one offset; its records become visible or go."""
        spans = self._open.pop(transaction, [])
        if not spans:
            return
        if not commit:
            for span in spans:
                self._delete(bisect_left(self._offsets, span.start), bisect_left(self._offsets, span.end))
        self.end += 1
        self._compact_if_due()

    def read(self, topic: str, partition: int, offset: int, limit: int) -> tuple[Records, int]:
        """At most `limit` visible records from `offset` on, and the offset to go on from.

        Raises:
            OffsetOutOfRange: `offset` was removed or is beyond the end.
        """
        if not self.first <= offset <= self.end:
            raise OffsetOutOfRange(f"{topic}[{partition}]: offset {offset} is not in [{self.first}, {self.end}]")
        stable = self.stable
        start = bisect_left(self._offsets, offset)
        visible = bisect_left(self._offsets, stable)
        stop = max(start, min(start + limit, visible))
        records = self._records(topic, partition, start, stop)
        after = max(offset, stable) if stop >= visible else self._offsets[stop]
        return records, after

    def newest(self, key: bytes) -> bytes | None:
        """Value of the newest visible record with this key; None if there is none or it is a tombstone."""
        for index in range(bisect_left(self._offsets, self.stable) - 1, -1, -1):
            if self._keys[index] == key:
                return self._values[index]
        return None

    def under(self, prefix: bytes) -> list[bytes]:
        """Values of the newest visible records of all keys that begin like this; no tombstones."""
        visible = bisect_left(self._offsets, self.stable)
        newest = dict(zip(self._keys[:visible], self._values[:visible], strict=True))
        return [value for key, value in newest.items() if key and value is not None and key.startswith(prefix)]

    def offset_at(self, timestamp_ms: int) -> int:
        """Offset of the first record at or after a time, the end if there is none."""
        found = (o for o, t in zip(self._offsets, self._timestamps, strict=True) if t >= timestamp_ms)
        return next(found, self.end)

    def truncate(self, before: int) -> None:
        """Remove what is below `before`, as retention does."""
        before = min(before, self.end)
        self._delete(0, bisect_left(self._offsets, before))
        self.first = max(self.first, before)

    def compact(self) -> None:
        """Keep only the newest record of each key among those that are decided."""
        stable = bisect_left(self._offsets, self.stable)
        newest = {key: index for index, key in enumerate(self._keys[:stable])}
        keep = [*sorted(newest.values()), *range(stable, len(self._offsets))]
        self._offsets = [self._offsets[i] for i in keep]
        self._timestamps = [self._timestamps[i] for i in keep]
        self._keys = [self._keys[i] for i in keep]
        self._values = [self._values[i] for i in keep]
        self._headers = [self._headers[i] for i in keep]

    def _compact_if_due(self) -> None:
        if self._compacted and len(self._offsets) >= self._compact_at:
            self.compact()
            self._compact_at = max(COMPACT_FROM, 2 * len(self._offsets))

    def _records(self, topic: str, partition: int, start: int, stop: int) -> Records:
        headers = self._headers[start:stop]
        return Records(
            topic,
            partition,
            self._offsets[start:stop],
            self._timestamps[start:stop],
            self._keys[start:stop],
            self._values[start:stop],
            headers if any(headers) else (),
        )

    def _delete(self, start: int, stop: int) -> None:
        for column in (self._offsets, self._timestamps, self._keys, self._values, self._headers):
            del column[start:stop]
