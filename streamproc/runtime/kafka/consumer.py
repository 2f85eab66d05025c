"""The group's consumer: whole batches of records for each partition that runs here, and changes of ownership.

Callbacks of the group fire inside `consume()`, so one call can return records of two assignments. Calls are told
apart by a generation: after a change everything that the call returned is discarded, and each partition is sought to
where its task stands. Until that is done, its records are discarded too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import confluent_kafka as ck
from confluent_kafka import Consumer, KafkaError, KafkaException, Message

from streamproc.errors import LogError
from streamproc.operators.batch import Records
from streamproc.runtime.kafka.connection import KafkaSettings, kind, make, refused
from streamproc.runtime.log import TopicPartition

BATCH_RECORDS_MAX = 20_000
_OWN = {
    "partition.assignment.strategy": "cooperative-sticky",
    "isolation.level": "read_committed",
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
    "enable.partition.eof": False,  # see `probe`
}
_FAIR = {
    # All partitions share one queue, first come first served: what one of them may put there is how long others wait.
    "queued.min.messages": 20_000,
    "queued.max.messages.kbytes": 16 * 1024,
    "max.partition.fetch.bytes": 1024 * 1024,
    # A partition whose queue was full waits for the request of the others: so that must not be long.
    "fetch.wait.max.ms": 50,
    "fetch.queue.backoff.ms": 10,
}
_GONE = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION})  # noqa: SLF001
_RESET = "`streamproc reset` shows what would be forgotten and read again, then asks"


class MemberFenced(Exception):
    """The group takes another member for this one; this consumer is of no use any more."""


@dataclass(frozen=True, slots=True)
class Slice:
    """What was read of a partition.

    Args:
        partition: which.
        records: consecutive records, at least one.
        end: where reading goes on.
    """

    partition: TopicPartition
    records: Records
    end: int


class GroupConsumer:
    """Args:
    settings: of the connection.
    group: consumer group.
    instance: `group.instance.id`.
    topics: logical name -> name in Kafka of the topics to read.
    with_headers: logical topics whose headers are wanted.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        group: str,
        instance: str,
        topics: Mapping[str, str],
        with_headers: Collection[str] = (),
    ) -> None:
        self.owned: set[TopicPartition] = set()
        self.generation = 0
        self.outage = False
        self._settings = settings
        self._physical = dict(topics)
        self._logical = {name: topic for topic, name in topics.items()}
        self._with_headers = frozenset(with_headers)
        self._reading: set[TopicPartition] = set()
        self._seeks: dict[TopicPartition, int] = {}
        self._failure: BaseException | None = None
        self._callbacks: tuple[Callable[[set[TopicPartition]], None], ...] = ()
        config = settings.config(
            group_id=group, group_instance_id=instance, session_timeout_ms=int(settings.session_s * 1000)
        )
        config |= {"heartbeat.interval.ms": int(settings.session_s * 1000 / 4), "error_cb": self._on_error}
        self._config = {**_FAIR, **config, **_OWN}
        self._consumer: Consumer = make(settings, Consumer, self._config)

    def subscribe(
        self,
        revoke: Callable[[set[TopicPartition]], None],
        lost: Callable[[set[TopicPartition]], None],
    ) -> None:
        """Join the group. The callbacks are called inside `read`, while the partitions are still ours / too late."""
        self._callbacks = (revoke, lost)

        def on_assign(_: Consumer, partitions: Sequence[ck.TopicPartition]) -> None:
            self.generation += 1
            self.owned |= self._named(partitions)
            # Where to read from is known later; from the end next to nothing is fetched in vain.
            end = [ck.TopicPartition(p.topic, p.partition, ck.OFFSET_END) for p in partitions]
            self._consumer.incremental_assign(end)

        def gone(partitions: Sequence[ck.TopicPartition], tell: Callable[[set[TopicPartition]], None]) -> None:
            self.generation += 1
            going = self._named(partitions)
            try:
                tell(going)
            except BaseException as error:  # noqa: BLE001 - librdkafka is left first: `read` raises it
                self._failure = self._failure or error
            self.owned -= going
            self.stop(going)
            self._consumer.incremental_unassign(list(partitions))

        self._consumer.subscribe(
            list(self._physical.values()),
            on_assign=on_assign,
            on_revoke=lambda _, partitions: gone(partitions, revoke),
            on_lost=lambda _, partitions: gone(partitions, lost),
        )

    def rejoin(self) -> None:
        """Join the group as a new member, after `MemberFenced`. Nothing is ours before the group says so."""
        self._consumer.close()
        self.owned.clear()
        self.stop(list(self._reading))
        self._failure = None
        self.generation += 1
        self._consumer = make(self._settings, Consumer, self._config)
        self.subscribe(*self._callbacks)

    def metadata(self) -> bytes:
        """This member of the group, for transactions."""
        return bytes(self._consumer.consumer_group_metadata())

    def start(self, partition: TopicPartition, offset: int) -> None:
        """Read an owned partition from this offset on, whatever was read of it before."""
        self._reading.add(partition)
        self._seeks[partition] = offset

    def stop(self, partitions: Iterable[TopicPartition]) -> None:
        """Discard these partitions' records from now on."""
        for partition in partitions:
            self._reading.discard(partition)
            self._seeks.pop(partition, None)

    def read(self, timeout_s: float) -> list[Slice]:
        """Records of all partitions that were started, in no order of partitions; none if ownership changed.

        Raises:
            LogError: a topic is gone, unread records are gone, or Kafka refuses.
            MemberFenced: see there.
            BaseException: what a callback raised.
        """
        self._seek()
        before = self.generation
        messages = self._consumer.consume(BATCH_RECORDS_MAX, timeout_s)
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        slices = self._slices(messages)
        return slices if self.generation == before else []

    def lag(self, positions: Mapping[TopicPartition, int]) -> int | None:
        """Records behind these positions, by what the last fetches said; None if nothing is known of one."""
        lag = 0
        for partition, position in positions.items():
            known = self._consumer.get_watermark_offsets(self._of(partition), cached=True)
            if known is None or known[1] < 0:
                return None
            lag += max(0, known[1] - position)
        return lag

    def leave(self, timeout_s: float) -> None:
        """Leave the group, so that others take over at once and don't wait for the session to end; then close.

        A member with a stable id does not leave by closing: it has to unsubscribe.
        """
        with suppress(KafkaException):  # a member that was fenced has nothing to leave
            self._consumer.unsubscribe()
            for _ in range(max(1, int(timeout_s / 0.05))):
                self._consumer.consume(1, 0.05)
                if not self._consumer.assignment():
                    break
        self._consumer.close()

    def _seek(self) -> None:
        for partition, offset in list(self._seeks.items()):
            try:
                self._consumer.seek(self._of(partition, offset))
            except KafkaException as error:
                if error.args[0].code() != KafkaError._STATE:  # noqa: SLF001
                    raise refused(self._settings, "seek", error.args[0]) from None
                continue  # it has just been assigned and is not started: the next round tries again
            del self._seeks[partition]

    def _slices(self, messages: Sequence[Message]) -> list[Slice]:
        groups: dict[tuple[str, int], list[Message]] = {}
        for message in messages:
            groups.setdefault((message.topic(), message.partition()), []).append(message)
        slices = []
        for (topic, number), group in groups.items():
            partition = TopicPartition(self._logical[topic], number) if topic in self._logical else None
            rows = [m for m in group if m.error() is None]
            if len(rows) < len(group):
                for error in filter(None, map(Message.error, group)):
                    self._on_error(error, partition)
            if rows and partition in self._reading and partition not in self._seeks:
                slices.append(self._slice(partition, rows))
        return slices

    def _slice(self, partition: TopicPartition, rows: list[Message]) -> Slice:
        records = Records(
            *partition,
            offsets=list(map(Message.offset, rows)),
            timestamps=[stamp for _, stamp in map(Message.timestamp, rows)],
            keys=list(map(Message.key, rows)),
            values=list(map(Message.value, rows)),
            headers=list(map(Message.headers, rows)) if partition.topic in self._with_headers else (),
        )
        return Slice(partition, records, rows[-1].offset() + 1)

    def _on_error(self, error: KafkaError, partition: TopicPartition | None = None) -> None:
        """Note an outage; keep everything else for `read` to raise. Called for the whole connection, too."""
        failure = self._failure_of(error, partition)
        if failure is None:
            self.outage = True
        elif partition is None:
            self._failure = self._failure or failure
        elif partition in self._reading and partition not in self._seeks:
            raise failure

    def _failure_of(self, error: KafkaError, partition: TopicPartition | None) -> Exception | None:
        name = f"{partition.topic}/{partition.partition}" if partition else "a topic"
        if error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001
            text = f"{name}: unread records are gone, or the topic was truncated"
            return LogError("SP312", text, detail=[self._settings.clean(error.str())], fix=_RESET)
        if error.code() in _GONE:
            return LogError("SP301", f"{name} does not exist any more", fix=_RESET)
        if error.code() in {KafkaError.FENCED_INSTANCE_ID, KafkaError._FATAL}:  # noqa: SLF001
            return MemberFenced(error.str())
        if kind(error) != "refused" or error.code() == KafkaError._MAX_POLL_EXCEEDED:  # noqa: SLF001
            return None
        return refused(self._settings, f"read {name}", error)

    def _of(self, partition: TopicPartition, offset: int = ck.OFFSET_INVALID) -> ck.TopicPartition:
        return ck.TopicPartition(self._physical[partition.topic], partition.partition, offset)

    def _named(self, partitions: Iterable[ck.TopicPartition]) -> set[TopicPartition]:
        return {TopicPartition(self._logical[p.topic], p.partition) for p in partitions}
