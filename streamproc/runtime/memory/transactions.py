"""Transactional producers: records and offsets that take effect together, and epochs that fence out the dead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from streamproc.flow.duration import Duration, microseconds
from streamproc.runtime.log import TopicPartition
from streamproc.runtime.memory.clock import Clock
from streamproc.runtime.memory.groups import Groups, Membership
from streamproc.runtime.memory.partition import PartitionLog
from streamproc.runtime.memory.refusals import InvalidTransactionState, ProducerFenced


@dataclass(frozen=True, slots=True)
class Producer:
    """A transactional producer, as the broker knows it."""

    id: str
    epoch: int


@dataclass
class _Transaction:
    expires: int
    logs: list[PartitionLog] = field(default_factory=list)
    offsets: dict[str, dict[TopicPartition, int]] = field(default_factory=dict)


@dataclass
class _Identity:
    epoch: int = 0
    timeout: int = 0
    open: _Transaction | None = None


class Transactions:
    """The transaction coordinator.

    Args:
        clock: open transactions are aborted by it.
        groups: where offsets go.
        partition: the log of a partition.
    """

    def __init__(self, clock: Clock, groups: Groups, partition: Callable[[TopicPartition], PartitionLog]) -> None:
        self._clock = clock
        self._groups = groups
        self._partition = partition
        self._identities: dict[str, _Identity] = {}

    def init(self, id: str, *, timeout: Duration = "10s") -> Producer:
        """Become the producer of a transactional id: an earlier one is fenced, what it left open is aborted."""
        identity = self._identities.setdefault(id, _Identity())
        self._end(id, identity, commit=False)
        identity.epoch += 1
        identity.timeout = microseconds(timeout)
        return Producer(id, identity.epoch)

    def begin(self, producer: Producer) -> None:
        """Open a transaction.

        Raises:
            ProducerFenced: there is a newer producer. (So do all that follow.)
            InvalidTransactionState: one is open already.
        """
        identity = self._identity(producer)
        if identity.open:
            raise InvalidTransactionState(f"{producer.id} has an open transaction")
        identity.open = _Transaction(self._clock.now() + identity.timeout)

    def enlist(self, producer: Producer, partition: TopicPartition) -> str:
        """Take a partition into the open transaction; returns the name to write its records under."""
        transaction = self._open(producer)
        log = self._partition(partition)
        if log not in transaction.logs:
            transaction.logs.append(log)
        return producer.id

    def send_offsets(self, producer: Producer, membership: Membership, offsets: Mapping[TopicPartition, int]) -> None:
        """Make offsets of a group part of the open transaction. Checked against the member and its generation now,
        not when the transaction commits; the ownership of partitions is never looked at.

        Raises:
            UnknownMember, StaleGeneration: the sender is not what it believes to be.
        """
        transaction = self._open(producer)
        self._groups.check(membership)
        transaction.offsets.setdefault(membership.group, {}).update(offsets)

    def commit(self, producer: Producer) -> None:
        """Let all of the open transaction take effect."""
        self._open(producer)
        self._end(producer.id, self._identities[producer.id], commit=True)

    def abort(self, producer: Producer) -> None:
        """Let none of the open transaction take effect."""
        self._open(producer)
        self._end(producer.id, self._identities[producer.id], commit=False)

    def pending(self, group: str, partition: TopicPartition) -> bool:
        """Whether an open transaction holds an offset of this partition: then the committed one is not settled."""
        self.expire()
        return any(
            partition in identity.open.offsets.get(group, ()) for identity in self._identities.values() if identity.open
        )

    def expire(self) -> None:
        """Abort what has been open for too long; its producer is fenced."""
        now = self._clock.now()
        for id, identity in self._identities.items():
            if identity.open and identity.open.expires < now:
                self._end(id, identity, commit=False)
                identity.epoch += 1

    def _identity(self, producer: Producer) -> _Identity:
        self.expire()
        identity = self._identities.get(producer.id)
        if identity is None or identity.epoch != producer.epoch:
            raise ProducerFenced(f"{producer.id} is not at epoch {producer.epoch} any more")
        return identity

    def _open(self, producer: Producer) -> _Transaction:
        transaction = self._identity(producer).open
        if transaction is None:
            raise InvalidTransactionState(f"{producer.id} has no open transaction")
        return transaction

    def _end(self, id: str, identity: _Identity, commit: bool) -> None:
        transaction, identity.open = identity.open, None
        if transaction is None:
            return
        for log in transaction.logs:
            log.decide(id, commit)
        for group, offsets in transaction.offsets.items() if commit else ():
            self._groups.commit(group, offsets)
