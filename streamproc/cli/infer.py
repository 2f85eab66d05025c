"""`streamproc infer`: reads messages of a topic and prints a schema to paste. Joins no group, commits nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated
from uuid import uuid4

import typer
from confluent_kafka import Consumer, KafkaException
from confluent_kafka import TopicPartition as Place

from streamproc.cli import kafka, screen
from streamproc.cli.inference import guess
from streamproc.cli.options import ConfigFile, Sets, settings
from streamproc.config import Config
from streamproc.errors import LogError
from streamproc.runtime.kafka.admin import Admin, Topic
from streamproc.runtime.kafka.connection import cause, kind, make, refused
from streamproc.runtime.log import TopicPartition

READ_S_MAX = 15.0


def infer(
    topic: Annotated[str, typer.Argument(help="Topic to look into.", show_default=False)],
    n: Annotated[int, typer.Option("-n", help="How many messages, the newest.", min=1, max=100_000)] = 1000,
    config: ConfigFile = None,
    sets: Sets = None,
) -> None:
    """Read messages of a topic and print a schema to paste into a topology."""
    payloads, there = _newest(settings(config, sets), topic, n)
    if not payloads:
        raise LogError("SP320", f'topic "{topic}" holds no messages', fix="try again when it does")
    found = guess(topic, payloads)
    bad = f", {found.bad:,} of these are no JSON objects" if found.bad else ""
    screen.say(f"# {topic}: {found.messages:,} of {screen.many(there, 'message')} read{bad}")
    screen.say(found.code)


def _newest(config: Config, topic: str, n: int) -> tuple[list[bytes | None], int]:
    """The newest n messages, as even over the partitions as they allow, within a limited time; how many there are."""
    admin = kafka.admin(config)
    described = _described(admin, topic)
    partitions = [TopicPartition(topic, number) for number in range(described.partitions)]
    firsts, ends = admin.firsts(partitions), admin.ends(partitions)
    shares = even({p: ends[p] - firsts[p] for p in partitions}, n)
    places = [Place(described.name, p.partition, ends[p] - share) for p, share in shares.items() if share]
    there = sum(ends[p] - firsts[p] for p in partitions)
    if not places:
        return [], there
    own = {"group_id": f"streamproc-infer-{uuid4()}", "enable_auto_commit": False, "enable_partition_eof": True}
    consumer = make(admin.settings, Consumer, admin.settings.config(**own))
    try:
        consumer.assign(places)
        return _read(consumer, len(places), n), there
    except KafkaException as exception:
        raise refused(admin.settings, f'read "{topic}"', cause(exception)) from None
    finally:
        consumer.close()


def even(there: Mapping[TopicPartition, int], n: int) -> dict[TopicPartition, int]:
    """n shared out as evenly as possible, where each takes at most as many as there are.

    >>> even({TopicPartition("t", 0): 50, TopicPartition("t", 1): 2}, 10)
    {TopicPartition(topic='t', partition=1): 2, TopicPartition(topic='t', partition=0): 8}
    """
    shares: dict[TopicPartition, int] = {}
    for takers, partition in zip(range(len(there), 0, -1), sorted(there, key=there.__getitem__), strict=True):
        shares[partition] = min(there[partition], -(-(n - sum(shares.values())) // takers))
    return shares


def _described(admin: Admin, topic: str) -> Topic:
    try:
        return admin.topics([topic])[topic]
    except LogError as error:
        if error.code != kafka.MISSING:
            raise
        # Its own way out speaks of `run --wait`.
        raise LogError(error.code, error.message, detail=error.detail, fix="correct its name") from None


def _read(consumer: Consumer, partitions: int, n: int) -> list[bytes | None]:
    payloads: list[bytes | None] = []
    at_end: set[int] = set()
    deadline = time.monotonic() + READ_S_MAX
    while len(payloads) < n and len(at_end) < partitions and time.monotonic() < deadline:
        message = consumer.poll(0.2)
        if message is None:
            continue
        error = message.error()
        if error is None:
            payloads.append(message.value())
        elif error.name() == "_PARTITION_EOF":
            at_end.add(message.partition() or 0)
        elif kind(error) != "retry":
            raise KafkaException(error)
    return payloads
