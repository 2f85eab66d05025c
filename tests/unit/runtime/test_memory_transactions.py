"""Transactional producers: all or nothing, and the dead stay dead."""

from __future__ import annotations

from itertools import count

import pytest

from streamproc.runtime.log import TopicPartition
from streamproc.runtime.memory.broker import MemoryBroker
from streamproc.runtime.memory.clock import VirtualClock
from streamproc.runtime.memory.groups import Membership
from streamproc.runtime.memory.refusals import (
    InvalidTransactionState,
    ProducerFenced,
    StaleGeneration,
    UnknownMember,
)

P0 = TopicPartition("t", 0)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def broker(clock: VirtualClock) -> MemoryBroker:
    numbers = count()
    broker = MemoryBroker(clock, lambda: f"id-{next(numbers)}")
    broker.create_topic("t")
    return broker


@pytest.fixture
def member(broker: MemoryBroker) -> Membership:
    return broker.groups.poll(broker.groups.join("g", ["t"], session="1h")).membership


def test_records_and_offsets_take_effect_together(broker: MemoryBroker, member: Membership) -> None:
    producer = broker.transactions.init("p")
    broker.transactions.begin(producer)
    broker.append(P0, [b"x"], producer=producer)
    broker.transactions.send_offsets(producer, member, {P0: 7})
    assert (broker.groups.committed("g", P0), broker.settled("g", P0)) == (None, False)
    broker.transactions.commit(producer)
    assert (broker.groups.committed("g", P0), broker.settled("g", P0)) == (7, True)
    assert len(broker.read(P0, 0, 9)[0]) == 1


def test_abort_leaves_nothing(broker: MemoryBroker, member: Membership) -> None:
    producer = broker.transactions.init("p")
    broker.transactions.begin(producer)
    broker.append(P0, [b"x"], producer=producer)
    broker.transactions.send_offsets(producer, member, {P0: 7})
    broker.transactions.abort(producer)
    assert (broker.groups.committed("g", P0), broker.settled("g", P0)) == (None, True)
    assert len(broker.read(P0, 0, 9)[0]) == 0


def test_successor_aborts_the_corpse_and_fences_it(broker: MemoryBroker, member: Membership) -> None:
    dead = broker.transactions.init("p")
    broker.transactions.begin(dead)
    broker.append(P0, [b"x"], producer=dead)
    broker.transactions.send_offsets(dead, member, {P0: 7})
    alive = broker.transactions.init("p")
    assert (broker.settled("g", P0), broker.stable(P0)) == (True, broker.end(P0))
    for call in (broker.transactions.commit, broker.transactions.abort, broker.transactions.begin):
        with pytest.raises(ProducerFenced):
            call(dead)
    with pytest.raises(ProducerFenced):
        broker.append(P0, [b"y"], producer=dead)
    broker.transactions.begin(alive)
    broker.transactions.commit(alive)
    assert (broker.groups.committed("g", P0), len(broker.read(P0, 0, 9)[0])) == (None, 0)


def test_other_transactional_ids_do_not_fence_each_other(broker: MemoryBroker) -> None:
    one, two = broker.transactions.init("one"), broker.transactions.init("two")
    for producer in (one, two):
        broker.transactions.begin(producer)
    for producer in (one, two):
        broker.transactions.commit(producer)


def test_offsets_are_checked_against_member_and_generation_only(broker: MemoryBroker, member: Membership) -> None:
    producer = broker.transactions.init("p")
    broker.transactions.begin(producer)
    with pytest.raises(UnknownMember):
        broker.transactions.send_offsets(producer, Membership("g", "nobody", 1), {P0: 1})
    with pytest.raises(StaleGeneration):
        broker.transactions.send_offsets(producer, Membership("g", member.member, member.generation - 1), {P0: 1})
    not_owned = TopicPartition("t", 99)
    broker.transactions.send_offsets(producer, member, {not_owned: 1})
    broker.transactions.commit(producer)
    assert broker.groups.committed("g", not_owned) == 1, "as in Kafka: ownership is the client's own affair"


def test_member_that_expired_can_not_send_offsets(
    broker: MemoryBroker, clock: VirtualClock, member: Membership
) -> None:
    clock.advance("2h")
    producer = broker.transactions.init("p")
    broker.transactions.begin(producer)
    with pytest.raises(UnknownMember):
        broker.transactions.send_offsets(producer, member, {P0: 1})


def test_what_stays_open_too_long_is_aborted_and_its_producer_fenced(
    broker: MemoryBroker, clock: VirtualClock, member: Membership
) -> None:
    producer = broker.transactions.init("p", timeout="10s")
    broker.transactions.begin(producer)
    broker.append(P0, [b"x"], producer=producer)
    broker.transactions.send_offsets(producer, member, {P0: 7})
    clock.advance("9s")
    assert (broker.settled("g", P0), broker.stable(P0)) == (False, 0)
    clock.advance("2s")
    assert (broker.settled("g", P0), broker.stable(P0)) == (True, 2)
    with pytest.raises(ProducerFenced):
        broker.transactions.commit(producer)


def test_order_of_calls_is_checked(broker: MemoryBroker) -> None:
    producer = broker.transactions.init("p")
    for call in (broker.transactions.commit, broker.transactions.abort):
        with pytest.raises(InvalidTransactionState):
            call(producer)
    with pytest.raises(InvalidTransactionState):
        broker.append(P0, [b"x"], producer=producer)
    broker.transactions.begin(producer)
    with pytest.raises(InvalidTransactionState):
        broker.transactions.begin(producer)
