"""What can be judged at the call is, with the user's line."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import streamproc as sp
from streamproc.flow.stream import Stream

c = pl.col
T: Any = sp.Topology
YES: Any = True


def s() -> Any:
    return sp.Topology("t").read_kafka("e", format=sp.Json({"a": pl.Int64}))


CASES: list[tuple[str, str, Callable[[], object]]] = [
    ("topology 'a/b' is not a name", "letters", lambda: T("a/b")),
    ("topology '' is not a name", "letters", lambda: T("")),
    ("topic 'a b' is not a name", "letters", lambda: T("t").read_kafka("a b", format=sp.Raw())),
    ("read_kafka needs a format", "sp.Json", lambda: T("t").read_kafka("a", format=sp.Json)),
    ("start='begin' is not known", "latest", lambda: T("t").read_kafka("a", format=sp.Raw(), start="begin")),
    ("is not known", "time zone", lambda: T("t").read_kafka("a", format=sp.Raw(), start=datetime(2024, 1, 1))),
    ('read_kafka names "a" twice', "", lambda: T("t").read_kafka(["a", "a"], format=sp.Raw())),
    ("lateness='soon' is not a duration", "10s", lambda: s().with_watermark("a", lateness="soon")),
    ("ahead=5 is not a duration", "10s", lambda: s().with_watermark("a", lateness="1s", ahead=5)),
    ("within='1us' is too short", '"1ms"', lambda: s().deduplicate("a", within="1us")),
    ("deduplicate needs a column", "", lambda: s().deduplicate(within="1s")),
    (
        "deduplicate takes names of columns, not an expression",
        "with_columns",
        lambda: s().deduplicate(c("a"), within="1s"),
    ),
    ("group_by takes names of columns", "with_columns", lambda: s().group_by(sp.tumbling("1m"), c("a"))),
    ("on_fail='ignore' is not known here", '"warn", "drop"', lambda: s().expect("e", c("a") > 1, on_fail="ignore")),
    (
        "on_fail='warn' is not known here",
        '"stop"',
        lambda: s().map_batches(len, schema={"a": pl.Int64}, on_fail="warn"),
    ),
    ("on_fail='warn' is not known here", '"stop"', lambda: s().decode("a", sp.Json({"a": pl.Int64}), on_fail="warn")),
    ("decode needs a format that decodes", "sp.Json", lambda: s().decode("a", sp.Raw())),
    ("decode needs a format", "sp.Json", lambda: s().decode("a", "json")),
    ("expect takes a Polars expression, not str", "pl.col", lambda: s().expect("e", "a")),
    ("expectation 'a b' is not a name", "letters", lambda: s().expect("a b", c("a") > 1)),
    ("filter takes Polars expressions, not dict", "pl.col", lambda: s().filter({"a": 1})),
    ("filter needs an expression", "", lambda: s().filter()),
    ("select needs an expression", "", lambda: s().select()),
    ("rename takes a mapping", "old", lambda: s().rename("a")),
    ('rename names "b" twice', "", lambda: s().rename({"a": "b", "c": "b"})),
    ("map_batches takes a function", "def", lambda: s().map_batches("f", schema={"a": pl.Int64})),
    ("schema is not a schema", "pl.String", lambda: s().map_batches(len, schema={})),
    ("\"a\": <class 'int'> is not a Polars type", "pl.String", lambda: s().map_batches(len, schema={"a": int})),
    ("List needs its inner type", "pl.List(pl.String)", lambda: s().map_batches(len, schema={"a": pl.List})),
    ("a table is named by text, not 5", "", lambda: T("t", late=5)),
    ("schema: 1 is not the name of a column", "pl.String", lambda: s().map_batches(len, schema={1: pl.String})),
    ("agg needs an aggregate", "sp.count", lambda: s().group_by(sp.tumbling("1m")).agg()),
    (
        '"n" is not an aggregate of streamproc',
        'n=sp.sum("a")',
        lambda: s().group_by(sp.tumbling("1m")).agg(n=c("a").sum().alias("b")),
    ),
    ('"n" is not an aggregate of streamproc', "n=sp.count()", lambda: s().group_by(sp.tumbling("1m")).agg(n=pl.len())),
    ('"n" is not an aggregate of streamproc: int 3', "n=sp.mean", lambda: s().group_by(sp.tumbling("1m")).agg(n=3)),
    ("agg takes named aggregates", 'n=sp.max("a")', lambda: s().group_by(sp.tumbling("1m")).agg(c("a").max())),
    ("agg takes named aggregates", "n=sp.first(", lambda: s().group_by(sp.tumbling("1m")).agg(sp.first("a"))),
    ("every='1mo' is not a duration", "10s", lambda: sp.tumbling("1mo")),
    ("every='0s' is too short", '"1ms"', lambda: sp.tumbling("0s")),
    ("offset='x' is not a duration", "10s", lambda: sp.tumbling("1m", offset="x")),
    ('"n" takes a Polars expression', "pl.col", lambda: s().group_by(sp.tumbling("1m")).agg(n=sp.count(where=YES))),
    ("a table is named by text", "silver", lambda: s().write_delta(7)),
    ("freshness='1ms' is too short", '"10ms"', lambda: s().write_delta("a", freshness="1ms")),
    ("partition_by takes names of columns", "with_columns", lambda: s().write_delta("a", partition_by=c("a"))),
    ("name 'a/b' is not a name", "letters", lambda: s().deduplicate("a", within="1s", name="a/b")),
]


@pytest.mark.parametrize(("message", "fix", "call"), CASES, ids=[str(n) for n in range(len(CASES))])
def test_a_bad_argument_is_refused_where_it_is(message: str, fix: str, call: Callable[[], object]) -> None:
    with pytest.raises(sp.TopologyError) as caught:
        call()
    error = caught.value
    assert (error.code, message in error.message, fix in error.fix) == ("SP101", True, True), str(error)
    assert error.location is not None
    assert Path(error.location.file).name == "test_stream.py"
    assert error.location.text == Path(__file__).read_text().splitlines()[error.location.line - 1].strip()


def test_each_verb_of_a_chain_knows_its_own_line() -> None:
    topology = sp.Topology("t")
    start = inspect.currentframe().f_lineno  # type: ignore[union-attr]
    (
        topology.read_kafka("e", format=sp.Json({"a": pl.Int64}))
        .filter(c("a") > 1)
        .with_columns(
            b=c("a"),
        )
        .write_delta("t")
    )
    assert [node.location.line - start for node in topology.nodes] == [2, 3, 4, 7]
    assert topology.nodes[1].location.text == '.filter(c("a") > 1)'


def test_streams_and_nodes_never_change() -> None:
    stream: Stream = s()
    assert stream.filter(c("a") > 1) is not stream
    assert not hasattr(stream, "__dict__")
    with pytest.raises(FrozenInstanceError):
        stream._node.name = "x"  # type: ignore[misc]


def test_arguments_as_in_polars() -> None:
    topology = sp.Topology("t")
    stream = topology.read_kafka("e", format=sp.Raw(), start=datetime(2024, 1, 1, tzinfo=UTC))
    stream.select(["key", c("value")], one=1, text=c("key").cast(pl.String)).drop(["one"], "text").write_delta("a")
    select = topology.nodes[1]
    assert [expr.meta.output_name() for expr in select.exprs] == ["key", "value", "one", "text"]  # type: ignore[attr-defined]


def test_every_time_of_a_schema_is_utc_microseconds() -> None:
    topology = sp.Topology("t")
    given = {"a": pl.List(pl.Struct({"t": pl.Datetime})), "b": pl.Datetime("ms")}
    topology.read_kafka("e", format=sp.Raw()).map_batches(lambda frame: frame, schema=given)
    utc = pl.Datetime("us", "UTC")
    assert topology.nodes[1].schema == {"a": pl.List(pl.Struct({"t": utc})), "b": utc}  # type: ignore[attr-defined]


def test_the_names_at_the_top() -> None:
    assert set(sp.__all__) == {
        "ConfigError", "DataError", "Fenced", "Json", "LogError", "Raw", "StateError", "StreamprocError", "TableError",
        "Topology", "TopologyError", "__version__", "count", "first", "last", "max", "mean", "min", "std", "sum",
        "tumbling", "var",
    }  # fmt: skip
    assert all(hasattr(sp, name) for name in sp.__all__)
