"""The driver on a real broker, with a worker that only notes what it is given."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient

from streamproc.errors import Fenced, LogError
from streamproc.runtime.log import TopicPartition

from .broker import Broker, create_topic, produce_json, unique
from .fakes import FakeWorker, Ledger, Running, plan_of


def wait_for(condition: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not come to pass"
        time.sleep(0.02)


def test_reads_to_the_end_and_goes_on_from_there(kafka: str, tmp_path: Path) -> None:
    topic, plan = create_topic(kafka, partitions=2), None
    plan = plan_of(unique("job"), topic)
    produce_json(kafka, topic, range(100), partition=0)
    ledger = Ledger()
    first = Running(plan, kafka, tmp_path, ledger=ledger, until_caught_up=True)
    worker = first.join()
    assert ledger.offsets(TopicPartition(topic, 0)) == list(range(100))
    assert worker.calls[-1] == "close"
    assert first.progress[-1].read == 100
    assert first.progress[-1].lag == 0
    assert first.progress[-1].freshness_s is not None

    produce_json(kafka, topic, range(5), partition=1)
    began = time.monotonic()
    Running(plan, kafka, tmp_path, ledger=ledger, until_caught_up=True).join()
    assert time.monotonic() - began < 5
    assert len(ledger.committed) == 105


def test_an_empty_topic_is_caught_up_with_at_once(kafka: str, tmp_path: Path) -> None:
    topic = create_topic(kafka, partitions=2)
    worker = Running(plan_of(unique("job"), topic), kafka, tmp_path, until_caught_up=True).join(15)
    assert worker.calls == ["assign", "close"]


def test_ends_of_transactions_leave_holes(kafka: str, tmp_path: Path) -> None:
    topic = create_topic(kafka)
    produce_json(kafka, topic, [1, 2], transactional_id=unique("p"))
    produce_json(kafka, topic, [3, 4], transactional_id=unique("p"), abort=True)
    produce_json(kafka, topic, [5], transactional_id=unique("p"))
    produce_json(kafka, topic, [6], transactional_id=unique("p"), abort=True)
    ledger = Ledger()
    plan = plan_of(unique("job"), topic)
    Running(plan, kafka, tmp_path, ledger=ledger, until_caught_up=True).join()
    assert [value for *_, value in ledger.committed] == [b"1", b"2", b"5"]
    Running(plan, kafka, tmp_path, ledger=ledger, until_caught_up=True).join()
    assert len(ledger.committed) == 3


def test_keys_timestamps_and_headers_arrive(kafka: str, tmp_path: Path) -> None:
    topic = create_topic(kafka)
    producer = Producer({"bootstrap.servers": kafka})
    producer.produce(topic, b"v", b"k", partition=0, timestamp=1_700_000_000_123, headers=[("a", b"\x00"), ("b", None)])
    producer.produce(topic, None, None, partition=0, timestamp=1_700_000_000_456)
    producer.flush(10)
    plan = plan_of(unique("job"), "logical", hidden=("_headers",))
    worker = Running(plan, kafka, tmp_path, until_caught_up=True, topics={"logical": topic}).join()
    records = next(each for each in worker.seen if len(each))
    assert (records.topic, records.partition) == ("logical", 0)
    assert records.keys == [b"k", None]
    assert records.values == [b"v", None]
    assert records.timestamps == [1_700_000_000_123, 1_700_000_000_456]
    assert records.headers == [[("a", b"\x00"), ("b", None)], None]


def test_a_missing_topic_is_named_with_the_nearest(kafka: str, tmp_path: Path) -> None:
    topic = create_topic(kafka, unique("sensor-data"))
    with pytest.raises(LogError, match=f'topic "{topic}x" does not exist') as caught:
        Running(plan_of(unique("job"), f"{topic}x"), kafka, tmp_path).join(10)
    assert topic in str(caught.value)


def test_a_missing_topic_is_waited_for(kafka: str, tmp_path: Path) -> None:
    topic = unique("later")
    running = Running(plan_of(unique("job"), topic), kafka, tmp_path, until_caught_up=True, wait=True)
    time.sleep(0.5)
    create_topic(kafka, topic)
    assert running.join().calls == ["assign", "close"]


def test_a_topic_made_anew_stops_the_run(kafka: str, tmp_path: Path) -> None:
    topic = create_topic(kafka)
    ledger = Ledger()
    running = Running(plan_of(unique("job"), topic), kafka, tmp_path, ledger=ledger)
    produce_json(kafka, topic, range(3))
    wait_for(lambda: len(ledger.committed) == 3)
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.delete_topics([topic])[topic].result(10)
    create_topic(kafka, topic)
    produce_json(kafka, topic, range(10))
    with pytest.raises(LogError, match=r"SP301|SP310|SP312"):
        running.join()
    assert len(ledger.committed) == 3


def test_members_join_and_leave(kafka: str, tmp_path: Path) -> None:
    """Every record is committed once, whoever owned its partition; who joins gets a share, who leaves gives it up."""
    topic = create_topic(kafka, partitions=4)
    plan, ledger = plan_of(unique("job"), topic), Ledger()

    def produce(count: int) -> None:
        for partition in range(4):
            produce_json(kafka, topic, range(count), partition=partition)

    first = Running(plan, kafka, tmp_path, name="first", ledger=ledger)
    produce(1000)
    wait_for(lambda: ledger.committed)
    second = Running(plan, kafka, tmp_path, name="second", ledger=ledger)
    wait_for(lambda: second.worker and len(second.worker.tasks) == 2)
    assert first.worker
    wait_for(lambda: first.worker and len(first.worker.tasks) == 2)
    produce(1000)
    wait_for(lambda: len(ledger.committed) == 8000)
    assert "revoke" in first.worker.calls
    first.end()
    began = time.monotonic()
    produce(100)
    wait_for(lambda: len(ledger.committed) == 8400)
    assert time.monotonic() - began < 5, "a member that leaves in order is not waited for"
    second.end()
    assert ledger.workers() == {"first", "second"}
    for partition in range(4):
        assert sorted(ledger.offsets(TopicPartition(topic, partition))) == list(range(2100))


def test_the_broker_is_away_for_a_while(broker: Broker, tmp_path: Path) -> None:
    topic = create_topic(broker.address, partitions=2)
    plan, ledger = plan_of(unique("job"), topic), Ledger()
    running = Running(plan, broker.address, tmp_path, ledger=ledger)
    produce_json(broker.address, topic, range(1000))
    wait_for(lambda: len(ledger.committed) == 1000)
    broker.restart(away_s=2)
    produce_json(broker.address, topic, range(1000), partition=1)
    wait_for(lambda: len(ledger.committed) >= 2000)
    running.end()
    assert [ledger.offsets(TopicPartition(topic, p)) for p in (0, 1)] == [list(range(1000))] * 2


def test_a_drain_without_a_broker_ends_in_time(broker: Broker, tmp_path: Path) -> None:
    topic = create_topic(broker.address)
    ledger = Ledger()
    running = Running(plan_of(unique("job"), topic), broker.address, tmp_path, ledger=ledger, drain_s=5.0)
    produce_json(broker.address, topic, range(10))
    wait_for(lambda: len(ledger.committed) == 10)
    broker.kill()
    time.sleep(0.5)
    began = time.monotonic()
    running.end()
    assert time.monotonic() - began < 12


def test_checkpoint_and_leaving_share_the_time_of_a_drain(broker: Broker, tmp_path: Path) -> None:
    """The broker goes away in the last checkpoint."""
    topic = create_topic(broker.address)
    ledger = Ledger()
    running = Running(plan_of(unique("job"), topic), broker.address, tmp_path, ledger=ledger, drain_s=4.0)
    produce_json(broker.address, topic, range(10))
    wait_for(lambda: len(ledger.committed) == 10)
    worker = cast(FakeWorker, running.worker)
    worker.interval = timedelta(hours=1)
    time.sleep(0.2)
    produce_json(broker.address, topic, range(10))
    wait_for(lambda: worker.dirty)
    worker.trouble = broker.kill
    began = time.monotonic()
    with pytest.raises(LogError, match=r"SP302|SP307"):
        running.end()
    assert time.monotonic() - began < 7
    assert len(ledger.committed) == 10


def test_a_stop_ends_the_wait_for_a_broker(tmp_path: Path) -> None:
    running = Running(plan_of("job", "topic"), "127.0.0.1:1", tmp_path)
    time.sleep(0.5)
    running.stop.set()
    running.join(12)


def test_a_backlog_does_not_hold_up_other_partitions(kafka: str, tmp_path: Path) -> None:
    """While the worker is busy the queue fills with the backlog; what comes then is seen after a few batches of it."""
    topic = create_topic(kafka, partitions=2)
    produce_json(kafka, topic, ({"n": i, "text": "x" * 60} for i in range(200_000)), partition=0)
    go_on = threading.Event()

    def busy(worker: FakeWorker) -> None:
        worker.trouble = lambda: cast(None, go_on.wait(30))

    running = Running(plan_of(unique("job"), topic), kafka, tmp_path, prepare=busy)
    wait_for(lambda: running.worker and "checkpoint" in running.worker.calls)
    worker = cast(FakeWorker, running.worker)
    before = len(worker.seen)
    produce_json(kafka, topic, [1], partition=1)
    go_on.set()
    wait_for(lambda: any(each.partition == 1 for each in worker.seen))
    at = next(i for i, each in enumerate(worker.seen) if each.partition == 1)
    running.end()
    assert at - before <= 6
    assert sum(len(each) for each in worker.seen[:at]) < 200_000, "the backlog was too small to tell"


def test_fenced_tasks_are_dropped_and_taken_again(kafka: str, tmp_path: Path) -> None:
    topic = create_topic(kafka)
    plan, ledger = plan_of(unique("job"), topic), Ledger()
    task = plan.task(topic, 0)
    times = iter([1, 1])

    def fence(worker: FakeWorker) -> None:
        def trouble() -> None:
            if next(times, None):
                raise Fenced("SP701", "another owner", tasks={task})

        worker.trouble = trouble

    produce_json(kafka, topic, range(10))
    worker = Running(plan, kafka, tmp_path, ledger=ledger, prepare=fence, until_caught_up=True).join()
    assert worker.calls.count("lost") == 2
    assert ledger.offsets(TopicPartition(topic, 0)) == list(range(10))


def _intruder(kafka: str, group: str, instance: str, topic: str) -> Consumer:
    """Another process that runs with a worker's identity."""
    config = {"bootstrap.servers": kafka, "group.id": group, "group.instance.id": instance, "log_level": 0}
    consumer = Consumer({**config, "partition.assignment.strategy": "cooperative-sticky"})
    consumer.subscribe([topic])
    deadline = time.monotonic() + 20
    while not consumer.assignment() and time.monotonic() < deadline:
        consumer.poll(0.1)
    return consumer


def test_a_member_that_was_fenced_joins_anew_and_nothing_counts_twice(kafka: str, tmp_path: Path) -> None:
    topic = create_topic(kafka)
    plan, ledger = plan_of(unique("job"), topic), Ledger()
    running = Running(plan, kafka, tmp_path, ledger=ledger)
    produce_json(kafka, topic, range(10))
    wait_for(lambda: len(ledger.committed) == 10)
    _intruder(kafka, plan.name, running.slot.identity(plan.name), topic).close()
    produce_json(kafka, topic, range(10, 20))
    wait_for(lambda: len(ledger.committed) == 20)
    running.end()
    assert ledger.offsets(TopicPartition(topic, 0)) == list(range(20))


def test_two_processes_of_one_identity_don_t_fight_for_ever(kafka: str, tmp_path: Path) -> None:
    topic = create_topic(kafka)
    plan, ledger = plan_of(unique("job"), topic), Ledger()
    running = Running(plan, kafka, tmp_path, ledger=ledger)
    produce_json(kafka, topic, range(10))
    wait_for(lambda: len(ledger.committed) == 10)
    for _ in range(10):
        _intruder(kafka, plan.name, running.slot.identity(plan.name), topic).close()
        time.sleep(1)
        if not running.thread.is_alive():
            break
    with pytest.raises(LogError, match="another process runs with this worker's identity"):
        running.join()


def test_a_worker_that_is_always_fenced_gives_up(kafka: str, tmp_path: Path) -> None:
    topic = create_topic(kafka)
    plan = plan_of(unique("job"), topic)

    def fence(worker: FakeWorker) -> None:
        def trouble() -> None:
            raise Fenced("SP701", "another owner", tasks={plan.task(topic, 0)})

        worker.trouble = trouble

    produce_json(kafka, topic, range(10))
    with pytest.raises(Fenced):
        Running(plan, kafka, tmp_path, prepare=fence, until_caught_up=True).join()


def test_another_job_of_the_same_name_is_refused(kafka: str, tmp_path: Path) -> None:
    topic = create_topic(kafka)
    plan = plan_of(unique("job"), topic)
    Running(plan, kafka, tmp_path, lake="one", until_caught_up=True).join()
    with pytest.raises(LogError, match="SP308") as caught:
        Running(plan, kafka, tmp_path, lake="two", until_caught_up=True).join()
    assert json.dumps("one").strip('"') in str(caught.value)


def test_changed_code_waits_for_the_old_workers(kafka: str, tmp_path: Path) -> None:
    topic, name = create_topic(kafka), unique("job")
    old = Running(plan_of(name, topic), kafka, tmp_path)
    wait_for(lambda: old.worker and old.worker.tasks)
    changed = Running(plan_of(name, topic, fingerprint="g"), kafka, tmp_path, until_caught_up=True)
    time.sleep(1)
    assert not changed.worker
    old.end()
    changed.join()
