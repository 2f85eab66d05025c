"""The worker: owns tasks, runs batches through them, and makes sinks, state and offsets durable together.

Sans-io: the broker is a `Log`, tables are `Sink`s, chunks a `ChunkStore`; a driver brings records and says when. A
checkpoint has one order (laws 4 and 5), from which every crash recovers:

1. every sink is durable to the position of each task, while changed state is written as chunks that nothing names yet;
2. one transaction of the broker carries offsets and manifests;
3. only then are chunks deleted that no manifest names any more.

A crash before 2 replays from the checkpoint before: tables are ahead, and what they hold is trimmed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta

from streamproc import position
from streamproc.errors import DataError, Fenced, TableError
from streamproc.operators.batch import Records
from streamproc.plan.model import Plan
from streamproc.runtime import account, opening
from streamproc.runtime.log import Facts, Log, TopicPartition
from streamproc.runtime.task import Outputs, Task, cut
from streamproc.sinks.base import Claim, Sink, TableState
from streamproc.state.chunks import ChunkStore
from streamproc.state.manifest import Manifest
from streamproc.state.task_state import TaskState

Skip = frozenset[tuple[str, int, int]]
"""Records, as (topic, partition, offset), that are rejected unread."""


COMMIT_S_MAX = 300.0
"""Longest that a checkpoint waits for a table; a sink's own limits are shorter."""


@dataclass
class _Opened:
    """A task on its way in."""

    task: Task
    first: bool
    changed: bool


class Worker:
    """Args:
    plan: what to run.
    log: the broker.
    sinks: one for every table of the plan.
    chunks: state of all tasks.
    new_id: makes unique ids; the only source of randomness.
    lake: identity of the lake, kept in every manifest.
    skip: records to reject unread.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        log: Log,
        sinks: Mapping[str, Sink],
        chunks: ChunkStore,
        new_id: Callable[[], str],
        lake: str,
        skip: Skip = frozenset(),
    ) -> None:
        self.plan = plan
        self.tasks: dict[TopicPartition, Task] = {}
        self._log = log
        self._sinks = sinks
        self._chunks = chunks
        self._new_id = new_id
        self._lake = lake
        self._skip = skip
        self._orphans: dict[str, frozenset[str]] = {}

    @property
    def interval(self) -> timedelta:
        """Time between checkpoints."""
        return min(stage.interval for stage in self.plan.stages)

    @property
    def dirty(self) -> bool:
        """Whether something was processed that no checkpoint holds yet."""
        return any(task.dirty for task in self.tasks.values())

    def accounts(self) -> dict[str, account.Counters]:
        """Cumulative counters of each task."""
        return {task.id: account.copy(task.counters) for task in self.tasks.values()}

    def assign(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Take over partitions: restore their tasks, commit checkpoint zero where it is due, claim their tables.

        Checkpoint zero puts on record what is not in the log: where a new task starts, changed code, records to skip.
        What a table would refuse is found out before.

        Returns:
            The offset to read each from.

        Raises:
            StreamprocError: see `runtime.opening`, `Sink.claim`, `ChunkStore.fetch`; none of them is taken over.
        """
        opened = {partition: self._open(partition) for partition in partitions}
        try:
            claims = self._claims(opened.values())
            for name, sink in self._sinks.items():
                sink.check(claims[name])
            if zero := {p: o.task for p, o in opened.items() if o.first or o.changed}:
                self._transact(zero)
            for name, sink in self._sinks.items():
                for id, state in sink.claim(claims[name]).items():
                    next(o.task for o in opened.values() if o.task.id == id).tables[name] = state
        except BaseException:
            for each in opened.values():
                self._release(each.task)
            raise
        self.tasks.update({partition: o.task for partition, o in opened.items()})
        return {partition: position.offset_of(o.task.position) for partition, o in opened.items()}

    def process(self, partition: TopicPartition, records: Records, end_offset: int) -> None:
        """Run records of an assigned partition; reading goes on at `end_offset`.

        Raises:
            DataError: a record stops the run: what is before it has been committed, nothing else.
            Fenced: those tasks belong to another now; to be dropped by `lost`. This task has processed the records.
            StreamprocError: what a sink met.
        """
        task = self.tasks[partition]
        try:
            self._write(task, task.process(records, position.before(end_offset)))
        except DataError as error:
            stop = self._stop(task, records, error)
            # A task that is lost here takes its rows with it: its next owner comes to the same record.
            with suppress(Fenced):
                self.checkpoint()
            raise stop from error.__cause__

    def checkpoint(self) -> None:
        """Make everything processed so far durable, see the module's text.

        Raises:
            Fenced: those tasks belong to another now; to be dropped by `lost`.
            StreamprocError: a sink, a chunk or the transaction failed; what was committed before holds.
        """
        if not self.tasks:
            return
        futures = {name: sink.commit() for name, sink in self._sinks.items()}
        try:
            manifests = {p: task.manifest() for p, task in self.tasks.items() if task.dirty}
        finally:
            tables = _settled(futures)
        for partition, manifest in manifests.items():
            task = self.tasks[partition]
            for table in task.sinks:
                if state := tables[table].get(task.id):
                    task.tables[table] = manifest.tables[table] = state
        self._log.transact(
            {p: position.offset_of(task.position) for p, task in self.tasks.items()},
            {manifest.task: manifest.encode() for manifest in manifests.values()},
        )
        for partition in manifests:
            self._settle(self.tasks[partition])

    def revoke(self, partitions: Iterable[TopicPartition]) -> None:
        """Give partitions up, after a checkpoint; what was processed since is forgotten."""
        for partition in partitions:
            if task := self.tasks.pop(partition, None):
                self._release(task)

    lost = revoke
    """Partitions that another owns already: the same, without a checkpoint before."""

    def close(self) -> None:
        """Let go of everything; what is not committed is forgotten. Local state stays for the next start."""
        for sink in self._sinks.values():
            sink.close()
        self._chunks.close()
        self.tasks.clear()

    def _open(self, partition: TopicPartition) -> _Opened:
        stage = self.plan.stage(partition.topic)
        id = self.plan.task(*partition)
        facts = self._log.facts(partition, id)
        known = Manifest.decode(facts.manifest) if facts.manifest is not None else None
        opening.check(known, facts, partition, stage, self._lake)
        manifest = known or self._first(partition, id, facts)
        skips = {offset for topic, number, offset in self._skip if (topic, number) == partition}
        skips = {offset for offset in skips if position.record(offset) >= manifest.position}
        changed = manifest.fingerprint != stage.fingerprint or not skips <= set(manifest.skips)
        manifest = replace(manifest, skips=tuple(sorted(skips | set(manifest.skips))))
        self._chunks.fetch(id, manifest.chunks())
        self._orphans[id] = self._chunks.list(id) - manifest.chunks()
        state = TaskState(id, self._chunks, self._new_id, manifest.steps)
        return _Opened(Task(self.plan, stage, partition, manifest, state), known is None, changed)

    def _first(self, partition: TopicPartition, id: str, facts: Facts) -> Manifest:
        """Where a task starts that never ran."""
        stage = self.plan.stage(partition.topic)
        later = opening.added_later(facts, partition)
        start = facts.first if later else self._log.start_offset(partition, stage.start)
        partitions = facts.partitions_before or facts.partitions
        return Manifest(id, position.before(start), facts.topic_id, stage.fingerprint, self._lake, partitions)

    def _claims(self, opened: Iterable[_Opened]) -> dict[str, list[Claim]]:
        """What is brought to each table."""
        return {
            name: [
                Claim(o.task.id, o.task.topic_id, o.task.position, o.task.tables.get(name), o.first, not o.changed)
                for o in opened
                if name in o.task.sinks
            ]
            for name in self._sinks
        }

    def _release(self, task: Task) -> None:
        for table in task.sinks:
            self._sinks[table].release(task.id)
        self._chunks.drop(task.id)
        self._orphans.pop(task.id, None)

    def _transact(self, tasks: Mapping[TopicPartition, Task]) -> None:
        self._log.transact(
            {p: position.offset_of(task.position) for p, task in tasks.items()},
            {task.id: task.manifest().encode() for task in tasks.values()},
        )

    def _write(self, task: Task, outputs: Outputs) -> None:
        """Offer rows to all sinks: a task that is told to be another's on the way must not cost this one its rows."""
        fenced = []
        for table in task.sinks:
            try:
                self._sinks[table].write(task.id, outputs.rows(table), task.position, task.counters)
            except Fenced as error:
                fenced.append(error)
        if fenced:
            raise _joined(fenced)

    def _stop(self, task: Task, records: Records, error: DataError) -> DataError:
        """Process what is before the record that stops the run; steps on other branches may move that further ahead."""
        while True:
            kept = cut(records, error.position)
            try:
                outputs = task.process(kept, position.before(position.offset_of(error.position)))
            except DataError as earlier:
                if earlier.position >= error.position:
                    raise
                error = earlier
                continue
            with suppress(Fenced):
                self._write(task, outputs)
            return _located(error, task.partition)

    def _settle(self, task: Task) -> None:
        task.dirty = False
        task.state.settle()
        # This commit proves that nobody else has owned the task since its files were listed: what nobody names by now
        # was left by a crash.
        if orphans := self._orphans.pop(task.id, None):
            self._chunks.delete(task.id, orphans)


def _settled(futures: Mapping[str, Future[Mapping[str, TableState]]]) -> dict[str, Mapping[str, TableState]]:
    """Wait for all commits, then raise what the first failed one met; tasks fenced in several tables are joined."""
    errors = [error for name, future in futures.items() if (error := _error(name, future))]
    fenced = [error for error in errors if isinstance(error, Fenced)]
    for error in errors:
        if error not in fenced:
            raise error
    if fenced:
        raise _joined(fenced)
    return {name: future.result() for name, future in futures.items()}


def _error(table: str, future: Future[Mapping[str, TableState]]) -> BaseException | None:
    try:
        return future.exception(COMMIT_S_MAX)
    except TimeoutError:
        return TableError(
            "SP508",
            f'table "{table}" is not taking rows: a commit has not ended for {COMMIT_S_MAX:g} s',
            fix="see whether the lake can be reached, then start again; nothing is lost",
        )


def _joined(fenced: Sequence[Fenced]) -> Fenced:
    """One error for all tasks that are another's."""
    first = fenced[0]
    tasks = frozenset().union(*(error.tasks for error in fenced))
    return Fenced(first.code, first.message, tasks=tasks, detail=first.detail, fix=first.fix)


def _located(error: DataError, partition: TopicPartition) -> DataError:
    """The error with the record it is about, its step, and the way past it."""
    record = f"{partition.topic}/{partition.partition} @ {position.offset_of(error.position)}"
    way_out = error.fix
    if error.skippable:
        place = f"{partition.topic}:{partition.partition}:{position.offset_of(error.position)}"
        past = f"get past this record with `streamproc run FILE --skip {place}`"
        way_out = f"{error.fix}; or {past}" if error.fix else f"mend the cause, or {past}"
    return DataError(
        error.code,
        error.message,
        position=error.position,
        skippable=error.skippable,
        step=error.step,
        detail=[f"{record}, step {error.step}" if error.step else record, *error.detail],
        fix=way_out,
        location=error.location,
    )
