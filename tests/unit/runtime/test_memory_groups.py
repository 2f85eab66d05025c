"""Consumer groups: who has what, and who may commit."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.runtime.log import TopicPartition
from streamproc.runtime.memory.broker import MemoryBroker
from streamproc.runtime.memory.clock import VirtualClock
from streamproc.runtime.memory.groups import Membership, assign
from streamproc.runtime.memory.refusals import InstanceReplaced, StaleGeneration, UnknownMember

T = [TopicPartition("t", n) for n in range(6)]


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def broker(clock: VirtualClock) -> MemoryBroker:
    numbers = count()
    broker = MemoryBroker(clock, lambda: f"id-{next(numbers)}")
    broker.create_topic("t", 4)
    return broker


class Client:
    """What a client does: takes what it is told."""

    def __init__(self, broker: MemoryBroker, instance: str | None = None) -> None:
        self.broker = broker
        self.membership = broker.groups.join("g", ["t"], instance=instance)
        self.owned: set[TopicPartition] = set()

    def poll(self) -> Client:
        news = self.broker.groups.poll(self.membership)
        self.membership = news.membership
        self.owned = (self.owned - set(news.revoked)) | set(news.assigned)
        return self

    @property
    def numbers(self) -> list[int]:
        return sorted(p.partition for p in self.owned)


def test_one_member_gets_everything(broker: MemoryBroker) -> None:
    assert Client(broker).poll().numbers == [0, 1, 2, 3]


def test_nothing_is_handed_on_before_it_was_given_up(broker: MemoryBroker) -> None:
    one = Client(broker).poll()
    two = Client(broker)
    assert two.poll().numbers == []
    assert one.poll().numbers == [0, 1]
    assert two.poll().numbers == [], "the other has been told, but has not said that it is done"
    one.poll()
    assert (one.numbers, two.poll().numbers) == ([0, 1], [2, 3])


def test_generation_stays_valid_until_the_member_has_given_up_its_partitions(broker: MemoryBroker) -> None:
    one = Client(broker).poll()
    Client(broker)
    old = one.membership
    broker.groups.check(old)
    one.poll()
    broker.groups.check(old)
    one.poll()
    broker.groups.check(one.membership)
    with pytest.raises(StaleGeneration):
        broker.groups.check(old)


def test_member_that_does_not_poll_expires(broker: MemoryBroker, clock: VirtualClock) -> None:
    one, two = Client(broker), Client(broker)
    for _ in range(2):
        one.poll()
        two.poll()
    for _ in range(3):
        clock.advance("4s")
        two.poll()
    assert two.numbers == [0, 1, 2, 3]
    with pytest.raises(UnknownMember):
        one.poll()
    with pytest.raises(UnknownMember):
        broker.groups.check(one.membership)


def test_leaving_frees_partitions_at_once(broker: MemoryBroker) -> None:
    one, two = Client(broker).poll(), Client(broker)
    broker.groups.leave(one.membership)
    broker.groups.leave(one.membership)
    assert two.poll().numbers == [0, 1, 2, 3]


def test_same_instance_takes_over_at_once_and_nobody_else_notices(broker: MemoryBroker) -> None:
    one, two = Client(broker, "a"), Client(broker, "b")
    for _ in range(2):
        one.poll()
        two.poll()
    had = one.numbers
    again = Client(broker, "a")
    assert again.poll().numbers == had
    assert two.poll().numbers == sorted({0, 1, 2, 3} - set(had))
    with pytest.raises(InstanceReplaced):
        one.poll()


def test_added_partitions_are_assigned(broker: MemoryBroker) -> None:
    one = Client(broker).poll()
    broker.grow_topic("t", 6)
    assert one.poll().numbers == [0, 1, 2, 3, 4, 5]


def test_deleted_topic_is_revoked(broker: MemoryBroker) -> None:
    one = Client(broker).poll()
    broker.delete_topic("t")
    assert one.poll().numbers == []


def test_commits_are_kept_by_group_and_can_be_forgotten(broker: MemoryBroker) -> None:
    broker.groups.commit("g", {T[0]: 5, T[1]: 6})
    assert (broker.groups.committed("g", T[0]), broker.groups.committed("h", T[0])) == (5, None)
    broker.groups.forget("g", [T[0]])
    assert (broker.groups.committed("g", T[0]), broker.groups.committed("g", T[1])) == (None, 6)
    broker.groups.forget("g")
    assert broker.groups.committed("g", T[1]) is None


def test_stranger_is_refused(broker: MemoryBroker) -> None:
    with pytest.raises(UnknownMember):
        broker.groups.check(Membership("g", "nobody", 1))


@given(st.lists(st.integers(0, 5), max_size=12), st.integers(1, 6))
def test_assignment_is_even_and_moves_only_what_it_must(toggles: list[int], partitions: int) -> None:
    """Members come and go in any order."""
    members: dict[str, list[str]] = {}
    target: dict[str, list[TopicPartition]] = {}
    for toggle in toggles:
        name = f"m{toggle}"
        if members.pop(name, None) is None:
            members[name] = ["t"]
        before, target = target, assign(members, T[:partitions], target)
        sizes = [len(owned) for owned in target.values()]
        assert sorted(p for owned in target.values() for p in owned) == (T[:partitions] if members else [])
        assert not sizes or max(sizes) - min(sizes) <= 1
        kept = sum(len(set(before.get(m, ())) & set(owned)) for m, owned in target.items())
        possible = sum(min(len(before.get(m, ())), len(owned)) for m, owned in target.items())
        assert kept >= possible - 1


def test_members_get_only_topics_they_subscribe_to() -> None:
    parts = [TopicPartition("a", 0), TopicPartition("a", 1), TopicPartition("b", 0)]
    got = assign({"one": ["a"], "two": ["b"], "three": ["a", "b"]}, parts, {})
    assert all(p.topic == "a" for p in got["one"])
    assert got["two"] == [TopicPartition("b", 0)]
    assert sorted(p for owned in got.values() for p in owned) == parts
