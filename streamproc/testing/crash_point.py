"""A place to die at: when tables hold the rows of a checkpoint, but the broker knows nothing of it yet."""

from __future__ import annotations

from collections.abc import Mapping

from streamproc.plan.model import Start
from streamproc.runtime.log import Facts, Log, TopicPartition


class Died(Exception):
    """The worker died where it was told to."""


class CrashPoint:
    """A `Log` that passes everything on until it is armed.

    Args:
        log: the real one.
    """

    def __init__(self, log: Log) -> None:
        self.armed = False
        self._log = log

    def facts(self, partition: TopicPartition, task: str) -> Facts:
        """See `Log.facts`."""
        return self._log.facts(partition, task)

    def start_offset(self, partition: TopicPartition, start: Start) -> int:
        """See `Log.start_offset`."""
        return self._log.start_offset(partition, start)

    def transact(self, offsets: Mapping[TopicPartition, int], manifests: Mapping[str, bytes | None]) -> None:
        """See `Log.transact`.

        Raises:
            Died: it is armed; nothing was committed.
        """
        if self.armed:
            raise Died
        self._log.transact(offsets, manifests)
