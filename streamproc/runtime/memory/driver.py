"""Runs a worker on the in-memory broker, step by step: nothing happens between two calls, and time is the clock's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from streamproc.errors import Fenced, StreamprocError
from streamproc.flow.duration import Duration
from streamproc.plan.model import Plan
from streamproc.position import offset_of
from streamproc.runtime.log import Log, TopicPartition
from streamproc.runtime.memory.broker import MemoryBroker
from streamproc.runtime.memory.errors import remade, replaced, stuck, topic_missing, truncated
from streamproc.runtime.memory.groups import Membership
from streamproc.runtime.memory.log import MemoryLog
from streamproc.runtime.memory.refusals import InstanceReplaced, OffsetOutOfRange, UnknownMember, UnknownTopic
from streamproc.runtime.memory.round import Round
from streamproc.runtime.progress import Progress
from streamproc.runtime.worker import Worker

FENCED_MAX = 5
"""Times in a row that tasks are asked for again after they were fenced."""
IDLE_MAX = 10
"""Steps in a row without any progress after which a run that is not caught up gives up: nothing else moves here."""


class MemoryDriver:
    """One worker in the consumer group of its topology. Several drivers on one broker are stepped by turns.

    Args:
        plan: what to run.
        broker: where its topics are.
        worker: makes the worker over the log that it is given.
        name: of this process. A new driver of the same name takes the place of the old one at once, as a restarted
            process does; one with another name gets nothing before the old one's session has expired.
        batch_size: records read from a partition in one step.
        session: how long the group waits for this driver to poll before it counts as dead.

    Raises:
        LogError: a topic of the plan is missing.
    """

    def __init__(
        self,
        plan: Plan,
        broker: MemoryBroker,
        worker: Callable[[Log], Worker],
        *,
        name: str = "worker-0",
        batch_size: int = 10_000,
        session: Duration = "6s",
    ) -> None:
        self._plan = plan
        self._broker = broker
        self._name = name
        self._batch_size = batch_size
        self._session = session
        self._log = MemoryLog(plan, broker, f"{plan.name}.{name}")
        self._log.open()
        self._worker: Worker | None = worker(self._log)
        self._membership = self._join()
        self._waiting: set[TopicPartition] = set()
        self._fenced = 0
        self._read_total = 0
        self._round = Round()
        self._freshness_s: float | None = None
        self._stopping = False

    @property
    def worker(self) -> Worker:
        """The worker.

        Raises:
            RuntimeError: this driver has crashed or is closed.
        """
        if self._worker is None:
            raise RuntimeError(f"{self._name} has crashed or is closed: make a new driver")
        return self._worker

    @property
    def assigned(self) -> tuple[TopicPartition, ...]:
        """Partitions whose tasks run here."""
        return tuple(sorted(self.worker.tasks))

    @property
    def _offsets(self) -> dict[TopicPartition, int]:
        """Where reading goes on: at the tasks' own positions, also after some of them were fenced."""
        return {partition: offset_of(task.position) for partition, task in self.worker.tasks.items()}

    def step(self) -> bool:
        """Poll the group, read a batch of each partition, process them, make a checkpoint if one is due.

        Returns:
            Whether anything happened.

        Raises:
            StreamprocError: the worker stopped; what was committed stays, everything else is dropped and closed.
        """
        changed = self.assign()
        with self._closed_on_error():
            read = self._read()
            if self.worker.dirty and self._round.due(self._broker.clock.now(), self.worker.interval):
                self._checkpoint()
            return changed or read

    def assign(self) -> bool:
        """Poll the group and take up what is ours; reads no records. Says whether anything happened.

        Raises:
            StreamprocError: as in `step`.
        """
        with self._closed_on_error():
            changed = self._poll_group()
            return self._take_waiting() or changed

    def checkpoint(self) -> None:
        """Make everything processed so far durable now.

        Raises:
            StreamprocError: as in `step`.
        """
        with self._closed_on_error():
            self._checkpoint()

    def run(self, until_caught_up: bool = True, on_progress: Callable[[Progress], None] = lambda _: None) -> None:
        """Step until every partition has been read, and committed, to the end that it had at first; or until `stop`.

        Args:
            until_caught_up: False goes on until `stop` is called, by `on_progress` for example.
            on_progress: called after every step.

        Raises:
            StreamprocError: as in `step`; LogError also if others hold up what is missing, as no time passes here.
        """
        ends = {p: self._broker.stable(p) for p in self._partitions()}
        idle, done = 0, False
        while not done:
            idle = 0 if self.step() else idle + 1
            if until_caught_up and self._read_to(ends):
                self.checkpoint()
            done = self._stopping or (until_caught_up and not self._behind(ends))
            if until_caught_up and idle > IDLE_MAX and not done:
                with self._closed_on_error():
                    raise stuck(self._behind(ends))
            on_progress(self.progress())
        self._stopping = False
        self.checkpoint()
        on_progress(self.progress())

    def stop(self) -> None:
        """Let `run` end after this step, with a checkpoint."""
        self._stopping = True

    def progress(self) -> Progress:
        """How far this driver has come."""
        return Progress(
            read=self._read_total,
            lag=sum(self._broker.stable(p) - offset for p, offset in self._offsets.items()),
            freshness_s=self._freshness_s,
            tasks=len(self.worker.tasks),
            accounts=self.worker.accounts(),
        )

    def crash(self) -> None:
        """Die at once: nothing is committed, closed or said to the group."""
        self._worker = None

    def close(self) -> None:
        """Make a checkpoint, leave the group, close everything.

        Raises:
            StreamprocError: as in `step`.
        """
        if self._worker is not None:
            self.checkpoint()
            self._close()

    def _join(self) -> Membership:
        topics = [stage.topic for stage in self._plan.stages]
        return self._broker.groups.join(self._log.group, topics, instance=self._name, session=self._session)

    def _poll_group(self) -> bool:
        try:
            news = self._broker.groups.poll(self._membership)
        except InstanceReplaced as refusal:
            raise replaced(self._name) from refusal
        except UnknownMember:
            self.worker.lost(self.assigned)
            self._waiting.clear()
            self._membership = self._join()
            return True
        self._membership = news.membership
        self._log.joined(news.membership)
        if news.revoked:
            self._checkpoint()
            self.worker.revoke(news.revoked)
            self._waiting -= set(news.revoked)
        self._waiting |= set(news.assigned)
        return bool(news.revoked or news.assigned)

    def _take_waiting(self) -> bool:
        """Assign what is ours and can't be changed any more by a transaction that a dead process left open."""
        ready = sorted(p for p in self._waiting if self._log.settled(p))
        with self._dropping_fenced():
            if ready:
                self.worker.assign(ready)
                self._waiting -= set(ready)
        return bool(ready)

    def _read(self) -> bool:
        """A batch of each partition."""
        progressed = False
        for partition in self.assigned:
            if partition in self.worker.tasks:  # an earlier one may have fenced it
                progressed |= self._read_partition(partition)
        return progressed

    def _read_partition(self, partition: TopicPartition) -> bool:
        offset = self._offsets[partition]
        try:
            if self._broker.topics[partition.topic].id != self.worker.tasks[partition].topic_id:
                raise remade(partition)
            records, after = self._broker.read(partition, offset, self._batch_size)
        except UnknownTopic as refusal:
            raise topic_missing(partition.topic, self._broker.topics.names) from refusal
        except OffsetOutOfRange as refusal:
            raise truncated(partition, offset, self._broker.first(partition)) from refusal
        if after == offset:
            return False
        with self._dropping_fenced():
            self.worker.process(partition, records, after)
        if self._offsets.get(partition) == after:  # also where only other tasks were fenced
            self._read_total += len(records)
            self._round.add(records, self._broker.clock.now())
        return True

    def _checkpoint(self) -> None:
        with self._dropping_fenced():
            if self.worker.dirty:
                self.worker.checkpoint()
            self._fenced = 0
            if (freshness_s := self._round.freshness_s(self._broker.clock.now())) is not None:
                self._freshness_s = freshness_s
            self._round = Round()

    @contextmanager
    def _dropping_fenced(self) -> Iterator[None]:
        """Drop the tasks that are another's, with their state, and ask for them again."""
        try:
            yield
        except Fenced as error:
            self._fenced += 1
            if self._fenced > FENCED_MAX:
                raise
            ours = self.worker.tasks.keys() | self._waiting
            fenced = {p for p in ours if self._plan.task(*p) in error.tasks}
            self.worker.lost(fenced)
            self._waiting |= fenced

    @contextmanager
    def _closed_on_error(self) -> Iterator[None]:
        try:
            yield
        except StreamprocError:
            self._close()
            raise

    def _close(self) -> None:
        self.worker.close()
        self._worker = None
        self._broker.groups.leave(self._membership)

    def _partitions(self) -> list[TopicPartition]:
        return self._broker.topics.partitions([stage.topic for stage in self._plan.stages])

    def _committed(self, partition: TopicPartition) -> int:
        committed = self._broker.groups.committed(self._log.group, partition)
        return self._broker.first(partition) if committed is None else committed

    def _read_to(self, ends: Mapping[TopicPartition, int]) -> bool:
        """Whether all that is ours has been read to these ends, and something of it is not committed yet."""
        return self.worker.dirty and all(offset >= ends.get(p, 0) for p, offset in self._offsets.items())

    def _behind(self, ends: Mapping[TopicPartition, int]) -> list[TopicPartition]:
        """Partitions that the group has not committed up to these ends."""
        return [p for p, end in ends.items() if self._committed(p) < end]
