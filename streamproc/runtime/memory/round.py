"""What a driver knows of the records between two checkpoints."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from streamproc.operators.batch import Records

RECORDS_MAX = 100_000
"""Records after which a checkpoint is due whatever the clock says."""


@dataclass
class Round:
    """Args:
    records: how many were processed.
    began: when the first of them was, in microseconds; None before that.
    oldest_ms: the smallest of their Kafka timestamps; None if there is none.
    """

    records: int = 0
    began: int | None = None
    oldest_ms: int | None = None

    def add(self, records: Records, now: int) -> None:
        """Count records that were processed now."""
        self.records += len(records)
        self.began = now if self.began is None else self.began
        oldest = [self.oldest_ms] if self.oldest_ms is not None else []
        self.oldest_ms = min([*oldest, *records.timestamps], default=None)

    def due(self, now: int, interval: timedelta) -> bool:
        """Whether it is time for a checkpoint."""
        if self.began is None:
            return False
        return now - self.began >= interval // timedelta(microseconds=1) or self.records >= RECORDS_MAX

    def freshness_s(self, now: int) -> float | None:
        """Seconds from the oldest record to now."""
        return None if self.oldest_ms is None else (now - self.oldest_ms * 1000) / 1_000_000
