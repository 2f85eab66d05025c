"""What Kafka knows of a job, only looked at: no group is joined, nothing is made or written."""

from __future__ import annotations

import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from streamproc import position
from streamproc.cli import kafka
from streamproc.errors import LogError
from streamproc.plan.model import Plan
from streamproc.runtime.kafka.admin import Admin, Topic, state_topic
from streamproc.runtime.kafka.log import job_on_record
from streamproc.runtime.kafka.snapshot import Snapshot
from streamproc.runtime.log import Facts, TopicPartition, fewest_partitions
from streamproc.state.manifest import Manifest

TRIES = 5
PAUSE_S = 0.1
"""Offset and manifest of a job that runs are asked for one after the other: until they belong together."""


@dataclass(frozen=True)
class KnownTask:
    """A partition, what the broker says of it, and its task's manifest; None before a first start."""

    partition: TopicPartition
    facts: Facts
    manifest: Manifest | None


class KnownJob:
    """Args:
    admin: of the cluster.
    plan: the topology.
    """

    def __init__(self, admin: Admin, plan: Plan) -> None:
        self._admin = admin
        self._plan = plan
        self._snapshot = Snapshot(admin, plan.name, state_topic(plan.name))
        self._has_state = False

    def __enter__(self) -> Self:
        """
        Raises:
            LogError: Kafka is not reachable, or refuses.
        """
        try:
            self._has_state = self._is_there(state_topic(self._plan.name))
            self._refresh()
        except BaseException:
            self._snapshot.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._snapshot.close()

    def record(self) -> dict[str, str]:
        """Which job has this name: its lake, the lake's address, its fingerprint. Empty if none is known."""
        return job_on_record(self._snapshot)

    def committed(self, partition: TopicPartition) -> int | None:
        """The group's committed offset."""
        return self._snapshot.committed(partition)

    def task(self, partition: TopicPartition, topic: Topic, first: int, end: int) -> KnownTask:
        """One task.

        Raises:
            LogError: Kafka is not reachable, or refuses.
            StateError: its manifest can't be read.
        """
        id = self._plan.task(*partition)
        for _ in range(TRIES):
            committed = self._snapshot.committed(partition)
            self._refresh()
            data = self._snapshot.newest(id)
            manifest = None if data is None else Manifest.decode(data)
            if committed == (None if manifest is None else position.offset_of(manifest.position)):
                break
            time.sleep(PAUSE_S)
        before = fewest_partitions(self._snapshot.under(f"{id.rpartition('/')[0]}/"))
        return KnownTask(partition, Facts(topic.id, topic.partitions, before, first, end, committed, data), manifest)

    def _is_there(self, topic: str) -> bool:
        try:
            return bool(self._admin.topics([topic]))
        except LogError as error:
            if error.code != kafka.MISSING:
                raise
            return False

    def _refresh(self) -> None:
        if self._has_state:
            self._snapshot.refresh()
