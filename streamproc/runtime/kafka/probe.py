"""Places after which there is nothing to see: offsets have holes, where transactions ended or records were compacted.

The group's consumer must not ask for events of a partition's end: reading batches, librdkafka takes such an event for a
record when it notes its place, and after the next rebalance it would go on one record too far.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import confluent_kafka as ck
from confluent_kafka import Consumer, KafkaError

from streamproc.runtime.kafka.admin import Admin
from streamproc.runtime.kafka.connection import make
from streamproc.runtime.log import TopicPartition

PROBE_S_MAX = 2.0


class Probe:
    """Args:
    admin: of the cluster.
    group: a name for the connection; this reader is no member of it.
    """

    def __init__(self, admin: Admin, group: str) -> None:
        self._admin = admin
        config = admin.settings.config(
            group_id=group,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="error",
            enable_partition_eof=True,
            fetch_wait_max_ms=10,
            queued_min_messages=1,
        )
        self._consumer: Consumer = make(admin.settings, Consumer, config)

    def passed(self, positions: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """For each offset after which no record can be seen now: the offset where reading would go on."""
        asked = {(self._admin.physical(p.topic), p.partition): p for p in positions}
        self._consumer.assign([ck.TopicPartition(*key, positions[p]) for key, p in asked.items()])
        passed: dict[TopicPartition, int] = {}
        deadline = time.monotonic() + PROBE_S_MAX
        while asked and time.monotonic() < deadline:
            for message in self._consumer.consume(100, 0.02):
                partition = asked.pop((message.topic(), message.partition()), None)
                error = message.error()
                if partition and error is not None and error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                    passed[partition] = message.offset()
        self._consumer.unassign()
        return passed

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()
