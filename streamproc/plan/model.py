"""The plan: what a topology compiles to, frozen. `run`, `plan`, tests and simulation are interpreters of it.

A stage reads one topic. Its steps form a tree (several streams may hang off one source, several sinks off one stream),
kept as a tuple in an order where a parent comes before its children.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import polars as pl

from streamproc.errors import Location
from streamproc.flow.nodes import Start
from streamproc.operators.base import Operator

__all__ = ["FAILED_SCHEMA", "SOURCE", "Plan", "Stage", "Start", "Step", "Table"]

SOURCE = "source"
"""Step id under which records are counted as they are read."""

FAILED_SCHEMA: Mapping[str, pl.DataType] = {
    "topic": pl.String(),
    "partition": pl.Int32(),
    "offset": pl.Int64(),
    "timestamp": pl.Datetime("us", "UTC"),
    "key": pl.Binary(),
    "value": pl.Binary(),
    "step": pl.String(),
    "reason": pl.String(),
    "detail": pl.String(),
}
"""Columns of the tables of rejected and of late rows."""


LOCAL = frozenset({"deduplicate", "group_by"})
"""Kinds of steps with keys."""


@dataclass(frozen=True)
class Table:
    """A Delta table that the topology writes.

    Args:
        name: logical name, a relative path such as "silver/readings".
        columns: its columns in order.
        partition_by: columns among them.
        role: "output" for a `write_delta`, else which of the two side tables it is.
    """

    name: str
    columns: Mapping[str, pl.DataType]
    partition_by: tuple[str, ...] = ()
    role: Literal["output", "rejected", "late"] = "output"


@dataclass(frozen=True)
class Step:
    """One verb of the topology, placed in a stage.

    Args:
        id: stable id; state and counters are kept under it.
        kind: the verb: "json", "raw", "filter", ..., "write_delta".
        parent: index of the step it reads from in the stage, -1 for the stage's source.
        columns: its output columns.
        build: makes its operator, fresh for each task; None for a sink.
        table: the table, for a sink.
        signature: for a step with state, all that its state depends on; a different one does not fit the state. It
            begins with the kind.
        lineage: for a step with state and without a `name=`, a stable hash of all steps before it: what tells steps of
            one kind apart when their number changes.
        summary: short text of its parameters for people, e.g. "timestamp, 10s late, at most 1h ahead".
        hidden: hidden columns that it uses.
        location: the user's line.
    """

    id: str
    kind: str
    parent: int
    columns: Mapping[str, pl.DataType]
    build: Callable[[], Operator] | None = None
    table: str | None = None
    signature: str = ""
    lineage: str = ""
    summary: str = ""
    hidden: tuple[str, ...] = ()
    location: Location | None = None

    @property
    def local_keys(self) -> bool:
        """Whether it has state by key that is kept where the key is: such keys must not move to other partitions."""
        return bool(self.signature) and self.kind in LOCAL


@dataclass(frozen=True)
class Stage:
    """Steps that run on one topic; one task of it runs on each partition.

    Args:
        name: unique in the topology; here the topic's logical name.
        topic: logical name of the topic.
        steps: a tree, parents first.
        start: where a first start reads from.
        fingerprint: stable hash of all that the stage's output depends on.
        interval: time between checkpoints: the smallest `freshness` of its sinks.
    """

    name: str
    topic: str
    steps: tuple[Step, ...]
    start: Start
    fingerprint: str
    interval: timedelta

    @property
    def tables(self) -> tuple[str, ...]:
        """Tables that the user's steps write to, in order, each once."""
        return tuple(dict.fromkeys(step.table for step in self.steps if step.table))


@dataclass(frozen=True)
class Plan:
    """A whole topology.

    Args:
        name: the topology's.
        stages: one a topic.
        tables: all tables by name, with those of rejected and late rows.
        rejected, late: names of those two.
        warnings: lines for the user.
    """

    name: str
    stages: tuple[Stage, ...]
    tables: Mapping[str, Table]
    rejected: str
    late: str
    warnings: tuple[str, ...] = ()

    def stage(self, topic: str) -> Stage:
        """The stage that reads `topic`."""
        return next(stage for stage in self.stages if stage.topic == topic)

    def task(self, topic: str, partition: int) -> str:
        """Id of a task: also its transaction id in Delta tables and the key of its manifest."""
        return f"{self.name}/{self.stage(topic).name}/{partition}"
