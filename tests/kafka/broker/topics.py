"""Small helpers for tests: topics and messages."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from typing import Any

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

WAIT_S_MAX = 20


def unique(prefix: str) -> str:
    """A name that no other test has."""
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


def create_topic(address: str, name: str | None = None, *, partitions: int = 1, **config: str) -> str:
    """Create a topic and return its name; `config` names have underscores for dots."""
    name = name or unique("topic")
    settings = {key.replace("_", "."): value for key, value in config.items()}
    admin = AdminClient({"bootstrap.servers": address})
    topic = NewTopic(name, num_partitions=partitions, replication_factor=1, config=settings)
    admin.create_topics([topic], operation_timeout=WAIT_S_MAX)[name].result(WAIT_S_MAX)
    return name


def produce_json(
    address: str,
    topic: str,
    rows: Iterable[Any],
    *,
    partition: int = 0,
    transactional_id: str | None = None,
    abort: bool = False,
) -> None:
    """Produce each row as JSON, durable on return; in one transaction, which may be aborted, if an id is given."""
    config: dict[str, Any] = {"bootstrap.servers": address, "linger.ms": 5, "enable.idempotence": True}
    if transactional_id:
        config["transactional.id"] = transactional_id
    producer = Producer(config)
    if transactional_id:
        producer.init_transactions(WAIT_S_MAX)
        producer.begin_transaction()
    for row in rows:
        while True:
            try:
                producer.produce(topic, json.dumps(row).encode(), partition=partition)
                break
            except BufferError:
                producer.poll(0.1)
    assert producer.flush(WAIT_S_MAX) == 0
    if transactional_id and abort:
        producer.abort_transaction(WAIT_S_MAX)
    elif transactional_id:
        producer.commit_transaction(WAIT_S_MAX)
