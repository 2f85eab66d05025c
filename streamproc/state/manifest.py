"""The manifest of a task: all that a checkpoint knows of it, small, a message of a compacted topic."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from streamproc.errors import StateError
from streamproc.sinks.base import TableState

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Segment:
    """Rows of one bucket inside a chunk: Arrow IPC bytes [offset, offset + length) of the chunk."""

    chunk: str
    offset: int
    length: int
    rows: int


@dataclass(frozen=True, slots=True)
class StepState:
    """State of one step: its signature and lineage, its small values and the segments of each bucket."""

    signature: str
    lineage: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    buckets: dict[int, list[Segment]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Manifest:
    """Args:
    task: its id.
    position: place in the log that all of this is as of.
    topic_id: identity of the topic.
    fingerprint: of the stage that wrote it.
    lake: identity of the lake it writes to.
    partitions: how many partitions the topic had when the job first read it.
    skips: offsets that are rejected unread, at or after the position.
    steps: state by step id.
    tables: what is known of each claimed table.
    counters: cumulative, step id -> outcome -> rows.
    """

    task: str
    position: int
    topic_id: str
    fingerprint: str
    lake: str
    partitions: int
    skips: tuple[int, ...] = ()
    steps: dict[str, StepState] = field(default_factory=dict)
    tables: dict[str, TableState] = field(default_factory=dict)
    counters: dict[str, dict[str, int]] = field(default_factory=dict)

    def chunks(self) -> frozenset[str]:
        """Ids of all chunks it refers to."""
        return frozenset(
            segment.chunk for step in self.steps.values() for bucket in step.buckets.values() for segment in bucket
        )

    def encode(self) -> bytes:
        """As JSON; segments as lists, since there are many."""
        body = asdict(self)
        for id, step in self.steps.items():
            body["steps"][id]["buckets"] = {
                str(bucket): [[s.chunk, s.offset, s.length, s.rows] for s in segments]
                for bucket, segments in step.buckets.items()
            }
        return orjson.dumps({"format": FORMAT, **body})

    @classmethod
    def decode(cls, data: bytes) -> Manifest:
        """The inverse of `encode`.

        Raises:
            StateError: not a manifest, or one of another format.
        """
        try:
            body = orjson.loads(data)
            version = body.pop("format")
            if version != FORMAT:
                raise StateError(
                    "SP401",
                    f"state was written in format {version}, this version reads format {FORMAT}",
                    fix="run the version that wrote it, or `streamproc reset`",
                )
            steps = {
                id: StepState(
                    step["signature"],
                    step["lineage"],
                    step["values"],
                    {int(b): [Segment(*s) for s in segments] for b, segments in step["buckets"].items()},
                )
                for id, step in body.pop("steps").items()
            }
            tables = {name: TableState(**table) for name, table in body.pop("tables").items()}
            skips = tuple(body.pop("skips"))
            return cls(**body, skips=skips, steps=steps, tables=tables)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StateError("SP401", f"a manifest can't be read: {error}", fix="`streamproc reset`") from error
