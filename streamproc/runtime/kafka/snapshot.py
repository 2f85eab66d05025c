"""The compacted state topic as a table: newest value of each key, as of the last stable offset."""

from __future__ import annotations

import time

import confluent_kafka as ck
from confluent_kafka import Consumer, KafkaError, KafkaException

from streamproc.runtime.kafka.admin import Admin
from streamproc.runtime.kafka.connection import make
from streamproc.runtime.log import TopicPartition

_BATCH = 1000


class Snapshot:
    """Args:
    admin: of the cluster.
    group: consumer group whose offsets are asked for; this reader is no member of it.
    topic: logical name of the state topic, which has one partition.
    """

    def __init__(self, admin: Admin, group: str, topic: str) -> None:
        self._admin = admin
        self._group = group
        self._partition = TopicPartition(topic, 0)
        self._read_to = 0
        self._newest: dict[bytes, bytes] = {}
        config = admin.settings.config(
            group_id=group,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            enable_partition_eof=True,
            fetch_wait_max_ms=10,  # the event of the end comes with the answer after the last record
            retry_backoff_ms=20,
        )
        self._consumer: Consumer = make(admin.settings, Consumer, config)

    def newest(self, key: str) -> bytes | None:
        """Newest committed value, None if there is none or it was forgotten."""
        return self._newest.get(key.encode())

    def under(self, prefix: str) -> list[bytes]:
        """Newest committed values of all keys that begin like this."""
        return [value for key, value in self._newest.items() if key.startswith(prefix.encode())]

    def refresh(self) -> bool:
        """Read on to the last stable offset.

        Returns:
            Whether that is the end: no transaction is open that could still change a value.
        """
        high = self._admin.ends([self._partition], committed=False)[self._partition]
        stable = self._admin.ends([self._partition])[self._partition]
        if stable < self._read_to:  # made anew
            self._newest.clear()
            self._read_to = 0
        if self._read_to < stable:
            self._admin.retry.call("read the state topic", lambda seconds: self._read(stable, seconds))
        return stable >= high

    def committed(self, partition: TopicPartition) -> int | None:
        """The group's committed offset of a partition, once no open transaction can change it."""
        return self._admin.committed(self._group, partition)

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()

    def _read(self, until: int, seconds: float) -> None:
        """Read to the offset `until`. Only events of the end tell the place after records that can't be seen."""
        physical = self._admin.physical(self._partition.topic)
        self._consumer.assign([ck.TopicPartition(physical, 0, self._read_to)])
        try:
            deadline = time.monotonic() + seconds
            while self._read_to < until:
                messages = self._consumer.consume(_BATCH, 0.05)
                for message in messages:
                    self._take(message)
                if messages:
                    deadline = time.monotonic() + seconds
                elif time.monotonic() > deadline:
                    raise KafkaException(KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001
        finally:
            self._consumer.unassign()

    def _take(self, message: ck.Message) -> None:
        error = message.error()
        if error is None:
            key, value = message.key() or b"", message.value()
            if value is None:
                self._newest.pop(key, None)
            else:
                self._newest[key] = value
            self._read_to = message.offset() + 1
        elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
            self._read_to = message.offset()
        else:
            raise KafkaException(error)
