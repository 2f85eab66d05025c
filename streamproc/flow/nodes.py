"""A topology as data: one frozen node a verb, each pointing at the node it reads from.

Nodes hold what the user wrote, checked only as far as one call can be judged. `plan` gives them meaning. Durations are
in microseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Literal

import polars as pl

from streamproc.errors import Location
from streamproc.flow import aggregates, windows
from streamproc.formats.base import Format
from streamproc.operators.base import OnFail

Start = Literal["earliest", "latest"] | datetime


@dataclass(frozen=True, eq=False, kw_only=True)
class Node:
    """What all nodes have.

    Args:
        parent: the node it reads from; None for a read.
        location: the user's line.
        name: pins the id of the step; None lets `plan` number it.
    """

    verb: ClassVar[str]
    parent: Node | None
    location: Location
    name: str | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class ReadKafka(Node):
    """Several topics are a union: the same steps on each of them. `partitioned_by` None: not declared."""

    verb = "read_kafka"
    topics: tuple[str, ...]
    format: Format
    partitioned_by: tuple[str, ...] | None
    start: Start


@dataclass(frozen=True, eq=False, kw_only=True)
class Decode(Node):
    verb = "decode"
    column: str
    format: Format
    on_fail: OnFail


@dataclass(frozen=True, eq=False, kw_only=True)
class Filter(Node):
    verb = "filter"
    predicates: tuple[pl.Expr, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class Select(Node):
    verb = "select"
    exprs: tuple[pl.Expr, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class WithColumns(Node):
    verb = "with_columns"
    exprs: tuple[pl.Expr, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class Drop(Node):
    verb = "drop"
    columns: tuple[str, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class Rename(Node):
    verb = "rename"
    mapping: Mapping[str, str]


@dataclass(frozen=True, eq=False, kw_only=True)
class Explode(Node):
    verb = "explode"
    columns: tuple[str, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class Unnest(Node):
    verb = "unnest"
    columns: tuple[str, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class MapBatches(Node):
    verb = "map_batches"
    function: Callable[[pl.DataFrame], pl.DataFrame]
    schema: Mapping[str, pl.DataType]
    on_fail: OnFail


@dataclass(frozen=True, eq=False, kw_only=True)
class WithWatermark(Node):
    verb = "with_watermark"
    column: str
    lateness: int
    ahead: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Expect(Node):
    """`name` is that of the expectation."""

    verb = "expect"
    predicate: pl.Expr
    on_fail: OnFail


@dataclass(frozen=True, eq=False, kw_only=True)
class Deduplicate(Node):
    verb = "deduplicate"
    keys: tuple[str, ...]
    within: int


@dataclass(frozen=True, eq=False, kw_only=True)
class GroupBy(Node):
    """`windows` as given: `plan` wants exactly one. `location` is that of `agg`, `grouped_at` that of `group_by`."""

    verb = "group_by"
    windows: tuple[windows.Window, ...]
    keys: tuple[str, ...]
    aggregates: Mapping[str, aggregates.Aggregate]
    grouped_at: Location


@dataclass(frozen=True, eq=False, kw_only=True)
class WriteDelta(Node):
    """`freshness` None: the default."""

    verb = "write_delta"
    table: str
    partition_by: tuple[str, ...]
    freshness: int | None
