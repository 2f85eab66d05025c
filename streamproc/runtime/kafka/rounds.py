"""The loop of the driver: a round reads what is there, hands it to the worker, and makes a checkpoint if one is due."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import structlog

from streamproc.errors import Fenced, LogError
from streamproc.operators.batch import Records
from streamproc.plan.model import Plan
from streamproc.position import offset_of
from streamproc.runtime.kafka.admin import Admin
from streamproc.runtime.kafka.consumer import GroupConsumer, MemberFenced, Slice
from streamproc.runtime.kafka.meter import Meter
from streamproc.runtime.kafka.strikes import Strikes
from streamproc.runtime.log import TopicPartition
from streamproc.runtime.progress import Progress
from streamproc.runtime.worker import Worker

ROUND_S = 0.05
FENCED_MAX = 5
FENCED_WITHIN_S = 300.0
"""How often within that time, and with no checkpoint between, tasks are asked for again after they were fenced."""
FENCED_PAUSE_S = 0.5
REJOINS_MAX = 3
REJOINS_WITHIN_S = 300.0
"""How often within that time the group is joined anew after it has fenced this member."""
PROGRESS_S = 0.5

_log = structlog.get_logger()


class Rounds:
    """Args:
    plan: what runs.
    worker: owns the tasks.
    reader: brings records, and says which partitions are ours.
    admin: of the cluster.
    topic_ids: by logical name, as of the start.
    """

    def __init__(
        self, plan: Plan, worker: Worker, reader: GroupConsumer, admin: Admin, topic_ids: Mapping[str, str]
    ) -> None:
        self._plan = plan
        self._worker = worker
        self._reader = reader
        self._admin = admin
        self._topic_ids = topic_ids
        self._waiting: set[TopicPartition] = set()
        self._generation = reader.generation
        self._meter = Meter()
        self._fenced = Strikes(FENCED_MAX, FENCED_WITHIN_S)
        self._rejoined = Strikes(REJOINS_MAX, REJOINS_WITHIN_S)
        self._assign_at = float("-inf")
        self._checkpoint_at = time.monotonic()
        self._closing = False

    @property
    def positions(self) -> dict[TopicPartition, int]:
        """Where each task stands, as an offset."""
        return {partition: offset_of(task.position) for partition, task in self._worker.tasks.items()}

    @property
    def settled(self) -> bool:
        """Whether the group has told what is ours, and all of it runs."""
        return self._generation > 0 and self._generation == self._reader.generation and not self._waiting

    def join(self) -> None:
        """Ask the group for partitions."""
        self._reader.subscribe(self._on_revoke, self._on_lost)

    def go(self) -> None:
        """One round.

        Raises:
            StreamprocError: the run has to stop.
            Stopped: asked to stop while the broker was away.
        """
        try:
            slices = self._reader.read(ROUND_S)
        except MemberFenced as fenced:
            self._rejoin(fenced)
            return
        if self._reader.outage:
            self._admin.reach()
            self._reader.outage = False
        if self._generation != self._reader.generation:
            self._generation = self._reader.generation
            self._waiting |= self._reader.owned - self._worker.tasks.keys()
            for partition, offset in self.positions.items():
                self._reader.start(partition, offset)
        self._take_waiting()
        for each in slices:
            self._process(each)
        if time.monotonic() - self._checkpoint_at >= self._worker.interval.total_seconds():
            self.checkpoint()

    def checkpoint(self) -> None:
        """Make everything processed so far durable.

        Raises:
            LogError: SP310 a topic was made anew since the start.
            StreamprocError: the run has to stop.
        """
        if not self._worker.dirty:
            return
        with self._dropping_fenced():
            self._check_topics()
            self._worker.checkpoint()
            self._fenced.clear()
            self._checkpoint_at = time.monotonic()
            self._meter.committed()

    def pass_over(self, ends: Mapping[TopicPartition, int]) -> None:
        """Let tasks stand at these offsets, before which there are no more records for them."""
        for partition, end in ends.items():
            self._process(Slice(partition, Records(*partition, (), (), (), ()), end))

    def tell(self, on_progress: Callable[[Progress], None], every_s: float = PROGRESS_S) -> None:
        """Tell how far it is, if that is due."""
        if self._meter.due(every_s):
            on_progress(
                Progress(
                    read=self._meter.read,
                    lag=self._reader.lag(self.positions),
                    freshness_s=self._meter.freshness_s,
                    tasks=len(self._worker.tasks),
                    accounts=self._worker.accounts(),
                )
            )

    def close(self) -> None:
        """Close the worker, without a checkpoint; what the group says from now on is not heard."""
        self._closing = True
        self._worker.close()

    def _rejoin(self, fenced: MemberFenced) -> None:
        """A broker that crashed may fence a member by mistake; another process of this identity does so each time."""
        if self._rejoined.add():
            raise LogError(
                "SP309",
                "another process runs with this worker's identity",
                detail=[str(fenced)],
                fix="give each machine a state directory of its own; never copy one",
            )
        _log.warning("the group took another member for this worker: joining anew", reason=str(fenced))
        self._worker.lost(list(self._worker.tasks))
        self._waiting.clear()
        self._reader.rejoin()

    def _process(self, read: Slice) -> None:
        if read.partition not in self._worker.tasks:
            return
        with self._dropping_fenced():
            self._worker.process(read.partition, read.records, read.end)
        task = self._worker.tasks.get(read.partition)
        if task is None:
            return
        if (stands := offset_of(task.position)) == read.end:  # also where only other tasks were fenced
            self._meter.processed(read.records)
        else:
            self._reader.start(read.partition, stands)

    def _take_waiting(self) -> None:
        self._waiting &= self._reader.owned
        if not self._waiting or time.monotonic() < self._assign_at:
            return
        with self._dropping_fenced():
            for partition, offset in self._worker.assign(sorted(self._waiting)).items():
                self._reader.start(partition, offset)
                self._waiting.discard(partition)

    def _on_revoke(self, partitions: set[TopicPartition]) -> None:
        """They are ours until this returns."""
        if self._closing:
            return
        try:
            self.checkpoint()
        finally:
            self._worker.revoke(partitions)

    def _on_lost(self, partitions: set[TopicPartition]) -> None:
        """They are another's already."""
        if not self._closing:
            _log.warning("partitions lost: the group took this worker for dead", partitions=len(partitions))
            self._worker.lost(partitions)

    @contextmanager
    def _dropping_fenced(self) -> Iterator[None]:
        """Drop the tasks that are another's, with their state, and ask for them again if they are still ours."""
        try:
            yield
        except Fenced as error:
            if self._fenced.add():
                raise
            fenced = {p for p in self._reader.owned if self._plan.task(*p) in error.tasks}
            _log.warning("fenced: tasks are dropped and asked for again", tasks=len(fenced), reason=str(error))
            self._worker.lost(fenced)
            self._reader.stop(fenced)
            self._waiting |= fenced
            self._assign_at = time.monotonic() + FENCED_PAUSE_S

    def _check_topics(self) -> None:
        topics = {partition.topic for partition in self._worker.tasks}
        for name, topic in self._admin.topics(topics).items():
            if topic.id != self._topic_ids[name]:
                raise LogError(
                    "SP310",
                    f'topic "{topic.name}" was made anew while it was read',
                    fix="`streamproc reset` shows what would be forgotten and read again, then asks",
                )
