"""The seam between worker and broker: what a worker asks of the log, beside the records that the driver brings.

Both drivers implement it; so checkpoint, restore and fencing run the same code on Kafka and in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import orjson

from streamproc.plan.model import Start


class TopicPartition(NamedTuple):
    """A partition of a topic, by its logical name."""

    topic: str
    partition: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What the broker says of a partition and of this job's place in it.

    Args:
        topic_id: the topic's identity; a topic that is made anew has another.
        partitions: how many partitions the topic has.
        partitions_before: how many it had when this job first read it, as the manifests of all its tasks say; None if
            there are none.
        first: offset of the earliest record that is still there.
        end: offset that the next record will get.
        committed: the group's committed offset, or None.
        manifest: the task's newest manifest, or None. Both are read after every open transaction has settled.
    """

    topic_id: str
    partitions: int
    partitions_before: int | None
    first: int
    end: int
    committed: int | None
    manifest: bytes | None


def fewest_partitions(manifests: Iterable[bytes]) -> int | None:
    """The smallest number of partitions on record in any of these manifests; None if there is none.

    >>> fewest_partitions([b'{"partitions": 4}', b'{"partitions": 2}', b"damaged"])
    2
    """
    return min((count for count in map(_partitions, manifests) if count is not None), default=None)


def _partitions(manifest: bytes) -> int | None:
    """Only this field is looked at: what is damaged is told of by who needs the rest."""
    try:
        return int(orjson.loads(manifest)["partitions"])
    except (ValueError, KeyError, TypeError):
        return None


class Log(Protocol):
    """What a worker asks of the broker."""

    def facts(self, partition: TopicPartition, task: str) -> Facts:
        """See `Facts`.

        Raises:
            LogError: topic missing, broker not reachable within the limit, a transaction that does not settle.
        """
        ...

    def start_offset(self, partition: TopicPartition, start: Start) -> int:
        """Offset that a first start reads from."""
        ...

    def transact(self, offsets: Mapping[TopicPartition, int], manifests: Mapping[str, bytes | None]) -> None:
        """Commit offsets and manifests (task id -> manifest, None forgets it) as one transaction. Offsets of all tasks
        that are touched are always sent (law 5).

        Raises:
            Fenced: this member or producer is no longer the owner; nothing was committed.
            LogError: not done within the limit; whether it took effect is unknown until `facts` is asked.
        """
        ...
