"""What a driver tells about a run while it goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from streamproc.runtime.account import Counters


@dataclass(frozen=True, slots=True)
class Progress:
    """Args:
    read: records processed by this process since it started.
    lag: records of the assigned partitions that are still to be read; None if not known.
    freshness_s: seconds from the Kafka timestamp of the oldest record of the last checkpoint to its commit; None
        before the first.
    tasks: tasks this process owns.
    accounts: task id -> its counters.
    """

    read: int
    lag: int | None
    freshness_s: float | None
    tasks: int
    accounts: Mapping[str, Counters]
