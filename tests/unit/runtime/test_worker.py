"""The worker alone, over a log, sinks and chunks that only write down what they are told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import count
from typing import Any

import polars as pl
import pytest

from streamproc import position
from streamproc.errors import DataError, Fenced, Location, LogError, StateError, TableError
from streamproc.operators.base import Changes, ReadBucket, Result
from streamproc.operators.batch import Batch, Records
from streamproc.plan.model import FAILED_SCHEMA, Plan, Stage, Start, Step, Table
from streamproc.runtime.log import Facts, TopicPartition
from streamproc.runtime.worker import Worker
from streamproc.sinks.base import Claim, TableState
from streamproc.state.manifest import Manifest
from streamproc.state.memory import MemoryChunks

LINE = Location("flow.py", 7, ".sum()")
P0, P1 = TopicPartition("clicks", 0), TopicPartition("clicks", 1)


class Sum:
    """Adds a running total of the values' lengths to each row; stops at an empty value, rejects b"bad"."""

    def __init__(self) -> None:
        self.state: Any = 0

    def process(self, batch: Batch) -> Result:
        values, at = batch.source.values, batch.positions.to_list()
        total, rows, bad = self.state, [], []
        for place, value in zip(at, values, strict=True):
            if value == b"":
                self.state = total + 1000
                raise DataError("SP601", "an empty value", position=place)
            if value == b"bad":
                bad.append((place, "bad", "it says so"))
                continue
            total += len(value or b"")
            rows.append((total, place))
        self.state = total
        frame = pl.DataFrame(rows, schema={"total": pl.Int64, position.COLUMN: pl.Int64}, orient="row")
        schema = {position.COLUMN: pl.Int64, "reason": pl.String, "detail": pl.String}
        rejected = pl.DataFrame(bad, schema=schema, orient="row") if bad else None
        return Result(batch.with_rows(frame), {"rejected": len(bad)}, rejected)

    def changes(self) -> Changes:
        return Changes({"total": self.state})

    def restore(self, values: Mapping[str, Any], buckets: Iterable[int], read: ReadBucket) -> None:
        self.state = values.get("total", 0)

    def merge(self, frames: Iterable[pl.DataFrame]) -> pl.DataFrame:
        return pl.concat(frames)


@dataclass
class FakeLog:
    """Keeps what was committed, as the broker would."""

    story: list[str]
    offsets: dict[TopicPartition, int] = field(default_factory=dict)
    manifests: dict[str, bytes | None] = field(default_factory=dict)
    error: Exception | None = None
    partitions: int = 2
    before: int | None = None

    def facts(self, partition: TopicPartition, task: str) -> Facts:
        return Facts(
            "id-1", self.partitions, self.before, 0, 100, self.offsets.get(partition), self.manifests.get(task)
        )

    def start_offset(self, partition: TopicPartition, start: Start) -> int:
        return 5

    def transact(self, offsets: Mapping[TopicPartition, int], manifests: Mapping[str, bytes | None]) -> None:
        if self.error:
            raise self.error
        self.story.append("transact " + " ".join(f"{p.partition}@{o}" for p, o in sorted(offsets.items())))
        self.offsets.update(offsets)
        self.manifests.update(manifests)


@dataclass
class FakeSink:
    """Keeps rows and v; commits at once or as told."""

    name: str
    story: list[str]
    v: dict[str, int] = field(default_factory=dict)
    buffer: list[tuple[str, pl.DataFrame]] = field(default_factory=list)
    durable: list[pl.DataFrame] = field(default_factory=list)
    ends: dict[str, int] = field(default_factory=dict)
    error: Exception | None = None
    claims: list[Claim] = field(default_factory=list)
    refuses: Exception | None = None
    fences: list[str] = field(default_factory=list)

    def check(self, claims: Iterable[Claim]) -> None:
        if self.refuses:
            raise self.refuses

    def claim(self, claims: Iterable[Claim]) -> Mapping[str, TableState]:
        self.claims += claims
        self.story.append(f"claim {self.name}")
        for claim in self.claims:
            self.v.setdefault(claim.task, claim.start)
        return {task: TableState("table", 0, v, 1) for task, v in self.v.items()}

    def write(self, task: str, rows: pl.DataFrame | None, end: int, counters: Mapping[str, Any]) -> None:
        self.ends[task] = end
        if rows is not None:
            self.buffer.append((task, rows))
        if self.fences:
            raise Fenced("SP701", "another owner", tasks=[self.fences.pop()])

    def commit(self) -> Future[Mapping[str, TableState]]:
        future: Future[Mapping[str, TableState]] = Future()
        if self.error:
            future.set_exception(self.error)
            return future
        if self.buffer:
            self.story.append(f"commit {self.name}")
            self.durable += [rows for _, rows in self.buffer]
            self.buffer = []
            self.v.update(self.ends)
        future.set_result({task: TableState("table", 1, v, 1) for task, v in self.v.items()})
        return future

    def release(self, task: str) -> None:
        self.story.append(f"release {self.name}")
        self.buffer = [(owner, rows) for owner, rows in self.buffer if owner != task]

    def close(self) -> None:
        pass


@dataclass
class World:
    """Everything that outlives a worker."""

    story: list[str] = field(default_factory=list)
    chunks: dict[tuple[str, str], bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.log = FakeLog(self.story)
        self.sinks = {name: FakeSink(name, self.story) for name in ("out", "rejected", "late")}
        self.ids = count()

    def worker(self, fingerprint: str = "f1", skip: frozenset[tuple[str, int, int]] = frozenset()) -> Worker:
        steps = (
            Step("sum", "sum", -1, {"total": pl.Int64()}, Sum, signature="sum", location=LINE),
            Step("write", "write_delta", 0, {"total": pl.Int64()}, table="out"),
        )
        stage = Stage("clicks", "clicks", steps, "earliest", fingerprint, timedelta(seconds=1))
        tables = {
            "out": Table("out", {"total": pl.Int64()}),
            "rejected": Table("rejected", FAILED_SCHEMA, role="rejected"),
            "late": Table("late", FAILED_SCHEMA, role="late"),
        }
        plan = Plan("job", (stage,), tables, "rejected", "late")
        return Worker(
            plan,
            log=self.log,
            sinks=self.sinks,
            chunks=MemoryChunks(self.chunks),
            new_id=lambda: f"c{next(self.ids)}",
            lake="lake",
            skip=skip,
        )

    def totals(self) -> list[int]:
        return [v for frame in self.sinks["out"].durable for v in frame["total"]]


def records(first: int, *values: bytes) -> Records:
    n = len(values)
    return Records("clicks", 0, range(first, first + n), [0] * n, [None] * n, values)


def test_a_first_start_commits_its_place_then_claims_then_reads() -> None:
    world = World()
    assert world.worker().assign([P0, P1]) == {P0: 5, P1: 5}
    assert world.story == ["transact 0@5 1@5", "claim out", "claim rejected", "claim late"]
    zero = Manifest.decode(world.log.manifests["job/clicks/0"] or b"")
    assert (zero.position, zero.topic_id, zero.fingerprint, zero.tables) == (position.before(5), "id-1", "f1", {})
    assert all(claim.first for claim in world.sinks["out"].claims)


def test_a_checkpoint_is_sinks_first_then_one_transaction_with_all_offsets() -> None:
    world = World()
    worker = world.worker()
    worker.assign([P0, P1])
    world.story.clear()
    worker.process(P0, records(5, b"aa", b"bad", b"b"), 8)
    assert worker.dirty
    assert world.story == []
    worker.checkpoint()
    assert world.story == ["commit out", "commit rejected", "transact 0@8 1@5"]
    assert not worker.dirty
    assert world.totals() == [2, 3]
    rejected = pl.concat(world.sinks["rejected"].durable).drop(position.COLUMN)
    assert rejected.schema == pl.Schema(FAILED_SCHEMA)
    assert rejected.row(0, named=True)["offset"] == 6
    assert rejected.row(0, named=True)["value"] == b"bad"
    counts = worker.accounts()["job/clicks/0"]
    assert counts["sum"] == {"in": 3, "out": 2, "rejected": 1}
    assert counts["write"] == {"in": 2, "out": 2}


def test_a_restart_goes_on_from_the_checkpoint_with_state_and_counters() -> None:
    world = World()
    worker = world.worker()
    worker.assign([P0])
    worker.process(P0, records(5, b"aa"), 6)
    worker.checkpoint()
    worker.process(P0, records(6, b"lost with the process"), 7)
    worker = world.worker()
    assert worker.assign([P0]) == {P0: 6}
    confirmed = world.sinks["out"].claims[-1].confirmed
    assert confirmed is not None
    assert confirmed.v == position.before(6)
    assert not world.sinks["out"].claims[-1].first
    world.sinks["out"].buffer = []
    worker.process(P0, records(6, b"b"), 7)
    worker.checkpoint()
    assert world.totals() == [2, 3]
    assert worker.accounts()["job/clicks/0"]["sum"]["in"] == 2


def test_a_stop_commits_what_is_before_the_record_and_nothing_else() -> None:
    world = World()
    worker = world.worker()
    worker.assign([P0])
    with pytest.raises(DataError) as caught:
        worker.process(P0, records(5, b"aa", b"", b"b"), 8)
    assert "streamproc run FILE --skip clicks:0:6" in caught.value.fix
    assert str(caught.value).splitlines()[1:3] == ["  flow.py:7   .sum()", "  clicks/0 @ 6, step sum"]
    assert world.totals() == [2]
    assert world.log.offsets == {P0: 6}
    worker = world.worker(skip=frozenset({("clicks", 0, 6)}))
    assert worker.assign([P0]) == {P0: 6}
    worker.process(P0, records(6, b"", b"b"), 8)
    worker.checkpoint()
    assert world.totals() == [2, 3]
    assert worker.accounts()["job/clicks/0"]["source"] == {"in": 3, "rejected": 1}


def test_a_sink_that_fails_leaves_offsets_where_they_are() -> None:
    world = World()
    worker = world.worker()
    worker.assign([P0])
    worker.process(P0, records(5, b"aa"), 6)
    world.sinks["late"].error = OSError("disk full")
    with pytest.raises(OSError, match="disk full"):
        worker.checkpoint()
    assert world.log.offsets == {P0: 5}


def test_fenced_in_several_tables_names_all_tasks_and_what_is_lost_leaves() -> None:
    world = World()
    worker = world.worker()
    worker.assign([P0, P1])
    worker.process(P0, records(5, b"aa"), 6)
    worker.process(P1, replace(records(5, b"b"), partition=1), 6)
    world.sinks["out"].error = Fenced("SP701", "x", tasks=["job/clicks/0"])
    world.sinks["late"].error = Fenced("SP701", "x", tasks=["job/clicks/1"])
    with pytest.raises(Fenced) as caught:
        worker.checkpoint()
    assert caught.value.tasks == {"job/clicks/0", "job/clicks/1"}
    worker.lost([P0])
    assert list(worker.tasks) == [P1]
    world.sinks["out"].error = world.sinks["late"].error = None
    worker.checkpoint()
    assert world.log.offsets == {P0: 5, P1: 6}


def test_a_transaction_that_failed_is_made_up_for_by_the_next_checkpoint() -> None:
    world = World()
    worker = world.worker()
    worker.assign([P0])
    worker.process(P0, records(5, b"aa"), 6)
    world.log.error = LogError("SP303", "timed out")
    with pytest.raises(LogError):
        worker.checkpoint()
    world.log.error = None
    worker.process(P0, records(6, b"b"), 7)
    worker.checkpoint()
    worker = world.worker()
    assert worker.assign([P0]) == {P0: 7}
    worker.process(P0, records(7, b"c"), 8)
    worker.checkpoint()
    assert world.totals() == [2, 3, 4]


def test_changed_code_is_put_on_record_once_no_table_objects() -> None:
    world = World()
    worker = world.worker()
    worker.assign([P0])
    world.story.clear()
    world.worker("f2").assign([P0])
    assert world.story == ["transact 0@5", "claim out", "claim rejected", "claim late"]
    assert not world.sinks["out"].claims[-1].same_code
    assert Manifest.decode(world.log.manifests["job/clicks/0"] or b"").fingerprint == "f2"


def test_state_without_its_chunk_is_refused_before_anything_is_claimed() -> None:
    world = World()
    world.worker().assign([P0])
    world.log.manifests["job/clicks/0"] = None
    world.story.clear()
    with pytest.raises(StateError, match="has a committed offset"):
        world.worker().assign([P0])
    assert world.story == []


def test_reading_on_without_records_moves_the_position_only() -> None:
    world = World()
    worker = world.worker()
    worker.assign([P0])
    worker.process(P0, records(5), 9)
    worker.checkpoint()
    assert world.log.offsets == {P0: 9}
    assert world.totals() == []


def test_a_table_that_objects_leaves_nothing_behind() -> None:
    """Else the next start would take the task for known, and its lost state for none."""
    world = World()
    world.sinks["late"].refuses = TableError("SP505", "knows a task that has no state")
    for _ in range(2):
        with pytest.raises(TableError):
            world.worker().assign([P0])
    assert world.log.manifests == {}
    assert not any(text.startswith(("claim", "transact")) for text in world.story)


def test_a_task_that_another_lost_costs_this_one_nothing() -> None:
    world = World()
    worker = world.worker()
    worker.assign([P0, P1])
    world.sinks["out"].fences = ["job/clicks/1"]
    with pytest.raises(Fenced) as caught:
        worker.process(P0, records(5, b"aa", b"bad"), 7)
    assert caught.value.tasks == {"job/clicks/1"}
    worker.lost([P1])
    worker.process(P0, records(7, b"b"), 8)
    worker.checkpoint()
    assert world.totals() == [2, 3]
    assert sum(frame.height for frame in world.sinks["rejected"].durable) == 1
    assert world.log.offsets == {P0: 8, P1: 5}


def test_a_stop_is_a_stop_also_when_tasks_are_lost_on_the_way() -> None:
    world = World()
    worker = world.worker()
    worker.assign([P0, P1])
    world.log.error = Fenced("SP701", "x", tasks=["job/clicks/1"])
    with pytest.raises(DataError):
        worker.process(P0, records(5, b"aa", b"", b"b"), 8)


@pytest.mark.parametrize(("first", "end"), [(4, 5), (5, 4), (6, 6)])
def test_records_that_do_not_follow_on_are_a_defect(first: int, end: int) -> None:
    worker = World().worker()
    worker.assign([P0])
    with pytest.raises(ValueError, match="stands at"):
        worker.process(P0, records(first, b"aa"), end)


def test_a_skip_takes_effect_at_a_checkpoint_and_holds_from_then_on() -> None:
    world = World()
    world.worker().assign([P0])
    world.story.clear()
    skip = frozenset({("clicks", 0, 6)})
    worker = world.worker(skip=skip)
    worker.assign([P0])
    assert world.story[0] == "transact 0@5"
    assert not world.sinks["out"].claims[-1].same_code
    worker = world.worker()
    worker.assign([P0])
    assert world.sinks["out"].claims[-1].same_code
    worker.process(P0, records(5, b"aa", b"", b"b"), 8)
    worker.checkpoint()
    assert world.totals() == [2, 3]
    assert Manifest.decode(world.log.manifests["job/clicks/0"] or b"").skips == ()


def test_a_partition_that_was_added_is_read_from_its_beginning() -> None:
    world = World()
    world.log.partitions, world.log.before = 2, 1
    worker = world.worker()
    assert worker.assign([P0, P1]) == {P0: 5, P1: 0}
    assert Manifest.decode(world.log.manifests["job/clicks/1"] or b"").partitions == 1


def test_what_a_table_said_is_forgotten_with_the_table() -> None:
    """Put back later it starts anew there: rows in between are not its."""
    world = World()
    worker = world.worker()
    worker.assign([P0])
    worker.process(P0, records(5, b"aa"), 6)
    worker.checkpoint()
    manifest = Manifest.decode(world.log.manifests["job/clicks/0"] or b"")
    gone = replace(manifest, tables={**manifest.tables, "gone": TableState("x", 1, 1, 1)})
    world.log.manifests["job/clicks/0"] = gone.encode()
    world.worker("f2").assign([P0])
    assert "gone" not in Manifest.decode(world.log.manifests["job/clicks/0"] or b"").tables
