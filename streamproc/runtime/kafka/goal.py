"""Caught up: every partition has been read, and committed, to the end that it had at the start."""

from __future__ import annotations

import time
from collections.abc import Mapping

from streamproc.runtime.kafka.admin import Admin, Topic
from streamproc.runtime.kafka.log import KafkaLog
from streamproc.runtime.kafka.probe import Probe
from streamproc.runtime.kafka.rounds import Rounds
from streamproc.runtime.log import TopicPartition

ASK_S = 0.5
"""How often the group is asked while others have partitions that are missing."""


class Goal:
    """Takes the ends when it is made.

    Args:
        admin: of the cluster.
        log: knows what the group has committed.
        probe: looks over holes at the end.
        topics: by logical name.
    """

    def __init__(self, admin: Admin, log: KafkaLog, probe: Probe, topics: Mapping[str, Topic]) -> None:
        self._log = log
        self._probe = probe
        partitions = [TopicPartition(name, n) for name, topic in topics.items() for n in range(topic.partitions)]
        self._ends = admin.ends(partitions)
        self._asked_at = float("-inf")

    def reached(self, rounds: Rounds) -> bool:
        """Whether all is committed; makes the checkpoint that commits what was read here."""
        if not rounds.settled:
            return False
        if behind := {p: at for p, at in rounds.positions.items() if at < self._ends.get(p, 0)}:
            if rounds.idle:
                rounds.pass_over(self._probe.passed(behind))
            return False
        rounds.checkpoint()
        now = time.monotonic()
        if not rounds.settled or now - self._asked_at < ASK_S:
            return False
        self._asked_at = now
        return all(self._committed(p) >= end for p, end in self._ends.items() if p not in rounds.positions)

    def _committed(self, partition: TopicPartition) -> int:
        committed = self._log.committed(partition)
        return -1 if committed is None else committed
