"""A worker without operators and sinks, for tests of the driver: it notes what is committed, by whom."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

from streamproc import position
from streamproc.operators.batch import Records
from streamproc.plan.model import Plan, Stage, Start, Step
from streamproc.runtime.kafka.connection import KafkaSettings
from streamproc.runtime.kafka.driver import KafkaDriver
from streamproc.runtime.kafka.slots import take
from streamproc.runtime.log import Log, TopicPartition
from streamproc.runtime.progress import Progress


def plan_of(
    name: str, *topics: str, start: Start = "earliest", fingerprint: str = "f", hidden: tuple[str, ...] = ()
) -> Plan:
    """A plan that reads topics and does nothing."""
    stages = tuple(
        Stage(
            name=topic,
            topic=topic,
            steps=(Step("raw", "raw", -1, {}, hidden=hidden),),
            start=start,
            fingerprint=fingerprint,
            interval=timedelta(milliseconds=100),
        )
        for topic in topics
    )
    return Plan(name, stages, {}, "rejected", "late")


@dataclass
class FakeTask:
    id: str
    position: int
    records: list[tuple[int, bytes | None]] = field(default_factory=list)


class Ledger:
    """What all workers of a test committed, in order: (worker, partition, offset, value)."""

    def __init__(self) -> None:
        self.committed: list[tuple[str, TopicPartition, int, bytes | None]] = []
        self.lock = threading.Lock()

    def offsets(self, partition: TopicPartition) -> list[int]:
        return [offset for _, p, offset, _ in self.committed if p == partition]

    def workers(self) -> set[str]:
        return {worker for worker, *_ in self.committed}


class FakeWorker:
    """Keeps the seam of `Worker`. `trouble` may raise at a checkpoint; calls are noted by name."""

    interval = timedelta(milliseconds=100)

    def __init__(self, plan: Plan, log: Log, name: str = "a", ledger: Ledger | None = None) -> None:
        self.plan, self.log, self.name = plan, log, name
        self.ledger = ledger or Ledger()
        self.tasks: dict[TopicPartition, FakeTask] = {}
        self.dirty = False
        self.calls: list[str] = []
        self.seen: list[Records] = []
        self.trouble: Callable[[], None] = lambda: None

    def assign(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        self.calls.append("assign")
        opened, zero = {}, {}
        for partition in partitions:
            id = self.plan.task(*partition)
            facts = self.log.facts(partition, id)
            if facts.manifest is None:
                assert facts.committed is None
                start = self.log.start_offset(partition, self.plan.stage(partition.topic).start)
                opened[partition] = zero[partition] = FakeTask(id, position.before(start))
            else:
                at = json.loads(facts.manifest)["position"]
                assert position.offset_of(at) == facts.committed, f"{partition}: {at} and {facts.committed}"
                opened[partition] = FakeTask(id, at)
        if zero:
            self._transact(zero)
        self.tasks |= opened
        return {partition: position.offset_of(task.position) for partition, task in opened.items()}

    def process(self, partition: TopicPartition, records: Records, end_offset: int) -> None:
        task = self.tasks[partition]
        assert not len(records) or records.offsets[0] >= position.offset_of(task.position), "went back"
        assert end_offset >= position.offset_of(task.position), "went back"
        self.calls.append("process")
        self.seen.append(records)
        task.records += zip(records.offsets, records.values, strict=True)
        task.position = position.before(end_offset)
        self.dirty = True

    def checkpoint(self) -> None:
        self.calls.append("checkpoint")
        self.trouble()
        self._transact(self.tasks)
        with self.ledger.lock:
            for partition, task in self.tasks.items():
                self.ledger.committed += [(self.name, partition, *record) for record in task.records]
                task.records.clear()
        self.dirty = False

    def revoke(self, partitions: Iterable[TopicPartition]) -> None:
        self._drop("revoke", partitions)

    def lost(self, partitions: Iterable[TopicPartition]) -> None:
        self._drop("lost", partitions)

    def accounts(self) -> dict[str, dict[str, dict[str, int]]]:
        return {}

    def close(self) -> None:
        self.calls.append("close")
        self.tasks.clear()

    def _drop(self, call: str, partitions: Iterable[TopicPartition]) -> None:
        self.calls.append(call)
        for partition in partitions:
            self.tasks.pop(partition, None)

    def _transact(self, tasks: dict[TopicPartition, FakeTask]) -> None:
        self.log.transact(
            {p: position.offset_of(task.position) for p, task in tasks.items()},
            {task.id: json.dumps({"position": task.position}).encode() for task in tasks.values()},
        )


class Running:
    """A driver with a fake worker in a thread."""

    def __init__(
        self,
        plan: Plan,
        address: str,
        folder: Path,
        *,
        name: str = "a",
        ledger: Ledger | None = None,
        until_caught_up: bool = False,
        prepare: Callable[[FakeWorker], None] = lambda worker: None,
        lake: str = "lake",
        **options: Any,
    ) -> None:
        self.worker: FakeWorker | None = None
        self.error: BaseException | None = None
        self.progress: list[Progress] = []
        self.stop = threading.Event()
        self.slot = take(folder)

        def make(log: Log) -> Any:
            self.worker = FakeWorker(plan, log, name, ledger)
            prepare(self.worker)
            return self.worker

        settings = KafkaSettings(address, session_s=6.0, patience_s=40.0)
        driver = KafkaDriver(plan, settings, make, slot=self.slot, lake=lake, **options)

        def run() -> None:
            try:
                driver.run(until_caught_up, self.stop, self.progress.append)
            except BaseException as error:  # noqa: BLE001 - the test looks at it
                self.error = error
            finally:
                self.slot.close()

        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()

    def join(self, timeout: float = 40) -> FakeWorker:
        """Wait for its end; raises what it raised."""
        self.thread.join(timeout)
        assert not self.thread.is_alive(), "it does not end"
        if self.error:
            raise self.error
        return cast(FakeWorker, self.worker)

    def end(self) -> FakeWorker:
        """Stop it as a signal does."""
        self.stop.set()
        return self.join()
