"""Consumer groups: members, generations, sticky assignment, sessions and committed offsets.

The protocol is the incremental one. A member hears of changes when it polls: first what to give up; its next poll says
that it has done so; only then may another have it. Each member has a generation of its own, which moves on when it has
given up what it had to. So a slow member never blocks the others, and a member that has not polled yet is not stale.

As in Kafka, an offset commit is checked against the member and its generation, never against the ownership of a
partition: that is left to the client.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from streamproc.flow.duration import Duration, microseconds
from streamproc.runtime.log import TopicPartition
from streamproc.runtime.memory.clock import Clock
from streamproc.runtime.memory.refusals import InstanceReplaced, StaleGeneration, UnknownMember

Partitions = tuple[TopicPartition, ...]


@dataclass(frozen=True, slots=True)
class Membership:
    """What a client knows of its place in a group."""

    group: str
    member: str
    generation: int = 0


@dataclass(frozen=True, slots=True)
class Rebalance:
    """What a poll told a member: what to give up before it polls again, or what is newly its own; never both."""

    membership: Membership
    revoked: Partitions = ()
    assigned: Partitions = ()


@dataclass
class _Member:
    id: str
    topics: tuple[str, ...]
    instance: str | None
    session: int
    expires: int
    generation: int = 0
    owned: set[TopicPartition] = field(default_factory=set)
    leaving: set[TopicPartition] = field(default_factory=set)


@dataclass
class _Group:
    members: dict[str, _Member] = field(default_factory=dict)
    generation: int = 0
    partitions: list[TopicPartition] = field(default_factory=list)
    target: dict[str, list[TopicPartition]] = field(default_factory=dict)
    offsets: dict[TopicPartition, int] = field(default_factory=dict)
    replaced: set[str] = field(default_factory=set)
    joined: int = 0


class Groups:
    """All groups.

    Args:
        clock: sessions expire by it.
        partitions: existing partitions of topics.
    """

    def __init__(self, clock: Clock, partitions: Callable[[Sequence[str]], list[TopicPartition]]) -> None:
        self._clock = clock
        self._partitions = partitions
        self._groups: dict[str, _Group] = {}

    def join(
        self, group: str, topics: Iterable[str], *, instance: str | None = None, session: Duration = "6s"
    ) -> Membership:
        """Become a member. One that names the instance of another takes its place, and what it had, at once."""
        state = self._group(group)
        state.joined += 1
        us = microseconds(session)
        member = _Member(f"{group}-{state.joined}", tuple(topics), instance, us, self._clock.now() + us)
        for other in [m for m in state.members.values() if instance is not None and m.instance == instance]:
            del state.members[other.id]
            state.replaced.add(other.id)
            state.target[member.id] = state.target.pop(other.id, [])
        state.members[member.id] = member
        self._balance(state)
        return Membership(group, member.id)

    def leave(self, membership: Membership) -> None:
        """Leave, if still a member."""
        state = self._group(membership.group)
        if state.members.pop(membership.member, None):
            self._balance(state)

    def poll(self, membership: Membership) -> Rebalance:
        """Heartbeat; says that what was revoked before has been given up, and learns what has changed.

        Raises:
            UnknownMember: expired, or replaced (`InstanceReplaced`). All that it owned is lost.
        """
        state = self._current(membership.group)
        member = self._member(state, membership)
        member.expires = self._clock.now() + member.session
        member.owned -= member.leaving
        target = set(state.target[member.id])
        member.leaving = member.owned - target
        if member.leaving:
            return Rebalance(self._known(membership, member), revoked=tuple(sorted(member.leaving)))
        member.generation = state.generation
        taken = set().union(*(m.owned for m in state.members.values()))
        assigned = target - taken
        member.owned |= assigned
        return Rebalance(self._known(membership, member), assigned=tuple(sorted(assigned)))

    def check(self, membership: Membership) -> None:
        """Check a commit's sender.

        Raises:
            UnknownMember: expired or replaced.
            StaleGeneration: it has moved on.
        """
        member = self._member(self._current(membership.group), membership)
        if member.generation != membership.generation:
            raise StaleGeneration(f"{member.id} is at generation {member.generation}, not {membership.generation}")

    def commit(self, group: str, offsets: Mapping[TopicPartition, int]) -> None:
        """Store committed offsets."""
        self._group(group).offsets.update(offsets)

    def committed(self, group: str, partition: TopicPartition) -> int | None:
        """The committed offset, None if there is none."""
        return self._group(group).offsets.get(partition)

    def forget(self, group: str, partitions: Iterable[TopicPartition] | None = None) -> None:
        """Drop committed offsets, all of the group's by default: what expiry and a reset do."""
        offsets = self._group(group).offsets
        for partition in list(offsets if partitions is None else partitions):
            offsets.pop(partition, None)

    def topic_deleted(self, topic: str) -> None:
        """Kafka drops the committed offsets of a deleted topic."""
        for name, group in self._groups.items():
            self.forget(name, [p for p in group.offsets if p.topic == topic])

    def _group(self, name: str) -> _Group:
        return self._groups.setdefault(name, _Group())

    def _current(self, name: str) -> _Group:
        """The group, without members whose session has ended, assigned over the partitions that exist now."""
        state, now = self._group(name), self._clock.now()
        expired = [member.id for member in state.members.values() if member.expires < now]
        for id in expired:
            del state.members[id]
        if expired or state.partitions != self._subscribed(state):
            self._balance(state)
        return state

    def _subscribed(self, state: _Group) -> list[TopicPartition]:
        return self._partitions(sorted({topic for m in state.members.values() for topic in m.topics}))

    def _balance(self, state: _Group) -> None:
        state.partitions = self._subscribed(state)
        state.target = assign({m.id: m.topics for m in state.members.values()}, state.partitions, state.target)
        state.generation += 1

    @staticmethod
    def _member(state: _Group, membership: Membership) -> _Member:
        if membership.member in state.replaced:
            raise InstanceReplaced(membership.member)
        if membership.member not in state.members:
            raise UnknownMember(membership.member)
        return state.members[membership.member]

    @staticmethod
    def _known(membership: Membership, member: _Member) -> Membership:
        return Membership(membership.group, member.id, member.generation)


def assign(
    members: Mapping[str, Sequence[str]],
    partitions: Sequence[TopicPartition],
    before: Mapping[str, Sequence[TopicPartition]],
) -> dict[str, list[TopicPartition]]:
    """Share partitions among members, in the order in which these joined: evenly, and moving as few as possible.

    Args:
        members: topics that each subscribes to.
        partitions: what there is to share.
        before: the assignment until now.

    >>> t = [TopicPartition("t", n) for n in range(4)]
    >>> {m: [p.partition for p in got] for m, got in assign({"a": ["t"], "b": ["t"]}, t, {"a": t}).items()}
    {'a': [0, 1], 'b': [2, 3]}
    """
    there = set(partitions)
    target = {id: [p for p in before.get(id, ()) if p in there and p.topic in topics] for id, topics in members.items()}
    placed = {p for owned in target.values() for p in owned}
    for partition in partitions:
        able = [id for id, topics in members.items() if partition.topic in topics]
        if partition not in placed and able:
            target[min(able, key=lambda member: len(target[member]))].append(partition)
    while move := _uneven(members, target):
        giver, taker, partition = move
        target[giver].remove(partition)
        target[taker].append(partition)
    return {id: sorted(owned) for id, owned in target.items()}


def _uneven(
    members: Mapping[str, Sequence[str]], target: Mapping[str, Sequence[TopicPartition]]
) -> tuple[str, str, TopicPartition] | None:
    """A move that makes the assignment more even: (from, to, which)."""
    fewest_first = sorted(target, key=lambda member: len(target[member]))
    for taker in fewest_first:
        for giver in reversed(fewest_first):
            if len(target[giver]) - len(target[taker]) < 2:
                break
            movable = [p for p in target[giver] if p.topic in members[taker]]
            if movable:
                return giver, taker, max(movable)
    return None
