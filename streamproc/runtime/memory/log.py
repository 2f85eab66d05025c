"""The in-memory broker as a worker sees it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC
from difflib import get_close_matches

from streamproc.errors import Fenced, LogError
from streamproc.plan.model import Plan, Start
from streamproc.runtime.log import Facts, TopicPartition
from streamproc.runtime.memory.broker import MemoryBroker
from streamproc.runtime.memory.groups import Membership
from streamproc.runtime.memory.refusals import ProducerFenced, Refused
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
        self.membership: Membership | None = None
        self._plan = plan
        self._broker = broker
        self._transactional_id = transactional_id
        self._state = TopicPartition(f"{plan.name}.state", 0)
        self._producer: Producer | None = None

    def open(self) -> None:
        """Make the state topic if there is none, abort what a predecessor left open.

        Raises:
            LogError: a topic of the plan is missing.
        """
        for stage in self._plan.stages:
            self._check_topic(stage.topic)
        if self._state.topic not in self._broker.topics:
            self._broker.create_topic(self._state.topic, compacted=True)
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
        if not self.settled(partition):
            raise LogError(
                "SP303",
                f"a transaction that touches {partition.topic}/{partition.partition} has not settled",
                fix="it is aborted when its timeout has passed; start again then",
            )
        return Facts(
            topic_id=self._broker.topics[partition.topic].id,
            first=self._broker.first(partition),
            end=self._broker.end(partition),
            committed=self._broker.groups.committed(self.group, partition),
            manifest=self._broker.topics.partition(self._state).newest(task.encode()),
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
        """
        tasks = {self._plan.task(*partition) for partition in offsets} | manifests.keys()
        transactions = self._broker.transactions
        try:
            if self.membership is None or self._producer is None:
                raise ProducerFenced("not a member of the group")
            transactions.begin(self._producer)
            if manifests:
                keys = [task.encode() for task in manifests]
                self._broker.append(self._state, list(manifests.values()), keys, producer=self._producer)
            transactions.send_offsets(self._producer, self.membership, offsets)
            transactions.commit(self._producer)
        except Refused as refusal:
            self._producer = transactions.init(self._transactional_id) if self._still_ours(refusal) else None
            raise fenced(refusal, tasks) from refusal

    def _still_ours(self, refusal: Refused) -> bool:
        """A producer that was not fenced itself may go on, after a new start that aborts what it left open."""
        return not isinstance(refusal, ProducerFenced)

    def _check_topic(self, topic: str) -> None:
        if topic not in self._broker.topics:
            raise topic_missing(topic, self._broker.topics.names)


def topic_missing(topic: str, names: Iterable[str]) -> LogError:
    """The error for a topic that is not there, with the nearest names that are."""
    near = get_close_matches(topic, list(names), n=3)
    return LogError(
        "SP301",
        f'topic "{topic}" does not exist',
        detail=[f"nearest names: {', '.join(near)}"] if near else [],
        fix="create it, or correct its name in the topology",
    )


def fenced(refusal: Refused, tasks: Iterable[str]) -> Fenced:
    """What a refused transaction means to a worker."""
    return Fenced("SP701", "another process owns these tasks: nothing was committed", tasks=tasks, detail=[str(refusal)])
