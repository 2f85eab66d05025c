"""Topics by name, each with an identity: one that is made anew is another topic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from zlib import crc32

from streamproc.runtime.log import TopicPartition
from streamproc.runtime.memory.partition import PartitionLog
from streamproc.runtime.memory.refusals import TopicExists, UnknownTopic


class Topic:
    """A topic.

    Args:
        id: its identity.
        partitions: how many it starts with.
        compacted: keeps only the newest record of each key.
    """

    def __init__(self, id: str, partitions: int, compacted: bool) -> None:
        self.id = id
        self._compacted = compacted
        self._keyless = 0
        self.partitions: list[PartitionLog] = []
        self.grow(partitions)

    def grow(self, partitions: int) -> None:
        """Add partitions up to this number.

        Raises:
            ValueError: that would not add any.
        """
        if partitions <= len(self.partitions):
            raise ValueError(f"a topic can't shrink from {len(self.partitions)} to {partitions} partitions")
        self.partitions += [PartitionLog(self._compacted) for _ in range(partitions - len(self.partitions))]

    def choose(self, keys: Sequence[bytes | None]) -> list[int]:
        """Partition of each key: by its hash as librdkafka does, in turn where there is none."""
        n = len(self.partitions)
        chosen = []
        for key in keys:
            if key is None:
                self._keyless += 1
            chosen.append((self._keyless - 1 if key is None else crc32(key)) % n)
        return chosen


class Topics:
    """All topics.

    Args:
        ids: makes identities, a new one at each call.
    """

    def __init__(self, ids: Callable[[], str]) -> None:
        self._ids = ids
        self._by_name: dict[str, Topic] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all topics, sorted."""
        return tuple(sorted(self._by_name))

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def __getitem__(self, name: str) -> Topic:
        if name not in self._by_name:
            raise UnknownTopic(name)
        return self._by_name[name]

    def create(self, name: str, partitions: int, compacted: bool = False) -> None:
        """Make a topic.

        Raises:
            TopicExists: there is one of this name.
        """
        if name in self._by_name:
            raise TopicExists(name)
        self._by_name[name] = Topic(self._ids(), partitions, compacted)

    def delete(self, name: str) -> None:
        """Delete a topic with its records."""
        if self._by_name.pop(name, None) is None:
            raise UnknownTopic(name)

    def partitions(self, names: Sequence[str]) -> list[TopicPartition]:
        """Partitions of those of the named topics that exist, in order."""
        return [
            TopicPartition(name, number)
            for name in sorted(names)
            if name in self._by_name
            for number in range(len(self._by_name[name].partitions))
        ]

    def partition(self, which: TopicPartition) -> PartitionLog:
        """Log of a partition.

        Raises:
            UnknownTopic: there is no such topic or partition.
        """
        logs = self[which.topic].partitions
        if not 0 <= which.partition < len(logs):
            raise UnknownTopic(f"{which.topic}[{which.partition}]")
        return logs[which.partition]
