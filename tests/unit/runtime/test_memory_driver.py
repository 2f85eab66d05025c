"""Drivers on one broker: rebalances, crashes and zombies, with tables that remember how far each task has come."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc import position
from streamproc.errors import DataError, Fenced, LogError
from streamproc.operators.base import Result
from streamproc.operators.batch import Batch, Records
from streamproc.plan.model import FAILED_SCHEMA, Plan, Stage, Step, Table
from streamproc.runtime.log import Log, TopicPartition
from streamproc.runtime.memory.broker import MemoryBroker
from streamproc.runtime.memory.clock import VirtualClock
from streamproc.runtime.memory.driver import MemoryDriver
from streamproc.runtime.progress import Progress
from streamproc.runtime.worker import Worker
from streamproc.sinks.base import Claim, TableState
from streamproc.state.memory import MemoryChunks

COLUMNS = {"value": pl.Binary()}


class Values:
    """The records' values as rows; b"stop" stops the run."""

    def process(self, batch: Batch) -> Result:
        for value, at in zip(batch.source.values, batch.positions, strict=True):
            if value == b"stop":
                raise DataError("SP601", "told to", position=at)
        return Result(batch.with_rows(batch.rows.select(batch.source.value_series, position.COLUMN)))


@dataclass
class Store:
    """A table: rows, and v and owner of each task."""

    rows: list[bytes] = field(default_factory=list)
    v: dict[str, int] = field(default_factory=dict)
    epochs: dict[str, int] = field(default_factory=dict)


@dataclass
class StoreSink:
    """A sink of one process."""

    store: Store
    epochs: dict[str, int] = field(default_factory=dict)
    buffer: dict[str, tuple[list[pl.DataFrame], int]] = field(default_factory=dict)

    def check(self, claims: Iterable[Claim]) -> None:
        pass

    def claim(self, claims: Iterable[Claim]) -> Mapping[str, TableState]:
        for claim in claims:
            self.store.v.setdefault(claim.task, claim.start)
            self.epochs[claim.task] = self.store.epochs[claim.task] = self.store.epochs.get(claim.task, 0) + 1
        return {claim.task: self._state(claim.task) for claim in claims}

    def write(self, task: str, rows: pl.DataFrame | None, end: int, counters: Mapping[str, Any]) -> None:
        frames = self.buffer.get(task, ([], 0))[0]
        self.buffer[task] = ([*frames, rows] if rows is not None else frames, end)

    def commit(self) -> Future[Mapping[str, TableState]]:
        future: Future[Mapping[str, TableState]] = Future()
        fenced = [task for task in self.buffer if self.store.epochs[task] != self.epochs[task]]
        if fenced:
            future.set_exception(Fenced("SP702", "another owner", tasks=fenced))
            return future
        for task, (frames, end) in self.buffer.items():
            for frame in frames:
                self.store.rows += frame.filter(pl.col(position.COLUMN) >= self.store.v[task])["value"].to_list()
            self.store.v[task] = max(end, self.store.v[task])
        self.buffer = {}
        future.set_result({task: self._state(task) for task in self.epochs})
        return future

    def release(self, task: str) -> None:
        self.buffer.pop(task, None)
        self.epochs.pop(task, None)

    def close(self) -> None:
        self.buffer = {}

    def _state(self, task: str) -> TableState:
        return TableState("table", 0, self.store.v[task], self.epochs[task])


class World:
    """A broker, a topic, tables and state; drivers come and go."""

    def __init__(self, partitions: int = 4) -> None:
        steps = (Step("read", "raw", -1, COLUMNS, Values), Step("write", "write_delta", 0, COLUMNS, table="out"))
        stage = Stage("clicks", "clicks", steps, "earliest", "f", timedelta(seconds=1))
        side = {name: Table(name, FAILED_SCHEMA) for name in ("rejected", "late")}
        self.plan = Plan("job", (stage,), {"out": Table("out", COLUMNS), **side}, "rejected", "late")
        self.clock = VirtualClock()
        self.ids = count()
        self.broker = MemoryBroker(self.clock, self._id)
        self.broker.create_topic("clicks", partitions)
        self.stores = {name: Store() for name in self.plan.tables}
        self.chunks: dict[tuple[str, str], bytes] = {}
        self.sent: list[bytes] = []

    def _id(self) -> str:
        return f"id-{next(self.ids)}"

    def worker(self, log: Log) -> Worker:
        sinks = {name: StoreSink(store) for name, store in self.stores.items()}
        chunks = MemoryChunks(self.chunks)
        return Worker(self.plan, log=log, sinks=sinks, chunks=chunks, new_id=self._id, lake="lake")

    def driver(self, name: str = "a", batch_size: int = 3) -> MemoryDriver:
        return MemoryDriver(self.plan, self.broker, self.worker, name=name, batch_size=batch_size)

    def send(self, n: int) -> None:
        for _ in range(n):
            value = str(len(self.sent)).encode()
            self.broker.produce("clicks", value)
            self.sent.append(value)

    @property
    def rows(self) -> list[bytes]:
        return sorted(self.stores["out"].rows, key=int)


def owned(driver: MemoryDriver) -> list[int]:
    return [p.partition for p in driver.assigned]


def test_runs_to_the_end_and_says_how_far() -> None:
    world, seen = World(), list[Progress]()
    world.send(20)
    driver = world.driver()
    driver.run(on_progress=seen.append)
    assert world.rows == world.sent
    assert (seen[-1].read, seen[-1].lag, seen[-1].tasks, seen[-1].freshness_s) == (20, 0, 4, 0.0)
    assert seen[0].lag == 8
    assert sum(counts["source"]["in"] for counts in seen[-1].accounts.values()) == 20
    driver.run()
    assert world.rows == world.sent


def test_nothing_is_durable_before_it_is_due() -> None:
    world = World()
    world.send(8)
    driver = world.driver()
    assert driver.step()
    assert world.rows == []
    world.clock.advance("999ms")
    driver.step()
    assert world.rows == []
    world.clock.advance("1ms")
    assert not driver.step()
    assert world.rows == world.sent


def test_partitions_are_read_fairly() -> None:
    world = World(partitions=2)
    world.broker.append(TopicPartition("clicks", 0), [b"0"] * 100)
    world.broker.append(TopicPartition("clicks", 1), [b"1"] * 3)
    driver = world.driver(batch_size=5)
    driver.step()
    driver.checkpoint()
    assert sorted(world.stores["out"].rows) == [b"0"] * 5 + [b"1"] * 3


def test_run_ends_at_the_ends_it_saw_at_first() -> None:
    world = World()
    world.send(10)
    driver = world.driver()
    driver.run(on_progress=lambda _: world.send(4))
    assert len(world.sent) > 10
    assert set(world.sent[:10]) <= set(world.rows)


def test_run_until_stopped() -> None:
    world = World()
    driver = world.driver()

    def feed(progress: Progress) -> None:
        if progress.read >= 12:
            driver.stop()
        else:
            world.send(4)

    driver.run(until_caught_up=False, on_progress=feed)
    assert len(world.rows) >= 12


def test_crash_loses_only_what_was_not_committed() -> None:
    world = World()
    world.send(20)
    driver = world.driver()
    driver.step()
    driver.checkpoint()
    driver.step()
    before = world.rows
    driver.crash()
    with pytest.raises(RuntimeError, match="crashed"):
        driver.step()
    assert world.rows == before
    world.driver().run()
    assert world.rows == world.sent


def test_table_ahead_of_the_checkpoint_is_trimmed() -> None:
    world = World()
    world.send(20)
    driver = world.driver()
    driver.step()
    for future in [sink.commit() for sink in driver.worker._sinks.values()]:
        future.result()
    driver.crash()
    assert len(world.rows) == 12
    world.driver().run()
    assert world.rows == world.sent


def test_two_drivers_share_and_hand_over_cleanly() -> None:
    world = World()
    world.send(20)
    one = world.driver("a")
    one.step()
    two = world.driver("b")
    for _ in range(3):
        one.step()
        two.step()
    assert (owned(one), owned(two)) == ([0, 1], [2, 3])
    world.send(20)
    for _ in range(6):
        one.step()
        two.step()
    one.close()
    two.run()
    assert owned(two) == [0, 1, 2, 3]
    assert world.rows == world.sent


def test_dead_worker_is_replaced_when_its_session_ends() -> None:
    world = World()
    world.send(20)
    one, two = world.driver("a"), world.driver("b")
    for _ in range(3):
        one.step()
        two.step()
    one.crash()
    world.clock.advance("4s")
    two.step()
    assert len(owned(two)) == 2
    world.clock.advance("4s")
    two.run()
    assert owned(two) == [0, 1, 2, 3]
    assert world.rows == world.sent


def test_zombie_that_wakes_up_adds_nothing_and_joins_again() -> None:
    world = World()
    world.send(20)
    zombie = world.driver("a")
    zombie.step()
    world.clock.advance("1m")
    other = world.driver("b")
    other.run()
    assert world.rows == world.sent
    zombie.checkpoint()
    assert (world.rows, owned(zombie)) == (world.sent, [])
    for _ in range(4):
        zombie.step()
        other.step()
    assert sorted(owned(zombie) + owned(other)) == [0, 1, 2, 3]
    world.send(8)
    for _ in range(4):
        zombie.step()
        other.step()
    zombie.checkpoint()
    other.checkpoint()
    assert world.rows == world.sent


def test_zombie_lets_go_of_everything_before_it_joins_again() -> None:
    world = World()
    zombie = world.driver("a")
    zombie.step()
    world.clock.advance("1m")
    other = world.driver("b")
    other.step()
    zombie.step()
    assert (owned(zombie), owned(other)) == ([], [0, 1, 2, 3])
    assert zombie.progress().tasks == 0


def test_what_is_handed_over_is_committed_first() -> None:
    world = World()
    world.send(12)
    one = world.driver("a")
    one.step()
    world.driver("b").step()
    one.step()
    committed = [world.broker.groups.committed("job", TopicPartition("clicks", n)) for n in (2, 3)]
    assert (owned(one), committed) == ([0, 1], [3, 3])


def test_two_of_one_name_do_not_fight() -> None:
    world = World()
    first = world.driver("a")
    first.step()
    second = world.driver("a")
    second.step()
    with pytest.raises(LogError, match='another process runs as "a"'):
        first.step()
    world.send(4)
    second.run()
    assert world.rows == world.sent


def test_open_transaction_of_a_dead_stranger_is_waited_for() -> None:
    world = World(partitions=1)
    world.send(3)
    partition = TopicPartition("clicks", 0)
    stranger = world.broker.groups.poll(world.broker.groups.join("job", [], session="1h")).membership
    producer = world.broker.transactions.init("stranger")
    world.broker.transactions.begin(producer)
    world.broker.transactions.send_offsets(producer, stranger, {partition: 3})
    driver = world.driver()
    driver.step()
    assert owned(driver) == []
    world.clock.advance("5s")
    driver.step()
    world.clock.advance("6s")
    driver.run()
    assert world.rows == world.sent


def test_run_that_can_not_end_says_why() -> None:
    world = World()
    world.send(8)
    holder = world.driver("a")
    holder.step()
    with pytest.raises(LogError, match="can't read clicks/0, clicks/1, clicks/2, clicks/3 to the end"):
        world.driver("b").run()


def test_tasks_that_are_fenced_for_ever_end_the_run() -> None:
    world = World(partitions=1)
    world.send(1)
    driver = world.driver()
    driver.step()
    for store in world.stores.values():
        store.epochs = _Usurped(store.epochs)
    with pytest.raises(Fenced):
        driver.run()


class _Usurped(dict[str, int]):
    """Somebody else always has a higher epoch."""

    def __getitem__(self, task: str) -> int:
        return super().__getitem__(task) + 1


@pytest.mark.parametrize("offered", [True, False])
def test_a_fenced_task_costs_the_others_no_record(monkeypatch: pytest.MonkeyPatch, offered: bool) -> None:
    """Fenced comes from a batch of another task, which has been processed then, or not."""
    world = World(partitions=2)
    world.send(40)
    driver = world.driver()
    driver.step()
    process, fences = driver.worker.process, [True, True]

    def fencing(partition: TopicPartition, records: Records, end: int) -> None:
        fence = fences.pop() if fences else False
        if offered or not fence:
            process(partition, records, end)
        if fence:
            raise Fenced("SP702", "another owner", tasks={world.plan.task("clicks", 1 - partition.partition)})

    monkeypatch.setattr(driver.worker, "process", fencing)
    driver.run()
    assert world.rows == world.sent
    assert driver.progress().read >= 40


def test_record_that_stops_the_run() -> None:
    world = World(partitions=1)
    world.send(2)
    world.broker.produce("clicks", b"stop")
    with pytest.raises(DataError, match="told to"):
        world.driver().run()
    assert world.rows == world.sent
    with pytest.raises(DataError, match="told to"):
        world.driver().run()
    assert world.rows == world.sent


def test_topic_made_anew_retention_and_deletion_stop_the_run() -> None:
    world = World(partitions=1)
    world.send(4)
    driver = world.driver(batch_size=1)
    driver.step()
    world.broker.delete_records(TopicPartition("clicks", 0), 3)
    with pytest.raises(LogError, match="2 unread records are gone"):
        driver.step()
    world = World(partitions=1)
    world.send(4)
    driver = world.driver(batch_size=1)
    driver.step()
    world.broker.delete_topic("clicks")
    world.broker.create_topic("clicks")
    with pytest.raises(LogError, match="made anew"):
        driver.run()


def test_added_partitions_are_read() -> None:
    world = World(partitions=1)
    driver = world.driver()
    driver.run()
    world.broker.grow_topic("clicks", 3)
    world.send(9)
    driver.run()
    assert (owned(driver), world.rows) == ([0, 1, 2], world.sent)


def test_holes_at_the_end_are_passed() -> None:
    world = World(partitions=1)
    world.send(2)
    partition = TopicPartition("clicks", 0)
    producer = world.broker.transactions.init("p")
    world.broker.transactions.begin(producer)
    world.broker.append(partition, [b"9"], producer=producer)
    world.broker.transactions.abort(producer)
    driver = world.driver()
    driver.run()
    assert (world.broker.groups.committed("job", partition), world.rows) == (4, world.sent)
    assert driver.progress().lag == 0


ACTION = st.tuples(st.sampled_from("sssscxtt+"), st.sampled_from("abc"))


@settings(max_examples=60, deadline=None)
@given(st.lists(ACTION, max_size=60))
def test_exact_whatever_happens_in_whatever_order(actions: list[tuple[str, str]]) -> None:
    """Steps, checkpoints, crashes, sleeping workers and new ones; the same story twice gives the same trace."""
    assert _live(actions) == _live(actions)


def _live(actions: list[tuple[str, str]]) -> list[object]:
    world, drivers, trace = World(), dict[str, MemoryDriver](), list[object]()
    for action, name in actions:
        driver = drivers.get(name) or drivers.setdefault(name, world.driver(name))
        match action:
            case "s":
                driver.step()
            case "c":
                driver.checkpoint()
            case "x":
                drivers.pop(name).crash()
            case "t":
                world.clock.advance("2s")
            case "+":
                world.send(7)
        trace.append((action, name, owned(drivers[name]) if name in drivers else [], len(world.rows)))
    for driver in drivers.values():
        driver.crash()
    world.clock.advance("1m")
    world.driver("last").run()
    assert world.rows == world.sent
    return trace
