"""A Kafka broker in memory: deterministic, in one thread, by a clock that a test moves.

It keeps Kafka's semantics where a stream processor depends on them: identities of topics, offsets with holes, groups
with members and generations, transactions with fencing, the last stable offset, retention. `partition.py`, `topics.py`,
`groups.py` and `transactions.py` hold one of these each; this is the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from streamproc.operators.batch import Records
from streamproc.runtime.log import TopicPartition
from streamproc.runtime.memory.clock import Clock
from streamproc.runtime.memory.groups import Groups
from streamproc.runtime.memory.partition import Headers
from streamproc.runtime.memory.topics import Topics
from streamproc.runtime.memory.transactions import Producer, Transactions


class MemoryBroker:
    """A broker.

    Args:
        clock: gives records their timestamps, ends sessions and aborts transactions.
        ids: makes the identities of topics, a new one at each call.

    >>> from streamproc.runtime.memory.clock import VirtualClock
    >>> broker = MemoryBroker(VirtualClock(), iter(["id-1"]).__next__)
    >>> broker.create_topic("events", partitions=2)
    >>> broker.produce("events", b"hello", key=b"k", partition=1)
    (1, 0)
    >>> records, after = broker.read(TopicPartition("events", 1), 0, limit=10)
    >>> records.values, after
    ([b'hello'], 1)
    """

    def __init__(self, clock: Clock, ids: Callable[[], str]) -> None:
        self.clock = clock
        self.topics = Topics(ids)
        self.groups = Groups(clock, self.topics.partitions)
        self.transactions = Transactions(clock, self.groups, self.topics.partition)

    def create_topic(self, name: str, partitions: int = 1, *, compacted: bool = False) -> None:
        """Make a topic.

        Raises:
            TopicExists: there is one of this name.
        """
        self.topics.create(name, partitions, compacted)

    def delete_topic(self, name: str) -> None:
        """Delete a topic, its records and the offsets that groups have committed for it.

        Raises:
            UnknownTopic: there is none of this name.
        """
        self.topics.delete(name)
        self.groups.topic_deleted(name)

    def grow_topic(self, name: str, partitions: int) -> None:
        """Add partitions up to this number.

        Raises:
            ValueError: that would not add any.
        """
        self.topics[name].grow(partitions)

    def delete_records(self, partition: TopicPartition, before: int) -> None:
        """Remove the records below an offset, as retention does."""
        self.topics.partition(partition).truncate(before)

    def produce(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        timestamp_ms: int | None = None,
        headers: Headers = None,
        partition: int | None = None,
        producer: Producer | None = None,
    ) -> tuple[int, int]:
        """Append one record; returns its partition and offset. See `append`."""
        chosen = self.topics[topic].choose([key])[0] if partition is None else partition
        where = TopicPartition(topic, chosen)
        timestamps = None if timestamp_ms is None else [timestamp_ms]
        return chosen, self.append(where, [value], [key], timestamps, [headers], producer=producer)

    def append(
        self,
        partition: TopicPartition,
        values: Sequence[bytes | None],
        keys: Sequence[bytes | None] | None = None,
        timestamps_ms: Sequence[int] | None = None,
        headers: Sequence[Headers] | None = None,
        *,
        producer: Producer | None = None,
    ) -> int:
        """Append records to a partition; returns the first one's offset.

        Args:
            partition: where.
            values, keys: bytes or None.
            timestamps_ms: milliseconds since 1970; the clock's time by default.
            headers: (name, value) pairs of each record, or None.
            producer: makes them part of its open transaction.

        Raises:
            UnknownTopic: there is no such partition.
            ProducerFenced, InvalidTransactionState: see `Transactions`.
        """
        log = self.topics.partition(partition)
        n = len(values)
        transaction = None if producer is None else self.transactions.enlist(producer, partition)
        return log.append(
            values,
            [None] * n if keys is None else keys,
            [self.clock.now() // 1000] * n if timestamps_ms is None else timestamps_ms,
            [None] * n if headers is None else headers,
            transaction,
        )

    def read(self, partition: TopicPartition, offset: int, limit: int) -> tuple[Records, int]:
        """At most `limit` committed records from `offset` on, and the offset to go on from, which is past any hole.

        Raises:
            UnknownTopic: there is no such partition.
            OffsetOutOfRange: the offset was removed by retention or is beyond the end.
        """
        self.transactions.expire()
        return self.topics.partition(partition).read(partition.topic, partition.partition, offset, limit)

    def first(self, partition: TopicPartition) -> int:
        """Offset of the earliest record that retention has left."""
        return self.topics.partition(partition).first

    def end(self, partition: TopicPartition) -> int:
        """Offset that the next record will get."""
        return self.topics.partition(partition).end

    def stable(self, partition: TopicPartition) -> int:
        """The last stable offset: everything below it is decided."""
        self.transactions.expire()
        return self.topics.partition(partition).stable

    def settled(self, group: str, partition: TopicPartition) -> bool:
        """Whether the group's committed offset of a partition can't be changed by a transaction that is open now."""
        return not self.transactions.pending(group, partition)
