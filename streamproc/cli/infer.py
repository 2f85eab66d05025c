"""`streamproc infer`: reads messages of a topic and prints a schema to paste. Joins no group, commits nothing."""

from __future__ import annotations

import time
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
    payloads = _newest(settings(config, sets), topic, n)
    if not payloads:
        raise LogError("SP320", f'topic "{topic}" holds no messages', fix="try again when it does")
    found = guess(topic, payloads)
    bad = f", {found.bad:,} are no JSON objects" if found.bad else ""
    screen.say(f"# {topic}: {found.messages:,} messages{bad}")
    screen.say(found.code)


def _newest(config: Config, topic: str, n: int) -> list[bytes | None]:
    """The newest n messages, as even over the partitions as they allow, within a limited time."""
    admin = kafka.admin(config)
    described = admin.topics([topic])[topic]
    partitions = [TopicPartition(topic, number) for number in range(described.partitions)]
    firsts, ends = admin.firsts(partitions), admin.ends(partitions)
    share = -(-n // described.partitions)
    starts = {p: max(firsts[p], ends[p] - share) for p in partitions}
    places = [Place(described.name, p.partition, start) for p, start in starts.items() if start < ends[p]]
    if not places:
        return []
    own = {"group_id": f"streamproc-infer-{uuid4()}", "enable_auto_commit": False, "enable_partition_eof": True}
    consumer = make(admin.settings, Consumer, admin.settings.config(**own))
    try:
        consumer.assign(places)
        return _read(consumer, len(places), n)
    except KafkaException as exception:
        raise refused(admin.settings, f'read "{topic}"', cause(exception)) from None
    finally:
        consumer.close()


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
