"""Topics and groups: what there is, and the one topic that is ours."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import count
from typing import Any, TypeVar

import confluent_kafka as ck
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ClusterMetadata, NewTopic, OffsetSpec

from streamproc.errors import LogError
from streamproc.runtime.kafka.connection import Backoff, KafkaSettings, Retry, cause, make
from streamproc.runtime.log import TopicPartition

T = TypeVar("T")

CREATED_S_MAX = 30.0
CREATED_PAUSE_S = 0.05
_GONE = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC})  # noqa: SLF001
_EXISTS = frozenset({KafkaError.TOPIC_ALREADY_EXISTS})
_NO_GROUP = frozenset({KafkaError.GROUP_ID_NOT_FOUND})
_STATE_TOPIC = {
    "cleanup.policy": "compact",
    "segment.ms": "60000",
    "min.cleanable.dirty.ratio": "0.01",
    "max.message.bytes": "8388608",
}
"""A manifest a task a second, of which the newest counts: compacted soon, so that a start reads little."""


@dataclass(frozen=True, slots=True)
class Topic:
    """Args:
    name: in Kafka.
    id: its identity; made anew, it has another.
    partitions: how many.
    """

    name: str
    id: str
    partitions: int


@dataclass(frozen=True, slots=True)
class Member:
    """An active member of a consumer group.

    Args:
        instance: its `group.instance.id`, or "".
        host: where it runs.
    """

    instance: str
    host: str


class Admin:
    """What is asked of a cluster beside records.

    Args:
        settings: of the connection.
        names: logical topic name -> name in Kafka, where they differ.
        stop: ends every wait.
    """

    def __init__(self, settings: KafkaSettings, names: Mapping[str, str], stop: threading.Event) -> None:
        self.settings = settings
        self.retry = Retry(settings, stop, listen=lambda: self._client.poll(0))
        self._names = names
        self._client = make(settings, AdminClient, {**settings.config(), "error_cb": self._hear})

    def _hear(self, error: KafkaError) -> None:
        """What the connection itself says tells more than the request that timed out."""
        if error.code() != KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001
            self.retry.heard = error.str()

    def physical(self, topic: str) -> str:
        """Name in Kafka of a logical topic."""
        return self._names.get(topic, topic)

    def reach(self) -> None:
        """Wait until the cluster answers and has a controller, within the settings' patience.

        Raises:
            LogError: SP302 it does not.
            Stopped: asked to stop meanwhile.
        """
        self.retry.call("list topics", self._look)

    def topics(self, logical: Collection[str], *, wait: bool = False) -> dict[str, Topic]:
        """Look topics up, by logical name.

        Args:
            wait: wait for those that are missing, within the settings' patience.

        Raises:
            LogError: SP301 one is missing, with the nearest names that are there.
        """
        backoff = Backoff(self.retry.limit_s)
        while True:
            found = self._describe(logical)
            missing = sorted(set(logical) - found.keys())
            if not missing:
                return found
            if not wait or backoff.over:
                raise self._missing(missing[0])
            self.retry.sleep(backoff.next_s(f'topic "{self.physical(missing[0])}" does not exist', "--wait"))

    def create_state_topic(self, topology: str) -> str:
        """Make the topic of manifests if there is none, and return its name in Kafka.

        Raises:
            LogError: Kafka refuses.
        """
        logical = state_topic(topology)
        if not self._describe([logical]):
            new = NewTopic(self.physical(logical), num_partitions=1, replication_factor=-1, config=_STATE_TOPIC)
            self.retry.call(
                f'create the topic "{new.topic}"',
                self._controlled(lambda s: _each(self._client.create_topics([new], request_timeout=s), s, _EXISTS)),
            )
            self._wait_created(logical)
        return self.physical(logical)

    def ends(self, partitions: Collection[TopicPartition], *, committed: bool = True) -> dict[TopicPartition, int]:
        """Offset after the last record of each partition; `committed`: that no open transaction comes before."""
        level = ck.IsolationLevel.READ_COMMITTED if committed else ck.IsolationLevel.READ_UNCOMMITTED
        return self._offsets(partitions, OffsetSpec.latest(), level)

    def firsts(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """Offset of the earliest record of each partition."""
        return self._offsets(partitions, OffsetSpec.earliest(), ck.IsolationLevel.READ_COMMITTED)

    def offset_at(self, partition: TopicPartition, timestamp_ms: int) -> int | None:
        """Offset of the first record with at least this Kafka timestamp, None if there is none."""
        spec = OffsetSpec.for_timestamp(timestamp_ms)
        offset = self._offsets([partition], spec, ck.IsolationLevel.READ_COMMITTED)[partition]
        return None if offset < 0 else offset

    def members(self, group: str) -> list[Member]:
        """Active members of a consumer group; a worker that died counts until its session is over."""
        results = self._ask(
            f'describe the group "{group}"', lambda s: self._client.describe_consumer_groups([group], request_timeout=s)
        )
        return [Member(m.group_instance_id or "", m.host) for m in results[group].members]

    def forget(self, topology: str) -> None:
        """Delete state and offsets of a topology, so that it starts anew. State goes first: offsets without state are
        recognised at the next start, state without offsets is not.

        Raises:
            LogError: Kafka refuses; SP306 while workers are running.
        """
        if members := self.members(topology):
            raise LogError(
                "SP306",
                f'workers of "{topology}" are running',
                detail=sorted({member.host for member in members}),
                fix=f"stop them; a killed one counts for {self.settings.session_s:g} s",
            )
        state = self.physical(state_topic(topology))
        delete = f'delete the topic "{state}"'
        self.retry.call(
            delete,
            self._controlled(lambda s: _each(self._client.delete_topics([state], request_timeout=s), s, _GONE)),
        )
        self.retry.call(
            f'delete the group "{topology}"',
            lambda s: _each(self._client.delete_consumer_groups([topology], request_timeout=s), s, _NO_GROUP),
        )

    def committed(self, group: str, partition: TopicPartition) -> int | None:
        """Committed offset of a group, once no open transaction can change it; None if there is none.

        Not asked of a consumer: one that reads without a group may look for its coordinator only every ten minutes.

        Raises:
            LogError: SP302 not reachable, SP305 refused.
        """
        asked = ck.ConsumerGroupTopicPartitions(
            group, [ck.TopicPartition(self.physical(partition.topic), partition.partition)]
        )

        def ask(seconds: float) -> int | None:
            request = self._client.list_consumer_group_offsets([asked], require_stable=True, request_timeout=seconds)
            answers = _each(request, seconds, _NO_GROUP)
            if not answers:
                return None
            answer = answers[group].topic_partitions[0]
            if answer.error:  # each partition has its own
                raise KafkaException(answer.error)
            return int(answer.offset)

        offset = self.retry.call("read committed offsets", ask)
        return None if offset is None or offset < 0 else offset

    def set_offsets(self, topology: str, offsets: Mapping[TopicPartition, int]) -> None:
        """Commit offsets of the group while it has no members.

        Raises:
            LogError: SP302 not reachable, SP305 refused.
        """
        places = [ck.TopicPartition(self.physical(p.topic), p.partition, offset) for p, offset in offsets.items()]
        request = [ck.ConsumerGroupTopicPartitions(topology, places)]
        self._ask(
            "set offsets of the group",
            lambda s: self._client.alter_consumer_group_offsets(request, request_timeout=s),
        )

    def _describe(self, logical: Collection[str]) -> dict[str, Topic]:
        names = ck.TopicCollection([self.physical(topic) for topic in logical])
        futures = self.retry.call(
            "describe topics",
            self._controlled(lambda s: _each(self._client.describe_topics(names, request_timeout=s), s, _GONE)),
        )
        found = {}
        for topic in logical:
            if described := futures.get(self.physical(topic)):
                found[topic] = Topic(self.physical(topic), str(described.topic_id), len(described.partitions))
        return found

    def _look(self, seconds: float) -> ClusterMetadata:
        """Topics and controller as they are now.

        This connects to a broker that is back at once, and tells the client who is controller now; by itself it goes on
        waiting for the one that it knows.
        """
        cluster = self._client.list_topics(timeout=seconds)
        if cluster.controller_id < 0:
            raise KafkaException(KafkaError(KafkaError.BROKER_NOT_AVAILABLE, "the cluster has no controller yet"))
        return cluster

    def _controlled(self, request: Callable[[float], T]) -> Callable[[float], T]:
        """A request that the controller answers: before it is made again, a look at who that is."""
        attempts = count()

        def attempt(seconds: float) -> T:
            if next(attempts):
                self._look(seconds)
            return request(seconds)

        return attempt

    def _wait_created(self, logical: str) -> None:
        """A new topic takes a moment until every broker knows of it."""
        for _ in range(int(CREATED_S_MAX / CREATED_PAUSE_S)):
            if self._describe([logical]):
                return
            self.retry.sleep(CREATED_PAUSE_S)
        raise self._missing(logical)

    def _missing(self, topic: str) -> LogError:
        listed = self.retry.call("list topics", self._look)
        physical = self.physical(topic)
        near = get_close_matches(physical, [name for name in listed.topics if not name.startswith("__")], n=3)
        return LogError(
            "SP301",
            f'topic "{physical}" does not exist',
            detail=[f"nearest names: {', '.join(near)}"] if near else [],
            fix="create it, wait for it with --wait, or correct its name",
        )

    def _offsets(self, partitions: Collection[TopicPartition], spec: Any, level: Any) -> dict[TopicPartition, int]:
        asked = {p: ck.TopicPartition(self.physical(p.topic), p.partition) for p in partitions}
        if not asked:
            return {}
        request = dict.fromkeys(asked.values(), spec)
        results = self._ask(
            "list offsets", lambda s: self._client.list_offsets(request, isolation_level=level, request_timeout=s)
        )
        by_name = {(each.topic, each.partition): result.offset for each, result in results.items()}
        return {p: by_name[each.topic, each.partition] for p, each in asked.items()}

    def _ask(self, what: str, request: Callable[[float], Mapping[Any, Future[Any]]]) -> dict[Any, Any]:
        return self.retry.call(what, lambda s: _each(request(s), s, ()))


def state_topic(topology: str) -> str:
    """Logical name of a topology's topic of manifests."""
    return f"{topology}.state"


def _each(futures: Mapping[Any, Future[Any]], seconds: float, fine: Iterable[int]) -> dict[Any, Any]:
    """Results of all futures; those that failed with one of the `fine` codes are left out."""
    results = {}
    for key, future in futures.items():
        try:
            results[key] = future.result(seconds + 1)
        except KafkaException as error:
            if cause(error).code() not in fine:
                raise
        except TimeoutError:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT)) from None  # noqa: SLF001
    return results
