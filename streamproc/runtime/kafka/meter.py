"""How far one run has come, for `Progress`."""

from __future__ import annotations

import time

from streamproc.operators.batch import Records


class Meter:
    """Counts what was read and how old it was when it was committed."""

    def __init__(self) -> None:
        self.read = 0
        self.freshness_s: float | None = None
        self._oldest_ms: int | None = None
        self._told_at = float("-inf")

    def processed(self, records: Records) -> None:
        """These records wait for the next checkpoint."""
        self.read += len(records)
        if len(records):
            oldest_ms = min(records.timestamps)
            self._oldest_ms = oldest_ms if self._oldest_ms is None else min(self._oldest_ms, oldest_ms)

    def committed(self) -> None:
        """All that waited is durable."""
        if self._oldest_ms is not None:
            self.freshness_s = max(0.0, time.time() - self._oldest_ms / 1000)
            self._oldest_ms = None
            self._told_at = float("-inf")

    def due(self, every_s: float) -> bool:
        """Whether progress is to be told: after a checkpoint, and every so often."""
        now = time.monotonic()
        if now - self._told_at < every_s:
            return False
        self._told_at = now
        return True
