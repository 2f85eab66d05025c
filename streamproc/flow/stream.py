"""`Stream`: what users chain verbs on. Immutable: each verb gives a new stream and leaves the old one as it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from streamproc.errors import Location
from streamproc.flow import arguments, nodes
from streamproc.flow.aggregates import Aggregate, Value
from streamproc.flow.arguments import invalid
from streamproc.flow.duration import Duration
from streamproc.flow.location import caller
from streamproc.flow.windows import Window
from streamproc.formats.base import Format
from streamproc.formats.raw import Raw
from streamproc.operators.base import OnFail

if TYPE_CHECKING:
    from streamproc.flow.topology import Columns, Topology

_SOME_MS = 10_000


class Stream:
    """Rows on their way from a topic to tables; made by `Topology.read_kafka`.

    Expressions see one row: what depends on other rows (`mean`, `shift`, `over`, `pl.len()`, ...) is refused by `plan`.
    Hidden columns `_topic`, `_partition`, `_offset`, `_timestamp`, `_key` and `_headers` can be used in expressions up
    to the first aggregate; they are never part of `pl.all()`.

    All verbs raise TopologyError for an argument that can't be meant. What needs the columns is found by `plan`.
    """

    __slots__ = ("_node", "_topology")

    def __init__(self, topology: Topology, node: nodes.Node) -> None:
        self._topology = topology
        self._node = topology.add(node)

    def _then(self, node: nodes.Node) -> Stream:
        return Stream(self._topology, node)

    def decode(self, column: str, format: Format, *, on_fail: OnFail = "reject") -> Stream:
        """Decode a Binary or String column; the format's columns take its place, the others stay.

        Args:
            column: the bytes or text.
            format: what it holds, such as `Json({...})`.
            on_fail: what becomes of rows that don't decode.
        """
        at = caller()
        (name,) = arguments.columns(at, "decode", [column])
        if isinstance(format, Raw):
            raise invalid(at, "decode needs a format that decodes: Raw() leaves bytes as they are", "sp.Json({...})")
        return self._then(
            nodes.Decode(
                parent=self._node,
                location=at,
                column=name,
                format=arguments.format(at, "decode", format),
                on_fail=arguments.on_fail(at, on_fail, ("drop", "reject", "stop")),
            )
        )

    def filter(self, *predicates: Value) -> Stream:
        """Keep rows for which all predicates are true; null counts as false."""
        at = caller()
        exprs = arguments.expressions(at, "filter", predicates, {})
        return self._then(nodes.Filter(parent=self._node, location=at, predicates=exprs))

    def select(self, *exprs: Any, **named: Any) -> Stream:
        """These columns instead of what is there, as in Polars."""
        at = caller()
        made = arguments.expressions(at, "select", exprs, named)
        return self._then(nodes.Select(parent=self._node, location=at, exprs=made))

    def with_columns(self, *exprs: Any, **named: Any) -> Stream:
        """Add columns, or replace those of the same name, as in Polars."""
        at = caller()
        made = arguments.expressions(at, "with_columns", exprs, named)
        return self._then(nodes.WithColumns(parent=self._node, location=at, exprs=made))

    def drop(self, *columns: Columns) -> Stream:
        """Without these columns."""
        at = caller()
        names = arguments.columns(at, "drop", columns)
        return self._then(nodes.Drop(parent=self._node, location=at, columns=names))

    def rename(self, mapping: Mapping[str, str]) -> Stream:
        """New names: {old: new}."""
        at = caller()
        if not isinstance(mapping, Mapping) or not mapping:
            raise invalid(at, "rename takes a mapping", '{"old": "new"}')
        new = arguments.columns(at, "rename", mapping.values())
        return self._then(nodes.Rename(parent=self._node, location=at, mapping=dict(zip(mapping, new, strict=True))))

    def explode(self, *columns: Columns) -> Stream:
        """A row for each element of these list columns (of equal lengths in each row)."""
        at = caller()
        names = arguments.columns(at, "explode", columns)
        return self._then(nodes.Explode(parent=self._node, location=at, columns=names))

    def unnest(self, *columns: Columns) -> Stream:
        """The fields of these struct columns in their place."""
        at = caller()
        names = arguments.columns(at, "unnest", columns)
        return self._then(nodes.Unnest(parent=self._node, location=at, columns=names))

    def map_batches(
        self,
        function: Callable[[pl.DataFrame], pl.DataFrame],
        *,
        schema: Mapping[str, pl.DataType | type[pl.DataType]],
        on_fail: OnFail = "stop",
    ) -> Stream:
        """Apply a Python function to frames of rows.

        It must work row by row: the same number of rows out, in the same order, whatever the cut. For more or fewer
        rows, return a list column and `explode`, or nulls and `filter`. A column that keeps its name and type must
        keep its values where it is the event time or one that the topic is partitioned by, and a step with keys
        follows; the run stops where it does not.

        Args:
            function: takes a DataFrame of the columns here, returns one of `schema`.
            schema: what it returns: column -> Polars type; every Datetime is UTC microseconds.
            on_fail: what becomes of rows for which it raises: "drop", "reject" or "stop".
        """
        at = caller()
        if not callable(function):
            raise invalid(at, "map_batches takes a function", "def function(frame: pl.DataFrame) -> pl.DataFrame: ...")
        return self._then(
            nodes.MapBatches(
                parent=self._node,
                location=at,
                function=function,
                schema=arguments.schema(at, "schema", schema),
                on_fail=arguments.on_fail(at, on_fail, ("drop", "reject", "stop")),
            )
        )

    def with_watermark(self, column: str, *, lateness: Duration, ahead: Duration = "1h") -> Stream:
        """Declare the event time. The watermark is the largest event time seen in the partition, less `lateness`.

        Rows whose event time is null, or more than `ahead` beyond the Kafka timestamp, are rejected.

        Args:
            column: Datetime in UTC microseconds.
            lateness: how much out of order rows may be without being late.
            ahead: how far event time may be ahead of the Kafka timestamp.
        """
        at = caller()
        (name,) = arguments.columns(at, "with_watermark", [column])
        late, early = arguments.duration(at, "lateness", lateness), arguments.duration(at, "ahead", ahead)
        return self._then(nodes.WithWatermark(parent=self._node, location=at, column=name, lateness=late, ahead=early))

    def expect(self, name: str, predicate: pl.Expr, *, on_fail: OnFail = "reject") -> Stream:
        """State what must be true of each row; null fails, and so does a row that the predicate can't be computed for.

        Args:
            name: unique in the topology; the step's id is "expect:<name>".
            predicate: true for good rows.
            on_fail: "warn" counts and passes them on, "drop" drops, "reject" sets aside, "stop" stops the run.
        """
        at = caller()
        return self._then(
            nodes.Expect(
                parent=self._node,
                location=at,
                name=arguments.name(at, "expectation", name),
                predicate=arguments.expression(at, "expect", predicate),
                on_fail=arguments.on_fail(at, on_fail),
            )
        )

    def deduplicate(self, *keys: Columns, within: Duration, name: str | None = None) -> Stream:
        """Drop rows whose keys equal those of a kept row with an event time at most `within` away.

        Args:
            keys: columns that must all be equal; null equals null.
            within: the span; state is kept for about twice as long.
            name: pins the id under which state is kept.
        """
        at = caller()
        return self._then(
            nodes.Deduplicate(
                parent=self._node,
                location=at,
                name=arguments.pinned(at, name),
                keys=arguments.columns(at, "deduplicate", keys),
                within=arguments.duration(at, "within", within, least=1_000),
            )
        )

    def group_by(self, *keys: Window | str, name: str | None = None) -> Grouped:
        """Group rows by a window of event time and columns; `.agg(...)` follows.

        Args:
            keys: one window such as `tumbling("1m")`, and columns; null is a group.
            name: pins the id under which state is kept.
        """
        at = caller()
        windows = tuple(key for key in keys if isinstance(key, Window))
        columns = arguments.columns(at, "group_by", [key for key in keys if not isinstance(key, Window)], least=0)
        return Grouped(self._topology, self._node, at, windows, columns, arguments.pinned(at, name))

    def write_delta(self, table: str, *, partition_by: Columns = (), freshness: Duration | None = None) -> None:
        """Append the rows to a Delta table, exactly once.

        Args:
            table: relative path under the lake, such as "silver/readings"; each table is written by one `write_delta`.
            partition_by: columns among the rows'.
            freshness: how often rows are committed at least, 1 s by default.
        """
        at = caller()
        if not isinstance(table, str):
            raise invalid(at, f"a table is named by text, not {table!r}", 'for example "silver/readings"')
        Stream(
            self._topology,
            nodes.WriteDelta(
                parent=self._node,
                location=at,
                table=table,
                partition_by=arguments.columns(at, "partition_by", arguments.one_or_more(partition_by), least=0),
                freshness=None if freshness is None else arguments.duration(at, "freshness", freshness, least=_SOME_MS),
            ),
        )


class Grouped:
    """Rows grouped by window and columns; made by `Stream.group_by`."""

    __slots__ = ("_keys", "_location", "_name", "_node", "_topology", "_windows")

    def __init__(
        self,
        topology: Topology,
        node: nodes.Node,
        location: Location,
        windows: tuple[Window, ...],
        keys: tuple[str, ...],
        name: str | None,
    ) -> None:
        self._topology, self._node, self._location = topology, node, location
        self._windows, self._keys, self._name = windows, keys, name

    def agg(self, *unnamed: object, **aggregates: Aggregate) -> Stream:
        """One row for each window and group once the window has closed: window_start, window_end, keys, aggregates.

        Event time is `window_start` from here on.
        """
        at = caller()
        if unnamed:
            raise invalid(at, "agg takes named aggregates", arguments.as_aggregate("n", unnamed[0]))
        if not aggregates:
            raise invalid(at, "agg needs an aggregate", "rows=sp.count()")
        for name, aggregate in aggregates.items():
            if not isinstance(aggregate, Aggregate):
                message = f'"{name}" is not an aggregate of streamproc: {arguments.kind(aggregate)}'
                raise invalid(at, message, arguments.as_aggregate(name, aggregate))
            for expr in (aggregate.value, aggregate.where):
                if expr is not None:
                    arguments.expression(at, f'"{name}"', expr)
        return Stream(
            self._topology,
            nodes.GroupBy(
                parent=self._node,
                location=at,
                name=self._name,
                windows=self._windows,
                keys=self._keys,
                aggregates=dict(aggregates),
                grouped_at=self._location,
            ),
        )
