"""The log on a real broker: what it says of a partition, and what it commits for whom."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer
from confluent_kafka import TopicPartition as RawPartition

from streamproc import position
from streamproc.errors import Fenced, LogError
from streamproc.plan.model import Plan
from streamproc.runtime.kafka.admin import Admin, state_topic
from streamproc.runtime.kafka.connection import KafkaSettings
from streamproc.runtime.kafka.log import KafkaLog, in_group
from streamproc.runtime.kafka.slots import take
from streamproc.runtime.log import TopicPartition

from .broker import create_topic, produce_json, unique
from .fakes import plan_of

CORPSE = """
import os, signal, sys
from confluent_kafka import Consumer, Producer, TopicPartition
address, id, group, topic, state, task = sys.argv[1:]
member = Consumer({"bootstrap.servers": address, "group.id": group})
producer = Producer({"bootstrap.servers": address, "transactional.id": id, "transaction.timeout.ms": 10000})
producer.init_transactions(10)
producer.begin_transaction()
producer.produce(state, b'{"position": %d}' % (7 << 20), task.encode(), partition=0)
producer.flush(10)
producer.send_offsets_to_transaction([TopicPartition(topic, 0, 7)], member.consumer_group_metadata(), 10)
os.kill(os.getpid(), signal.SIGKILL)
"""


def manifest(offset: int) -> bytes:
    return json.dumps({"position": position.before(offset)}).encode()


@contextmanager
def member(address: str, plan: Plan, topic: str) -> Iterator[Consumer]:
    """A consumer that has joined the plan's group and owns its topic."""
    config = {"bootstrap.servers": address, "group.id": plan.name, "enable.auto.commit": False}
    consumer = Consumer(config | {"session.timeout.ms": 6000})
    assigned = threading.Event()
    consumer.subscribe([topic], on_assign=lambda *_: assigned.set())
    deadline = time.monotonic() + 20
    while not assigned.is_set():
        assert time.monotonic() < deadline
        consumer.poll(0.1)
    yield consumer
    consumer.close()


def make_log(address: str, plan: Plan, consumer: Consumer, id: str | None = None) -> KafkaLog:
    admin = Admin(KafkaSettings(address, patience_s=20), {}, threading.Event())
    log = KafkaLog(plan, admin, id or unique("worker"), consumer.consumer_group_metadata)
    log.open()
    return log


@pytest.fixture
def topic(kafka: str) -> str:
    return create_topic(kafka)


@pytest.fixture
def plan(topic: str) -> Plan:
    return plan_of(unique("job"), topic)


def test_offsets_and_manifests_are_committed_together(kafka: str, topic: str, plan: Plan) -> None:
    produce_json(kafka, topic, range(10))
    here, task = TopicPartition(topic, 0), plan.task(topic, 0)
    with member(kafka, plan, topic) as consumer:
        log = make_log(kafka, plan, consumer)
        fresh = log.facts(here, task)
        assert (fresh.first, fresh.end, fresh.committed, fresh.manifest) == (0, 10, None, None)
        assert fresh.topic_id
        for offset in range(5):
            log.transact({here: offset}, {task: manifest(offset), f"other{offset}": b"{}"})
            facts = log.facts(here, task)
            assert (facts.committed, facts.manifest) == (offset, manifest(offset))
        log.transact({here: 5}, {task: None})
        assert log.facts(here, task).manifest is None
        log.transact({here: 6}, {})
        other = make_log(kafka, plan, consumer)
        assert other.facts(here, task).committed == 6
        log.close()
        other.close()


def test_partitions_now_and_as_the_manifests_say(kafka: str) -> None:
    topic = create_topic(kafka, partitions=3)
    plan = plan_of(unique("job"), topic)
    here, name = TopicPartition(topic, 2), plan.task(topic, 2)
    with member(kafka, plan, topic) as consumer:
        log = make_log(kafka, plan, consumer)
        fresh = log.facts(here, name)
        assert (fresh.partitions, fresh.partitions_before) == (3, None)
        manifests = {plan.task(topic, 0): b'{"partitions": 3}', plan.task(topic, 1): b'{"partitions": 2}'}
        log.transact({here: 0}, {**manifests, f"{plan.name}/{topic}x/0": b'{"partitions": 1}'})
        facts = log.facts(here, name)
        assert (facts.partitions, facts.partitions_before) == (3, 2)
        log.close()


def test_where_a_first_start_reads_from(kafka: str, topic: str, plan: Plan) -> None:
    producer = Producer({"bootstrap.servers": kafka})
    for second in range(5):
        producer.produce(topic, b"{}", partition=0, timestamp=1_700_000_000_000 + second * 1000)
    producer.flush(10)
    with member(kafka, plan, topic) as consumer:
        log = make_log(kafka, plan, consumer)
        here = TopicPartition(topic, 0)
        assert log.start_offset(here, "earliest") == 0
        assert log.start_offset(here, "latest") == 5
        assert log.start_offset(here, datetime.fromtimestamp(1_700_000_002, UTC)) == 2
        assert log.start_offset(here, datetime.fromtimestamp(1_700_000_002, UTC).replace(tzinfo=None)) == 2
        assert log.start_offset(here, datetime.fromtimestamp(1_800_000_000, UTC)) == 5
        log.close()


def test_a_missing_topic_or_partition_is_named(kafka: str, topic: str, plan: Plan) -> None:
    with member(kafka, plan, topic) as consumer:
        log = make_log(kafka, plan, consumer)
        with pytest.raises(LogError, match="has no partition 9"):
            log.facts(TopicPartition(topic, 9), "task")
        with pytest.raises(LogError, match=f'"{topic}y" does not exist') as caught:
            log.facts(TopicPartition(f"{topic}y", 0), "task")
        assert topic in caught.value.detail[0]
        log.close()


def test_a_producer_of_the_same_identity_is_fenced(kafka: str, topic: str, plan: Plan) -> None:
    here, task = TopicPartition(topic, 0), plan.task(topic, 0)
    with member(kafka, plan, topic) as consumer:
        old = make_log(kafka, plan, consumer, "same")
        new = make_log(kafka, plan, consumer, "same")
        with pytest.raises(Fenced) as caught:
            old.transact({here: 1}, {task: manifest(1)})
        assert caught.value.tasks == {task}
        assert new.facts(here, task).committed is None
        old.transact({here: 2}, {task: manifest(2)})  # a new producer; now the other one is fenced
        with pytest.raises(Fenced):
            new.transact({here: 3}, {task: manifest(3)})
        assert new.facts(here, task).committed == 2
        old.close()
        new.close()


def test_a_stale_generation_is_fenced(kafka: str, topic: str, plan: Plan) -> None:
    here, task = TopicPartition(topic, 0), plan.task(topic, 0)
    with member(kafka, plan, topic) as stale:
        log = make_log(kafka, plan, stale)
        log.transact({here: 1}, {task: manifest(1)})
        metadata = stale.consumer_group_metadata()
        assert in_group(metadata)
        stale.unsubscribe()
        stale.poll(0.5)
        with pytest.raises(Fenced):
            log.transact({here: 2}, {task: manifest(2)})
        with member(kafka, plan, topic):
            zombie = KafkaLog(plan, log._admin, unique("zombie"), lambda: metadata)
            zombie.open()
            with pytest.raises(Fenced):
                zombie.transact({here: 2}, {})
            facts = log.facts(here, task)
            assert (facts.committed, facts.manifest) == (1, manifest(1))
            zombie.close()
        log.close()


def test_a_successor_settles_what_a_killed_process_left_open(kafka: str, topic: str, plan: Plan) -> None:
    produce_json(kafka, topic, range(10))
    here, task, id = TopicPartition(topic, 0), plan.task(topic, 0), unique("worker")
    with member(kafka, plan, topic) as consumer:
        log = make_log(kafka, plan, consumer)
        log.transact({here: 3}, {task: manifest(3)})
        log.close()
    arguments = [kafka, id, plan.name, topic, state_topic(plan.name), task]
    killed = subprocess.run([sys.executable, "-c", CORPSE, *arguments], check=False, capture_output=True, timeout=30)
    assert killed.returncode == -9, killed.stderr
    with member(kafka, plan, topic) as consumer:
        began = time.monotonic()
        log = make_log(kafka, plan, consumer, id)
        facts = log.facts(here, task)
        assert time.monotonic() - began < 5
        assert (facts.committed, facts.manifest) == (3, manifest(3))
        log.close()


def test_what_this_worker_left_open_itself_is_not_waited_for(kafka: str, topic: str, plan: Plan) -> None:
    """As after an outage in the midst of a commit: the producer was let go with its transaction open."""
    here, task = TopicPartition(topic, 0), plan.task(topic, 0)
    with member(kafka, plan, topic) as consumer:
        log = make_log(kafka, plan, consumer)
        log.transact({here: 3}, {task: manifest(3)})
        producer = log._transactions.open()
        producer.begin_transaction()
        producer.produce(state_topic(plan.name), manifest(4), task.encode(), partition=0)
        producer.send_offsets_to_transaction([RawPartition(topic, 0, 4)], consumer.consumer_group_metadata(), 10)
        log._transactions.close()
        began = time.monotonic()
        facts = log.facts(here, task)
        assert time.monotonic() - began < 4
        assert (facts.committed, facts.manifest) == (3, manifest(3))
        log.close()


def test_an_open_transaction_of_another_is_waited_for(kafka: str, topic: str, plan: Plan) -> None:
    """Offset and manifest never come from two different transactions."""
    here, task = TopicPartition(topic, 0), plan.task(topic, 0)
    with member(kafka, plan, topic) as consumer:
        log = make_log(kafka, plan, consumer)
        log.transact({here: 3}, {task: manifest(3)})
        open_one = Producer({"bootstrap.servers": kafka, "transactional.id": unique("open")})
        open_one.init_transactions(10)
        open_one.begin_transaction()
        open_one.produce(state_topic(plan.name), manifest(4), task.encode(), partition=0)
        open_one.send_offsets_to_transaction([RawPartition(topic, 0, 4)], consumer.consumer_group_metadata(), 10)
        timer = threading.Timer(1.0, lambda: open_one.commit_transaction(10))
        timer.start()
        facts = log.facts(here, task)
        assert (facts.committed, facts.manifest) == (4, manifest(4))
        timer.join()
        log.close()


def test_disagreement_that_nothing_can_change_is_told_at_once(kafka: str, topic: str, plan: Plan) -> None:
    here, task = TopicPartition(topic, 0), plan.task(topic, 0)
    with member(kafka, plan, topic) as consumer:
        log = make_log(kafka, plan, consumer)
        log.transact({here: 3}, {task: manifest(2)})
        began = time.monotonic()
        facts = log.facts(here, task)
        assert (facts.committed, facts.manifest) == (3, manifest(2))
        assert time.monotonic() - began < 3
        log.close()


def test_messages_that_kafka_refuses_leave_nothing_behind(kafka: str, topic: str, plan: Plan) -> None:
    here, task = TopicPartition(topic, 0), plan.task(topic, 0)
    with member(kafka, plan, topic) as consumer:
        log = make_log(kafka, plan, consumer)
        with pytest.raises(LogError, match="SP305"):
            log.transact({here: 1}, {task: b"x" * (9 << 20)})
        log.transact({here: 2}, {task: manifest(2)})
        assert log.facts(here, task).committed == 2
        log.close()


def test_reset_forgets_state_and_offsets(kafka: str, topic: str, plan: Plan) -> None:
    here, task = TopicPartition(topic, 0), plan.task(topic, 0)
    admin = Admin(KafkaSettings(kafka, patience_s=20), {}, threading.Event())
    admin.forget(plan.name)
    with member(kafka, plan, topic) as consumer:
        log = make_log(kafka, plan, consumer)
        log.transact({here: 3}, {task: manifest(3)})
        with pytest.raises(LogError, match="SP306"):
            admin.forget(plan.name)
        log.close()
    admin.forget(plan.name)
    with member(kafka, plan, topic) as consumer:
        log = make_log(kafka, plan, consumer)
        facts = log.facts(here, task)
        assert (facts.committed, facts.manifest) == (None, None)
        log.close()


def test_secrets_are_not_told(kafka: str) -> None:
    settings = KafkaSettings("127.0.0.1:1", {"sasl.password": "canary-7", "security.protocol": "canary-8"})
    assert "canary" not in repr(settings)
    with pytest.raises(LogError) as caught:
        Admin(settings, {}, threading.Event())
    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_broker_that_is_not_there_is_given_up_in_the_end() -> None:
    admin = Admin(KafkaSettings("127.0.0.1:1", patience_s=1.5), {}, threading.Event())
    began = time.monotonic()
    with pytest.raises(LogError, match=r"broker unreachable: 127\.0\.0\.1:1") as caught:
        admin.topics(["any"])
    assert "Connection refused" in caught.value.detail[0]
    assert 1.5 < time.monotonic() - began < 10


def test_slots_are_shared_out_and_remembered(tmp_path: Path) -> None:
    first, second = take(tmp_path), take(tmp_path)
    assert (first.path.name, second.path.name) == ("slot-0", "slot-1")
    assert first.id != second.id
    first.close()
    with take(tmp_path) as again:
        assert (again.path, again.id) == (first.path, first.id)
        assert again.identity("job") == f"job-{first.id}"
    second.close()


def test_the_state_topic_is_compacted(kafka: str, topic: str, plan: Plan) -> None:
    """A second creation is fine; the newest value of each key is all that counts."""
    admin = Admin(KafkaSettings(kafka), {state_topic(plan.name): unique("mapped")}, threading.Event())
    name = admin.create_state_topic(plan.name)
    assert name == admin.create_state_topic(plan.name)
    assert name.startswith("mapped")
    assert admin.topics([state_topic(plan.name)])[state_topic(plan.name)].partitions == 1


def test_raw_reader_sees_what_was_committed(kafka: str, topic: str, plan: Plan) -> None:
    """Independent of our own reader: a stock consumer finds the manifest under the task's id."""
    here, task = TopicPartition(topic, 0), plan.task(topic, 0)
    with member(kafka, plan, topic) as consumer:
        log = make_log(kafka, plan, consumer)
        log.transact({here: 1}, {task: manifest(1)})
        log.close()
    reader = Consumer({"bootstrap.servers": kafka, "group.id": unique("r"), "isolation.level": "read_committed"})
    reader.assign([RawPartition(state_topic(plan.name), 0, OFFSET_BEGINNING)])
    message = reader.poll(10)
    assert message is not None
    assert (message.key(), message.value()) == (task.encode(), manifest(1))
    reader.close()
