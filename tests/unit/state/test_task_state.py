"""State of a task between checkpoints: segments, merging, restoring, collecting."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from streamproc.operators.base import Changes, ReadBucket, Result
from streamproc.operators.batch import Batch
from streamproc.plan.model import Step
from streamproc.state.manifest import Manifest
from streamproc.state.memory import MemoryChunks
from streamproc.state.task_state import FAN_IN, TaskState

STEP = Step("s", "keeper", -1, {}, signature="keeper", lineage="after nothing")


class Keeper:
    """An operator that hands out the changes it is told, and remembers what it was given back."""

    def __init__(self) -> None:
        self.state: Any = None
        self.next = Changes()
        self.values: Mapping[str, Any] = {}
        self.restored: dict[int, list[int]] = {}

    def process(self, batch: Batch) -> Result:
        return Result(batch)

    def changes(self) -> Changes:
        return self.next

    def restore(self, values: Mapping[str, Any], buckets: Sequence[int], read: ReadBucket) -> None:
        self.values = values
        self.restored = {b: pl.concat(read(b))["v"].to_list() for b in buckets}

    def merge(self, frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
        return pl.concat(frames)


def _state(store: MemoryChunks, manifest: Manifest | None = None, first_id: int = 0) -> TaskState:
    ids = (f"c{i}" for i in itertools.count(first_id))
    return TaskState("t", store, lambda: next(ids), manifest.steps if manifest else {})


def _manifest(state: TaskState) -> Manifest:
    return Manifest.decode(Manifest("t", 0, "id", "f", "lake", 4, steps=state.steps).encode())


checkpoints = st.lists(
    st.tuples(
        st.dictionaries(st.integers(-2, 2), st.lists(st.integers(-9, 9), max_size=20)), st.sets(st.integers(-2, 2))
    ),
    max_size=25,
)


@given(checkpoints, st.sets(st.integers(0, 24)))
def test_any_series_of_checkpoints_restores_to_what_was_kept(
    steps: list[tuple[dict[int, list[int]], set[int]]], restarts: set[int]
) -> None:
    store, operator = MemoryChunks(), Keeper()
    state, expected = _state(store), dict[int, list[int]]()
    for i, (appended, dropped) in enumerate(steps):
        frames = {b: pl.DataFrame({"v": rows}, schema={"v": pl.Int64}) for b, rows in appended.items()}
        operator.next = Changes({"i": i}, frames, frozenset(dropped))
        expected = {b: rows for b, rows in expected.items() if b not in dropped}
        for bucket, rows in appended.items():
            expected.setdefault(bucket, []).extend(rows)
        state.stage([(STEP, operator)])
        state.settle()
        if i in restarts:
            state = _state(store, _manifest(state), first_id=1000 * (i + 1))
    again = Keeper()
    _state(store, _manifest(state)).restore("s", again)
    assert again.restored == expected
    assert again.values == ({"i": len(steps) - 1} if steps else {})
    assert set(store.list("t")) == _manifest(state).chunks()


def test_segments_of_a_bucket_stay_few() -> None:
    store, operator = MemoryChunks(), Keeper()
    state = _state(store)
    for i in range(500):
        operator.next = Changes(appended={7: pl.DataFrame({"v": [i]})})
        state.stage([(STEP, operator)])
        state.settle()
    segments = state.steps["s"].buckets[7]
    assert sum(segment.rows for segment in segments) == 500
    assert len(segments) <= FAN_IN * 6
    assert pl.concat(state.read("s", 7))["v"].to_list() == list(range(500))


def test_chunks_go_only_once_the_manifest_is_committed() -> None:
    store, operator = MemoryChunks(), Keeper()
    state = _state(store)
    operator.next = Changes(appended={1: pl.DataFrame({"v": [1]})})
    state.stage([(STEP, operator)])
    state.settle()
    operator.next = Changes(dropped=frozenset({1}), appended={2: pl.DataFrame({"v": [2]})})
    state.stage([(STEP, operator)])
    assert store.list("t") == {"c0", "c1"}
    state.settle()
    assert store.list("t") == {"c1"}


def test_a_checkpoint_whose_transaction_failed_is_part_of_the_next() -> None:
    store, operator = MemoryChunks(), Keeper()
    state = _state(store)
    for v in (1, 2):
        operator.next = Changes(appended={1: pl.DataFrame({"v": [v]})})
        state.stage([(STEP, operator)])
    state.settle()
    again = Keeper()
    _state(store, _manifest(state)).restore("s", again)
    assert again.restored == {1: [1, 2]}


def test_a_checkpoint_without_changes_writes_no_chunk() -> None:
    store = MemoryChunks()
    _state(store).stage([(STEP, Keeper())])
    assert store.list("t") == frozenset()
