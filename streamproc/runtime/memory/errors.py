"""What a user reads when the in-memory log is not what it must be."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from streamproc.errors import Fenced, LogError
from streamproc.runtime.log import TopicPartition

_RESET = "`streamproc reset` shows what would be forgotten and read again, then asks"


def topic_missing(topic: str, names: Iterable[str]) -> LogError:
    """A topic is not there; names the nearest ones that are."""
    near = get_close_matches(topic, list(names), n=3)
    return LogError(
        "SP301",
        f'topic "{topic}" does not exist',
        detail=[f"nearest names: {', '.join(near)}"] if near else [],
        fix="create it, or correct its name",
    )


def partition_missing(partition: TopicPartition) -> LogError:
    """The topic has fewer partitions than that."""
    return LogError("SP301", f'topic "{partition.topic}" has no partition {partition.partition}')


def unsettled(partition: TopicPartition) -> LogError:
    """An open transaction holds what must be known before a task starts."""
    return LogError(
        "SP307",
        f"a transaction that touches {_name(partition)} has not settled",
        fix="it is aborted when its timeout has passed; start again then",
    )


def stuck(partitions: Iterable[TopicPartition]) -> LogError:
    """A run can't reach its end by itself."""
    return LogError(
        "SP304",
        f"can't read {', '.join(map(_name, partitions))} to the end",
        detail=["another worker has them, or a transaction on them is open"],
        fix="step the other workers, or move the clock",
    )


def replaced(name: str) -> LogError:
    """Two processes under one name."""
    return LogError("SP309", f'another process runs as "{name}"', fix="give each worker a name of its own")


def remade(partition: TopicPartition) -> LogError:
    """The topic has another identity than when its task started."""
    return LogError("SP310", f"the topic of {_name(partition)} was made anew while it was read", fix=_RESET)


def truncated(partition: TopicPartition, offset: int, first: int) -> LogError:
    """Retention was faster than the reader."""
    return LogError(
        "SP312",
        f"{_name(partition)}: {first - offset:,} unread records are gone: the earliest is {first}, needed {offset}",
        detail=["retention removed them before they were read"],
        fix=_RESET,
    )


def fenced(reason: str, tasks: Iterable[str]) -> Fenced:
    """A refused transaction, as a worker is to take it."""
    return Fenced("SP701", "another process owns these tasks: nothing was committed", tasks=tasks, detail=[reason])


def _name(partition: TopicPartition) -> str:
    return f"{partition.topic}/{partition.partition}"
