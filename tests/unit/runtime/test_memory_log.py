"""The in-memory broker as a worker sees it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from streamproc.errors import Fenced, LogError
from streamproc.plan.model import Plan, Stage
from streamproc.runtime.log import Facts, TopicPartition
from streamproc.runtime.memory.broker import MemoryBroker
from streamproc.runtime.memory.clock import VirtualClock
from streamproc.runtime.memory.log import MemoryLog

P0, P1 = TopicPartition("clicks", 0), TopicPartition("clicks", 1)
PLAN = Plan("job", (Stage("clicks", "clicks", (), "earliest", "f", timedelta(seconds=1)),), {}, "r", "l")


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def broker(clock: VirtualClock) -> MemoryBroker:
    numbers = count()
    broker = MemoryBroker(clock, lambda: f"id-{next(numbers)}")
    broker.create_topic("clicks", 2)
    return broker


def join(broker: MemoryBroker, name: str = "a") -> MemoryLog:
    log = MemoryLog(PLAN, broker, f"job.{name}")
    log.open()
    log.joined(broker.groups.poll(broker.groups.join("job", ["clicks"], instance=name)).membership)
    return log


def test_facts_before_and_after_a_transaction(broker: MemoryBroker) -> None:
    log = join(broker)
    broker.append(P0, [b"x"] * 3)
    broker.delete_records(P0, 1)
    assert log.facts(P0, "job/clicks/0") == Facts("id-0", 2, None, 1, 3, None, None)
    log.transact({P0: 2, P1: 0}, {"job/clicks/0": b"m1"})
    log.transact({P0: 3, P1: 0}, {"job/clicks/0": b"m2"})
    assert log.facts(P0, "job/clicks/0") == Facts("id-0", 2, None, 1, 3, 3, b"m2")
    assert log.facts(P1, "job/clicks/1") == Facts("id-0", 2, None, 0, 0, 0, None)
    log.transact({P0: 3}, {"job/clicks/0": None})
    assert log.facts(P0, "job/clicks/0").manifest is None


def test_the_fewest_partitions_that_any_sibling_has_on_record(broker: MemoryBroker) -> None:
    log = join(broker)
    log.transact({P0: 1}, {"job/clicks/0": b'{"partitions": 3}', "job/clicks/1": b'{"partitions": 2}'})
    log.transact({P0: 2}, {"job/clicks/1": b'{"partitions": 4}', "job/clicks2/0": b'{"partitions": 1}', "job": b"{}"})
    broker.grow_topic("clicks", 5)
    facts = log.facts(TopicPartition("clicks", 4), "job/clicks/4")
    assert (facts.partitions, facts.partitions_before, facts.manifest) == (5, 3, None)
    log.transact({P0: 3}, {"job/clicks/0": None})
    assert log.facts(P1, "job/clicks/1").partitions_before == 4
    log.transact({P0: 4}, {"job/clicks/1": b"damaged"})
    assert log.facts(P1, "job/clicks/1").partitions_before is None


def test_missing_topic_is_named_with_the_nearest(broker: MemoryBroker) -> None:
    broker.delete_topic("clicks")
    broker.create_topic("click")
    with pytest.raises(LogError, match='topic "clicks" does not exist') as raised:
        MemoryLog(PLAN, broker, "a").open()
    assert raised.value.detail == ("nearest names: click",)


def test_missing_partition_is_named(broker: MemoryBroker) -> None:
    with pytest.raises(LogError, match='topic "clicks" has no partition 7'):
        join(broker).facts(TopicPartition("clicks", 7), "job/clicks/7")


def test_start_offsets(broker: MemoryBroker) -> None:
    log = join(broker)
    broker.append(P0, [b"x"] * 4, timestamps_ms=[1000, 2000, 3000, 4000])
    broker.delete_records(P0, 1)
    assert log.start_offset(P0, "earliest") == 1
    assert log.start_offset(P0, "latest") == 4
    assert log.start_offset(P0, datetime(1970, 1, 1, 0, 0, 2, 500_000, tzinfo=UTC)) == 2


def test_successor_of_the_same_name_fences(broker: MemoryBroker) -> None:
    zombie = join(broker)
    zombie.transact({P0: 1}, {"job/clicks/0": b"m1"})
    successor = join(broker)
    with pytest.raises(Fenced) as raised:
        zombie.transact({P0: 2, P1: 0}, {"job/clicks/0": b"m2"})
    assert raised.value.tasks == {"job/clicks/0", "job/clicks/1"}
    facts = successor.facts(P0, "job/clicks/0")
    assert (facts.committed, facts.manifest) == (1, b"m1")


def test_expired_member_is_fenced_and_leaves_nothing_open(broker: MemoryBroker, clock: VirtualClock) -> None:
    zombie = join(broker)
    clock.advance("1m")
    other = join(broker, "b")
    with pytest.raises(Fenced):
        zombie.transact({P0: 2}, {"job/clicks/0": b"m2"})
    facts = other.facts(P0, "job/clicks/0")
    assert (facts.committed, facts.manifest) == (None, None)


def test_facts_wait_for_open_transactions(broker: MemoryBroker, clock: VirtualClock) -> None:
    log = join(broker)
    producer = broker.transactions.init("half-dead")
    member = broker.groups.poll(broker.groups.join("job", ["clicks"], session="1h")).membership
    broker.transactions.begin(producer)
    broker.transactions.send_offsets(producer, member, {P0: 9})
    assert (log.settled(P0), log.settled(P1)) == (False, True)
    with pytest.raises(LogError, match="has not settled"):
        log.facts(P0, "job/clicks/0")
    clock.advance("11s")
    assert log.settled(P0)
    assert log.facts(P0, "job/clicks/0").committed is None


def test_open_manifest_is_not_settled(broker: MemoryBroker) -> None:
    log = join(broker)
    producer = broker.transactions.init("half-dead")
    broker.transactions.begin(producer)
    broker.append(TopicPartition("job.state", 0), [b"m"], [b"job/clicks/0"], producer=producer)
    assert not log.settled(P0)
    broker.transactions.commit(producer)
    assert log.facts(P0, "job/clicks/0").manifest == b"m"


def test_lost_state_topic_is_an_error_not_a_fence(broker: MemoryBroker) -> None:
    log = join(broker)
    broker.delete_topic("job.state")
    with pytest.raises(LogError, match=r"job\.state"):
        log.transact({P0: 1}, {"job/clicks/0": b"m"})
