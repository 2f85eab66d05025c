"""State of one task between checkpoints: which rows lie in which segment of which chunk.

A checkpoint writes all changed rows of a task as one chunk, one segment a bucket, so a frequent checkpoint costs what
changed. Segments of a bucket are merged like the levels of an LSM tree: a few of similar size become one.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence

import polars as pl

from streamproc.operators.base import Stateful
from streamproc.plan.model import Step
from streamproc.state.chunks import ChunkStore
from streamproc.state.manifest import Segment, StepState

FAN_IN = 4


class TaskState:
    """Args:
    task: its id.
    store: where its chunks are.
    new_id: makes unique chunk ids.
    steps: what the manifest says of each step; nothing for a new task.
    """

    def __init__(self, task: str, store: ChunkStore, new_id: Callable[[], str], steps: Mapping[str, StepState]) -> None:
        self._task = task
        self._store = store
        self._new_id = new_id
        self._settled = _chunks(steps)
        self._written: set[str] = set()
        self.steps = dict(steps)

    def restore(self, step: str, operator: Stateful) -> None:
        """Give an operator its state back; an empty one if the step has none."""
        known = self.steps.get(step, StepState(""))
        operator.restore(known.values, sorted(known.buckets), lambda bucket: self.read(step, bucket))

    def read(self, step: str, bucket: int) -> list[pl.DataFrame]:
        """All rows of a bucket, segment by segment; none for a bucket that has none."""
        known = self.steps.get(step)
        return [self._load(segment) for segment in known.buckets.get(bucket, ())] if known else []

    def stage(self, operators: Sequence[tuple[Step, Stateful]]) -> dict[str, StepState]:
        """Write what changed since the last call as one chunk, and say what a manifest is to hold.

        Args:
            operators: of all steps with state.

        Returns:
            State by step; its chunks survive this process. Steps that are not named are forgotten.
        """
        chunk = _Chunk(self._new_id())
        self.steps = {
            step.id: self._stage_step(chunk, self.steps.get(step.id), step, operator) for step, operator in operators
        }
        if chunk.segments:
            self._store.put(self._task, chunk.id, chunk.bytes())
            self._written.add(chunk.id)
        return self.steps

    def settle(self) -> None:
        """The manifest of the last `stage` is committed: delete chunks that it no longer names.

        Only now, and only those: before, a successor might still start from the manifest before.
        """
        current = _chunks(self.steps)
        self._store.delete(self._task, (self._settled | self._written) - current)
        self._settled, self._written = current, set()

    def _stage_step(self, chunk: _Chunk, known: StepState | None, step: Step, operator: Stateful) -> StepState:
        changes = operator.changes()
        buckets = {b: list(s) for b, s in known.buckets.items() if b not in changes.dropped} if known else {}
        for bucket, rows in changes.appended.items():
            segments = buckets.setdefault(bucket, [])
            merged = [rows]
            while _due(segments, sum(frame.height for frame in merged)):
                merged = [*(self._load(segment) for segment in segments[1 - FAN_IN :]), *merged]
                del segments[1 - FAN_IN :]
            frame = merged[0] if len(merged) == 1 else operator.merge(merged)
            segments.append(chunk.add(frame))
        return StepState(step.signature, step.lineage, dict(changes.values), buckets)

    def _load(self, segment: Segment) -> pl.DataFrame:
        data = self._store.get(self._task, segment.chunk)
        return pl.read_ipc_stream(io.BytesIO(data[segment.offset : segment.offset + segment.length]))


class _Chunk:
    """A chunk that is being filled."""

    def __init__(self, id: str) -> None:
        self.id = id
        self.segments = 0
        self._buffer = io.BytesIO()

    def add(self, frame: pl.DataFrame) -> Segment:
        start = self._buffer.tell()
        frame.write_ipc_stream(self._buffer, compression="zstd")
        self.segments += 1
        return Segment(self.id, start, self._buffer.tell() - start, frame.height)

    def bytes(self) -> bytes:
        return self._buffer.getvalue()


def _due(segments: Sequence[Segment], new_rows: int) -> bool:
    """Whether the last segments and the new rows are of similar size and enough to be merged."""
    if len(segments) < FAN_IN - 1:
        return False
    newer = sum(segment.rows for segment in segments[2 - FAN_IN :]) + new_rows
    return segments[1 - FAN_IN].rows <= 2 * newer


def _chunks(steps: Mapping[str, StepState]) -> set[str]:
    return {s.chunk for step in steps.values() for segments in step.buckets.values() for s in segments}
