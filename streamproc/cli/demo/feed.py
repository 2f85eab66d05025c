"""Brings made-up messages to the in-memory broker at the pace of the clock on the wall."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence

from streamproc.cli.demo.sensors import Message
from streamproc.runtime.log import TopicPartition
from streamproc.runtime.memory.broker import MemoryBroker


class WallClock:
    """The time as it is, for a broker that is watched by a person."""

    def now(self) -> int:
        """Microseconds since 1970-01-01 UTC."""
        return time.time_ns() // 1000


class Feed:
    """Args:
    broker: where to.
    topic: with all its partitions there.
    messages: what to send, in this order.
    seconds: spread over this time.
    """

    def __init__(self, broker: MemoryBroker, topic: str, messages: Sequence[Message], seconds: float) -> None:
        self._broker = broker
        self._topic = topic
        self._messages = messages
        self._per_second = len(messages) / seconds
        self._began = time.monotonic()
        self._marks: list[tuple[int, float]] = [(0, self._began)]
        self.sent = 0

    @property
    def done(self) -> bool:
        """Whether all has been sent."""
        return self.sent == len(self._messages)

    def send(self) -> None:
        """Send what is due by now."""
        now = time.monotonic()
        due = min(len(self._messages), int((now - self._began) * self._per_second))
        by_partition: dict[int, list[Message]] = defaultdict(list)
        for message in self._messages[self.sent : due]:
            by_partition[message.partition].append(message)
        for partition, batch in by_partition.items():
            self._broker.append(
                TopicPartition(self._topic, partition),
                [message.value for message in batch],
                [message.key for message in batch],
                [message.timestamp for message in batch],
            )
        self.sent = due
        self._marks.append((due, now))

    def age_s(self, message: int) -> float:
        """Seconds since the message of this number was sent."""
        index = bisect_right(self._marks, message, key=lambda mark: mark[0])
        return time.monotonic() - self._marks[min(index, len(self._marks) - 1)][1]
