"""`TopologyTest`: runs a topology in memory, for tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

import polars as pl

from streamproc.errors import StreamprocError
from streamproc.flow.duration import Duration
from streamproc.flow.nodes import ReadKafka
from streamproc.flow.topology import Topology
from streamproc.lake import Lake
from streamproc.plan import Plan, load_topology, plan
from streamproc.runtime import account
from streamproc.runtime.job import open_worker
from streamproc.runtime.log import Log, TopicPartition
from streamproc.runtime.memory.broker import MemoryBroker
from streamproc.runtime.memory.clock import START, VirtualClock
from streamproc.runtime.memory.driver import MemoryDriver
from streamproc.runtime.memory.errors import topic_missing
from streamproc.runtime.worker import Worker
from streamproc.sinks.delta import scan, verify
from streamproc.sinks.inline import InlineExecutor
from streamproc.state.memory import MemoryChunks
from streamproc.testing import messages as sent
from streamproc.testing.crash_point import CrashPoint, Died

SESSION: Duration = "36500d"
"""A test may move the clock as far as it likes: the group does not take that for a worker's death."""


class TopologyTest:
    """Runs a topology in memory, with real Delta tables in a temporary folder, on a clock that stands still.

    Everything between the broker and the tables is the code that runs in production: plan, operators, state,
    checkpoints, the Delta sink. A whole test:

    >>> import streamproc as sp
    >>> READING = {"device": pl.String, "at": pl.Datetime, "celsius": pl.Float64}
    >>> topology = sp.Topology("readings")
    >>> readings = (
    ...     topology.read_kafka("sensors", format=sp.Json(READING), partitioned_by="device")
    ...     .with_watermark("at", lateness="1m")
    ...     .expect("plausible", pl.col("celsius") < 60)
    ...     .deduplicate("device", "at", within="10m")
    ... )
    >>> readings.write_delta("silver/readings")
    >>> readings.group_by(sp.tumbling("1m"), "device").agg(n=sp.count()).write_delta("gold/minutes")

    Send rows as dicts (they become JSON), or bytes. The key, which decides the partition, is taken from the column that
    the topic is declared to be `partitioned_by`:

    >>> t = TopologyTest(topology)
    >>> t.send("sensors", {"device": "a", "at": "2026-01-01T00:00:10Z", "celsius": 20.5})
    >>> t.send("sensors", {"device": "a", "at": "2026-01-01T00:00:10Z", "celsius": 20.5})
    >>> t.send("sensors", [{"device": "a", "at": "2026-01-01T00:00:40Z", "celsius": 99.0}, b"not JSON"])

    Nothing happens until `run`, which processes everything and makes it durable. Then read the tables:

    >>> t.run()
    >>> t.table("silver/readings").select("device", "celsius").rows()
    [('a', 20.5)]
    >>> t.rejected().select("offset", "reason").sort("offset").rows()
    [(2, 'expectation'), (3, 'not_json')]

    Windows close by event time. So does this one, when a reading past its end and the lateness comes. Kafka timestamps
    are the clock's; event times may not be far beyond them, so move the clock first:

    >>> t.table("gold/minutes").height
    0
    >>> t.advance("5m")
    >>> t.send("sensors", {"device": "a", "at": "2026-01-01T00:03:00Z", "celsius": 20.7})
    >>> t.run()
    >>> t.table("gold/minutes").select("device", "n").rows()
    [('a', 1)]

    Die at any moment, start again, and nothing is lost or doubled. `step` processes without making anything durable:

    >>> t.send("sensors", {"device": "a", "at": "2026-01-01T00:03:10Z", "celsius": 20.8})
    >>> t.step()
    >>> t.crash()
    >>> t.restart()
    >>> t.run()
    >>> t.table("silver/readings")["celsius"].sort().to_list()
    [20.5, 20.7, 20.8]

    Every row is accounted for, and the Delta log proves that no position is missing or there twice:

    >>> t.accounts()["deduplicate"]
    {'in': 4, 'out': 3, 'duplicates': 1}
    >>> t.verify()
    >>> t.close()

    In pytest use it as a context manager: `with TopologyTest(topology) as t:`, or with the path of a topology file.

    Args:
        topology: what to test, or the path of the file that holds it.
        partitions: of each topic. Each has a watermark of its own: with one, rows come in the order they were sent in.
        batch_size: records that are processed together. The tables must be the same whatever it is.
        start: where the clock starts; a naive time is UTC.

    Raises:
        TopologyError: what `streamproc plan` would say.
    """

    def __init__(
        self,
        topology: Topology | str | Path,
        *,
        partitions: int = 1,
        batch_size: int = 10_000,
        start: datetime = START,
    ) -> None:
        loaded = topology if isinstance(topology, Topology) else load_topology(topology)
        self.plan: Plan = plan(loaded)
        self.clock = VirtualClock(start)
        self._keys = _partition_columns(loaded)
        self._batch_size = batch_size
        self._numbers = count(1)
        self._chunks: dict[tuple[str, str], bytes] = {}
        self.broker = MemoryBroker(self.clock, self._new_id)
        for stage in self.plan.stages:
            self.broker.create_topic(stage.topic, partitions)
        self._folder = TemporaryDirectory(prefix="streamproc-")
        self._lake = Lake(self._folder.name)
        self._crash_point: CrashPoint | None = None
        self._driver: MemoryDriver | None = None
        self._dead = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def send(
        self,
        topic: str,
        messages: sent.Messages,
        *,
        key: sent.Key | None = None,
        timestamp: datetime | None = None,
        partition: int | None = None,
    ) -> None:
        """Append messages to a topic, in order.

        Args:
            topic: its logical name.
            messages: a row (dict, sent as JSON), bytes, text or None (a tombstone); a list of these; or a frame.
            key: bytes for all of them, the name of a field, or a function of the message. By default the value of the
                column that the topic is declared to be `partitioned_by`, where the message is a row that has it.
            timestamp: Kafka timestamp of all of them; the clock's time by default. A naive time is UTC.
            partition: where to; by default the key decides, and messages without a key take turns.

        Raises:
            LogError: the topology does not read this topic.
            ValueError: a message does not have the field of the key, or there is no such partition.
        """
        if topic not in self._keys:
            raise topic_missing(topic, self._keys)
        rows = sent.as_list(messages)
        keys = sent.keys(rows, key, self._keys[topic])
        chosen = self.broker.topics[topic].choose(keys) if partition is None else [partition] * len(rows)
        if partition is not None and not 0 <= partition < len(self.broker.topics[topic].partitions):
            raise ValueError(f"there is no partition {partition}: TopologyTest(..., partitions=...) says how many")
        values = [sent.encode(row) for row in rows]
        at = self.clock.now() // 1000 if timestamp is None else sent.milliseconds(timestamp)
        for number in sorted(set(chosen)):
            mine = [i for i, where in enumerate(chosen) if where == number]
            self.broker.append(
                TopicPartition(topic, number),
                [values[i] for i in mine],
                [keys[i] for i in mine],
                [at] * len(mine),
            )

    def advance(self, duration: Duration) -> None:
        """Move the clock on, e.g. by "10m"."""
        self.clock.advance(duration)

    def run(self) -> None:
        """Process everything that was sent and make it durable.

        Raises:
            StreamprocError: what stops a run in production stops it here: a record (`on_fail="stop"`), a table that was
                altered. Afterwards `restart` tries again.
        """
        driver = self._running()
        with self._stopped_by_error():
            driver.run()

    def step(self) -> None:
        """Process one batch of each partition. A checkpoint is made only if the clock says that it is due.

        Raises:
            StreamprocError: as in `run`.
        """
        driver = self._running()
        with self._stopped_by_error():
            driver.step()

    def crash(self, *, in_checkpoint: bool = False) -> None:
        """Let the worker die. What it had not committed is lost, with all its local state.

        Args:
            in_checkpoint: let it die inside a checkpoint, at the worst moment: the tables have the rows, but the broker
                has neither the offsets nor the state that go with them.
        """
        driver = self._running()
        if in_checkpoint and self._crash_point:
            self._crash_point.armed = True
            with suppress(Died):
                driver.checkpoint()
        driver.crash()
        self._driver, self._dead = None, True

    def restart(self, *, batch_size: int | None = None) -> None:
        """Start a worker again after `crash` or an error; it goes on with the next `run` or `step`.

        Args:
            batch_size: from now on; as before by default.
        """
        if self._driver:
            self._driver.crash()
        self._driver, self._dead = None, False
        self._batch_size = batch_size or self._batch_size

    def table(self, name: str) -> pl.DataFrame:
        """What a Delta table holds, in no particular order: sort before you compare.

        Raises:
            ValueError: the topology has no such table.
            TableError: the table does not exist: nothing has run yet.
        """
        if name not in self.plan.tables:
            raise ValueError(f'no table "{name}"; the topology has {", ".join(self.plan.tables)}')
        return scan(self._lake.table_uri(name)).collect()

    def table_path(self, name: str) -> str:
        """Folder of a Delta table: to look at it, or to alter it behind the topology's back."""
        return self._lake.table_uri(name)

    def rejected(self) -> pl.DataFrame:
        """Rejected rows: topic, partition, offset, timestamp, key, value, step, reason, detail."""
        return self.table(self.plan.rejected)

    def late(self) -> pl.DataFrame:
        """Rows that came too late for a step; the same columns."""
        return self.table(self.plan.late)

    def accounts(self) -> Mapping[str, Mapping[str, int]]:
        """Input rows of each step by outcome, over all partitions since the very first start.

        "in" is how many went in, "out" how many rows came out; those that did not pass are "filtered", "duplicates",
        "late", "rejected", "dropped", or "held" in an open window. A worker that has just been started takes up what
        was made durable before, and processes nothing.

        Raises:
            StreamprocError: it can't be taken up, as in `run`.
        """
        driver = self._running()
        if not driver.assigned:
            with self._stopped_by_error():
                driver.assign()
        return account.total(driver.worker.accounts())

    def verify(self) -> None:
        """Prove from the Delta logs alone that every position of every partition was written once.

        Raises:
            AssertionError: it was not; says where.
            TableError: a table does not exist: nothing has run yet.
        """
        found = {name: verify(self._lake.table_uri(name)) for name in self.plan.tables}
        problems = [f"{name}: {problem.text}" for name, result in found.items() for problem in result.problems]
        if problems:
            raise AssertionError("\n".join(problems))

    def close(self) -> None:
        """Let go of everything and delete the tables."""
        if self._driver:
            self._driver.crash()
            self._driver = None
        self._folder.cleanup()

    def _running(self) -> MemoryDriver:
        if self._dead:
            raise RuntimeError("the worker has crashed or stopped: call restart() first")
        if self._driver is None:
            self._driver = MemoryDriver(
                self.plan, self.broker, self._worker, batch_size=self._batch_size, session=SESSION
            )
        return self._driver

    @contextmanager
    def _stopped_by_error(self) -> Iterator[None]:
        try:
            yield
        except StreamprocError:
            self._driver, self._dead = None, True
            raise

    def _worker(self, log: Log) -> Worker:
        self._crash_point = CrashPoint(log)
        chunks = MemoryChunks(self._chunks)
        return open_worker(
            self.plan, self._crash_point, self._lake, chunks, new_id=self._new_id, executor=InlineExecutor()
        )

    def _new_id(self) -> str:
        return f"{next(self._numbers):08}"


def _partition_columns(topology: Topology) -> dict[str, tuple[str, ...]]:
    """Topics that the topology reads, and the columns that each is declared to be partitioned by."""
    reads = [node for node in topology.nodes if isinstance(node, ReadKafka)]
    return {topic: node.partitioned_by or () for node in reads for topic in node.topics}
