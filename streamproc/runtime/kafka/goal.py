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
"""How often it is asked what is behind a task that stands still, and what others have committed."""


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
        self._asked_at = self._probed_at = float("-inf")
        self._stood: dict[TopicPartition, int] = {}

    def reached(self, rounds: Rounds) -> bool:
        """Whether all is committed; makes the checkpoint that commits what was read here."""
        if not rounds.settled:
            return False
        if behind := {p: at for p, at in rounds.positions.items() if at < self._ends.get(p, 0)}:
            self._pass_holes(rounds, behind)
            return False
        if time.monotonic() - self._asked_at < ASK_S:
            return False
        self._asked_at = time.monotonic()
        rounds.checkpoint()
        return rounds.settled and all(
            self._committed(p) >= end for p, end in self._ends.items() if p not in rounds.positions
        )

    def _pass_holes(self, rounds: Rounds, behind: dict[TopicPartition, int]) -> None:
        """Let tasks that have not moved since the last time go on to where there is something, if that is nowhere yet.

        Other partitions may be busy meanwhile: a round without any records need never come.
        """
        if time.monotonic() - self._probed_at < ASK_S:
            return
        self._probed_at = time.monotonic()
        still = {p: at for p, at in behind.items() if self._stood.get(p) == at}
        self._stood = behind
        if still:
            rounds.pass_over(self._probe.passed(still))

    def _committed(self, partition: TopicPartition) -> int:
        committed = self._log.committed(partition)
        return -1 if committed is None else committed
