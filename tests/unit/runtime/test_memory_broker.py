"""Topics, offsets and what of them is visible."""

from __future__ import annotations

from itertools import count

import pytest

from streamproc.runtime.log import TopicPartition
from streamproc.runtime.memory.broker import MemoryBroker
from streamproc.runtime.memory.clock import VirtualClock
from streamproc.runtime.memory.refusals import OffsetOutOfRange, TopicExists, UnknownTopic

P0 = TopicPartition("t", 0)


@pytest.fixture
def broker() -> MemoryBroker:
    numbers = count()
    broker = MemoryBroker(VirtualClock(), lambda: f"id-{next(numbers)}")
    broker.create_topic("t", 2)
    return broker


def read(broker: MemoryBroker, offset: int = 0, limit: int = 100) -> tuple[list[int], int]:
    records, after = broker.read(P0, offset, limit)
    return list(records.offsets), after


def test_records_keep_what_they_were_given(broker: MemoryBroker) -> None:
    broker.append(P0, [b"a", None], [b"k", None], [5, 6], [None, [("h", b"1")]])
    records, after = broker.read(P0, 0, 10)
    assert (records.values, records.keys, records.timestamps) == ([b"a", None], [b"k", None], [5, 6])
    assert (records.headers, after, records.topic, records.partition) == ([None, [("h", b"1")]], 2, "t", 0)


def test_timestamp_defaults_to_the_clock_in_milliseconds(broker: MemoryBroker) -> None:
    broker.produce("t", b"x", partition=0)
    assert broker.read(P0, 0, 1)[0].timestamps == [1_767_225_600_000]


def test_reads_go_on_where_they_ended(broker: MemoryBroker) -> None:
    broker.append(P0, [b"x"] * 5)
    assert read(broker, 0, 2) == ([0, 1], 2)
    assert read(broker, 2, 2) == ([2, 3], 4)
    assert read(broker, 4, 2) == ([4], 5)
    assert read(broker, 5, 2) == ([], 5)


def test_equal_keys_meet_in_one_partition_and_null_keys_take_turns(broker: MemoryBroker) -> None:
    assert len({broker.produce("t", b"x", key=b"same")[0] for _ in range(5)}) == 1
    assert [broker.produce("t", b"x")[0] for _ in range(4)] == [0, 1, 0, 1]


def test_a_topic_made_anew_is_another_topic(broker: MemoryBroker) -> None:
    before = broker.topics["t"].id
    broker.groups.commit("g", {P0: 3})
    broker.delete_topic("t")
    with pytest.raises(UnknownTopic):
        broker.read(P0, 0, 1)
    assert broker.groups.committed("g", P0) is None
    broker.create_topic("t")
    assert broker.topics["t"].id != before


def test_names_and_sizes_are_checked(broker: MemoryBroker) -> None:
    with pytest.raises(TopicExists):
        broker.create_topic("t")
    with pytest.raises(UnknownTopic):
        broker.append(TopicPartition("t", 2), [b"x"])
    with pytest.raises(ValueError, match="can't shrink from 2 to 2"):
        broker.grow_topic("t", 2)
    broker.grow_topic("t", 3)
    assert broker.append(TopicPartition("t", 2), [b"x"]) == 0


def test_retention_removes_the_oldest(broker: MemoryBroker) -> None:
    broker.append(P0, [b"x"] * 5)
    broker.delete_records(P0, 3)
    assert (broker.first(P0), broker.end(P0)) == (3, 5)
    assert read(broker, 3) == ([3, 4], 5)
    for offset in (2, 6):
        with pytest.raises(OffsetOutOfRange):
            read(broker, offset)


def test_offset_of_a_time(broker: MemoryBroker) -> None:
    broker.append(P0, [b"x"] * 3, timestamps_ms=[10, 20, 30])
    log = broker.topics.partition(P0)
    assert [log.offset_at(t) for t in (5, 20, 21, 31)] == [0, 1, 2, 3]


def test_transaction_leaves_a_hole_for_its_marker(broker: MemoryBroker) -> None:
    producer = broker.transactions.init("p")
    broker.transactions.begin(producer)
    broker.append(P0, [b"a", b"b"], producer=producer)
    assert read(broker) == ([], 0)
    broker.transactions.commit(producer)
    broker.append(P0, [b"c"])
    assert read(broker) == ([0, 1, 3], 4)
    assert read(broker, 0, 2) == ([0, 1], 3)


def test_aborted_records_are_never_seen_and_their_offsets_never_reused(broker: MemoryBroker) -> None:
    broker.append(P0, [b"a"])
    producer = broker.transactions.init("p")
    broker.transactions.begin(producer)
    broker.append(P0, [b"b", b"c"], producer=producer)
    broker.transactions.abort(producer)
    assert read(broker) == ([0], 4)
    assert read(broker, 2) == ([], 4)
    broker.append(P0, [b"d"])
    assert read(broker, 2) == ([4], 5)


def test_open_transaction_holds_back_what_follows_it(broker: MemoryBroker) -> None:
    one, two = broker.transactions.init("one"), broker.transactions.init("two")
    broker.append(P0, [b"a"])
    for producer in (one, two):
        broker.transactions.begin(producer)
        broker.append(P0, [producer.id.encode()], producer=producer)
    broker.append(P0, [b"z"])
    broker.transactions.commit(two)
    assert (broker.stable(P0), broker.end(P0)) == (1, 5)
    assert read(broker) == ([0], 1)
    broker.transactions.abort(one)
    assert (broker.stable(P0), read(broker)) == (6, ([0, 2, 3], 6))


def test_transaction_over_partitions_marks_only_those_it_touched(broker: MemoryBroker) -> None:
    producer = broker.transactions.init("p")
    broker.transactions.begin(producer)
    broker.append(P0, [b"a"], producer=producer)
    broker.transactions.commit(producer)
    assert (broker.end(P0), broker.end(TopicPartition("t", 1))) == (2, 0)


def test_compacted_topic_answers_with_the_newest_and_stays_small(broker: MemoryBroker) -> None:
    broker.create_topic("c", compacted=True)
    where = TopicPartition("c", 0)
    for n in range(5_000):
        broker.append(where, [str(n).encode()], [b"ab"[n % 2 : n % 2 + 1]])
    broker.append(where, [None], [b"b"])
    log = broker.topics.partition(where)
    assert (log.newest(b"a"), log.newest(b"b"), log.newest(b"c")) == (b"4998", None, None)
    records, after = broker.read(where, 0, 10_000)
    assert len(records) < 1_100
    assert (after, records.offsets[-1]) == (5_001, 5_000)


def test_compaction_leaves_open_transactions_alone(broker: MemoryBroker) -> None:
    broker.create_topic("c", compacted=True)
    where = TopicPartition("c", 0)
    broker.append(where, [b"1", b"2"], [b"k", b"k"])
    producer = broker.transactions.init("p")
    broker.transactions.begin(producer)
    broker.append(where, [b"3"], [b"k"], producer=producer)
    log = broker.topics.partition(where)
    log.compact()
    assert (log.newest(b"k"), broker.read(where, 0, 9)[0].offsets) == (b"2", [1])
    broker.transactions.commit(producer)
    assert log.newest(b"k") == b"3"


def test_same_calls_give_the_same_trace() -> None:
    def trace() -> list[object]:
        numbers = count()
        broker = MemoryBroker(VirtualClock(), lambda: f"id-{next(numbers)}")
        broker.create_topic("t", 3)
        out: list[object] = [broker.produce("t", b"x", key=k) for k in (b"a", None, b"c", None, b"b")]
        members = [broker.groups.join("g", ["t"]) for _ in range(3)]
        out += [broker.groups.poll(member) for member in members * 2]
        return out

    assert trace() == trace()
