"""The in-memory broker as a worker sees it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC

from streamproc.plan.model import Plan, Start
from streamproc.runtime.log import Facts, TopicPartition, fewest_partitions
from streamproc.runtime.memory.broker import MemoryBroker
from streamproc.runtime.memory.errors import fenced, partition_missing, topic_missing, unsettled
from streamproc.runtime.memory.groups import Membership
from streamproc.runtime.memory.refusals import Refused, UnknownTopic
from streamproc.runtime.memory.transactions import Producer


class MemoryLog:
    """A `Log` over the in-memory broker. Manifests are kept in the compacted topic `<topology>.state`.

    Args:
        plan: what runs; its name is the consumer group.
        broker: the broker.
        transactional_id: stable over restarts: a successor fences its predecessor and aborts what that left open.
    """

    def __init__(self, plan: Plan, broker: MemoryBroker, transactional_id: str) -> None:
        self.group = plan.name
        self._plan = plan
        self._broker = broker
        self._transactional_id = transactional_id
        self._state = TopicPartition(f"{plan.name}.state", 0)
        self._producer: Producer | None = None
        self._membership: Membership | None = None

    def open(self) -> None:
        """Check the topics, make the state topic if there is none, abort what a predecessor left open.

        Raises:
            LogError: a topic of the plan is missing.
        """
        for stage in self._plan.stages:
            self._check_topic(stage.topic)
        if self._state.topic not in self._broker.topics:
            self._broker.create_topic(self._state.topic, compacted=True)
        self._producer = self._broker.transactions.init(self._transactional_id)

    def joined(self, membership: Membership) -> None:
        """A poll of the group has confirmed this membership: with it goes a producer, a new one after a fenced one."""
        self._membership = membership
        if self._producer is None:
            self._producer = self._broker.transactions.init(self._transactional_id)

    def settled(self, partition: TopicPartition) -> bool:
        """Whether no open transaction can still change what `facts` says of a partition."""
        broker = self._broker
        return broker.settled(self.group, partition) and broker.stable(self._state) == broker.end(self._state)

    def facts(self, partition: TopicPartition, task: str) -> Facts:
        """See `Log.facts`.

        Raises:
            LogError: the topic or the partition is missing, or a transaction is open.
        """
        self._check_topic(partition.topic)
        topic = self._broker.topics[partition.topic]
        if partition.partition >= len(topic.partitions):
            raise partition_missing(partition)
        if not self.settled(partition):
            raise unsettled(partition)
        manifests = self._broker.topics.partition(self._state)
        return Facts(
            topic_id=topic.id,
            partitions=len(topic.partitions),
            partitions_before=fewest_partitions(manifests.under(f"{task.rpartition('/')[0]}/".encode())),
            first=self._broker.first(partition),
            end=self._broker.end(partition),
            committed=self._broker.groups.committed(self.group, partition),
            manifest=manifests.newest(task.encode()),
        )

    def start_offset(self, partition: TopicPartition, start: Start) -> int:
        """Offset that a first start reads from: of the first record not older than `start`, if that is a time."""
        if start == "earliest":
            return self._broker.first(partition)
        if start == "latest":
            return self._broker.end(partition)
        moment = start if start.tzinfo else start.replace(tzinfo=UTC)
        return self._broker.topics.partition(partition).offset_at(int(moment.timestamp() * 1000))

    def transact(self, offsets: Mapping[TopicPartition, int], manifests: Mapping[str, bytes | None]) -> None:
        """See `Log.transact`. An in-memory transaction takes effect or does not: nothing is ever unknown.

        Raises:
            Fenced: this member or producer is no longer the owner; nothing was committed.
            LogError: the state topic is gone.
        """
        producer, transactions = self._producer, self._broker.transactions
        tasks = {self._plan.task(*partition) for partition in offsets} | manifests.keys()
        if producer is None or self._membership is None:
            raise fenced("this process is not in the group, or its producer was fenced before", tasks)
        try:
            transactions.begin(producer)
            if manifests:
                keys = [task.encode() for task in manifests]
                self._broker.append(self._state, list(manifests.values()), keys, producer=producer)
            transactions.send_offsets(producer, self._membership, offsets)
            transactions.commit(producer)
        except Refused as refusal:
            with suppress(Refused):
                transactions.abort(producer)
            self._producer = None
            if isinstance(refusal, UnknownTopic):
                raise topic_missing(self._state.topic, self._broker.topics.names) from refusal
            raise fenced(str(refusal), tasks) from refusal

    def _check_topic(self, topic: str) -> None:
        if topic not in self._broker.topics:
            raise topic_missing(topic, self._broker.topics.names)
