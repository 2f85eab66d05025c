"""Every mistake that `plan` finds: code, message, the user's line, the fix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

import streamproc as sp
from streamproc.flow.stream import Stream
from streamproc.plan import plan

EVENT = {
    "event_id": pl.String,
    "user_id": pl.String,
    "timestamp": pl.Datetime,
    "event_type": pl.String,
    "value": pl.Float64,
    "tags": pl.List(pl.String),
    "place": pl.Struct({"x": pl.Float64, "event_id": pl.Float64}),
}
c = pl.col
minute = sp.tumbling("1m")


def read(topology: sp.Topology, by: str = "user_id", name: str | None = None) -> Stream:
    return topology.read_kafka("events", format=sp.Json(EVENT), partitioned_by=by, name=name)


def ready(topology: sp.Topology) -> Stream:
    return read(topology).with_watermark("timestamp", lateness="10s")


def counted(topology: sp.Topology) -> Stream:
    return ready(topology).group_by(minute, "user_id").agg(rows=sp.count(), value=sp.mean("value"))


def writes(topology: sp.Topology, *tables: str) -> None:
    for table in tables:
        read(topology).write_delta(table)


Build = Callable[[sp.Topology], object]
Case = tuple[str, str, str, Build]
CASES: list[Case] = [
    # unknown columns
    (
        "SP104",
        'unknown column "event_typ" in filter',
        'did you mean "event_type"?',
        lambda t: read(t).filter(c("event_typ") == "x"),
    ),
    ("SP104", 'unknown column "valu" in select', 'did you mean "value"?', lambda t: read(t).select("valu")),
    (
        "SP104",
        'unknown column "valu" in with_columns',
        'did you mean "value"?',
        lambda t: read(t).with_columns(x=c("valu") * 2),
    ),
    ("SP104", 'unknown column "valu" in drop', 'did you mean "value"?', lambda t: read(t).drop("valu")),
    ("SP104", 'unknown column "valu" in rename', 'did you mean "value"?', lambda t: read(t).rename({"valu": "v"})),
    ("SP104", 'unknown column "tag" in explode', 'did you mean "tags"?', lambda t: read(t).explode("tag")),
    ("SP104", 'unknown column "plac" in unnest', 'did you mean "place"?', lambda t: read(t).unnest("plac")),
    (
        "SP104",
        'unknown column "zzz" in decode',
        "use a column that is there",
        lambda t: read(t).decode("zzz", sp.Json(EVENT)),
    ),
    (
        "SP104",
        'unknown column "time" in with_watermark',
        'did you mean "timestamp"?',
        lambda t: read(t).with_watermark("time", lateness="1s"),
    ),
    ("SP104", 'unknown column "valu" in expect', 'did you mean "value"?', lambda t: read(t).expect("e", c("valu") > 0)),
    ("SP104", 'unknown column "user" in deduplicate', "user_id", lambda t: ready(t).deduplicate("user", within="1m")),
    (
        "SP104",
        'unknown column "user" in group_by',
        "user_id",
        lambda t: ready(t).group_by(minute, "user").agg(n=sp.count()),
    ),
    (
        "SP104",
        'unknown column "valu" in "m" of agg',
        "value",
        lambda t: ready(t).group_by(minute, "user_id").agg(m=sp.sum("valu")),
    ),
    (
        "SP104",
        'unknown column "dat" in partition_by',
        "use a",
        lambda t: read(t).drop("tags").write_delta("a", partition_by="dat"),
    ),
    (
        "SP104",
        'unknown column "_topics" in filter',
        'did you mean "_topic"?',
        lambda t: read(t).filter(c("_topics") == "a"),
    ),
    ("SP104", 'unknown column "zz" in select', "use a column", lambda t: read(t).select(pl.selectors.by_name("zz"))),
    # types
    ("SP105", "filter needs true or false, this is Float64: value", "a comparison", lambda t: read(t).filter("value")),
    (
        "SP105",
        "expect needs true or false, this is String",
        "a comparison",
        lambda t: read(t).expect("e", c("event_id")),
    ),
    ("SP105", "wrong type in with_columns", "cast the column", lambda t: read(t).with_columns(x=c("tags").dt.date())),
    (
        "SP105",
        "wrong type in filter: [(event_id) > (1)]",
        "cast the column",
        lambda t: read(t).filter(c("event_id") > 1),
    ),
    (
        "SP105",
        'decode needs bytes or text, "value" is Float64',
        "Binary",
        lambda t: read(t).decode("value", sp.Json(EVENT)),
    ),
    ("SP105", 'explode needs a list, "value" is Float64', "a List column", lambda t: read(t).explode("value")),
    ("SP105", 'unnest needs a struct, "value" is Float64', "a Struct column", lambda t: read(t).unnest("value")),
    ("SP105", "event time must be a Datetime", "declare", lambda t: read(t).with_watermark("value", lateness="1s")),
    (
        "SP105",
        '"tags" can\'t be a key: it is List(String)',
        "one value",
        lambda t: ready(t).deduplicate("tags", within="1m"),
    ),
    (
        "SP105",
        "time is UTC microseconds here",
        'replace_time_zone("UTC")',
        lambda t: read(t).with_columns(x=pl.datetime(2024, 1, 1)),
    ),
    (
        "SP105",
        "time is UTC microseconds here",
        "convert_time_zone",
        lambda t: read(t).select(c("timestamp").dt.convert_time_zone("Asia/Tokyo")),
    ),
    (
        "SP105",
        "time is UTC microseconds here",
        'cast_time_unit("us")',
        lambda t: read(t).select(pl.struct(c("timestamp").dt.cast_time_unit("ms"))),
    ),
    ("SP105", "wrong type in select", "cast the column", lambda t: read(t).select(c("place").struct.field("z"))),
    # other rows
    (
        "SP106",
        "mean in with_columns depends on other rows",
        "aggregate in a window",
        lambda t: read(t).with_columns(x=c("value") - c("value").mean()),
    ),
    ("SP106", "len in select depends on other rows", "aggregate", lambda t: read(t).select(n=pl.len())),
    ("SP106", "shift in filter depends on other rows", "aggregate", lambda t: read(t).filter(c("value").shift(1) > 0)),
    (
        "SP106",
        "explode in select depends on other rows",
        "more rows: explode",
        lambda t: read(t).select(c("tags").explode()),
    ),
    (
        "SP106",
        "cum_sum in expect depends on other rows",
        "aggregate",
        lambda t: read(t).expect("e", c("value").cum_sum() > 0),
    ),
    (
        "SP106",
        'sum in "m" of agg depends',
        "aggregate",
        lambda t: ready(t).group_by(minute, "user_id").agg(m=sp.sum(c("value").sum())),
    ),
    (
        "SP106",
        'max in where= of "m" of agg',
        "aggregate",
        lambda t: ready(t).group_by(minute, "user_id").agg(m=sp.count(where=c("value") == c("value").max())),
    ),
    (
        "SP106",
        "a Python function (map_elements, map_batches, name.map) in select",
        "stream.map_batches",
        lambda t: read(t).select(c("value").map_batches(lambda v: v)),
    ),
    *(
        ("SP106", "the numbers behind a Categorical in select", "pl.Enum", lambda t, e=expr: read(t).select(e))
        for expr in (
            c("event_id").cast(pl.Categorical).to_physical(),
            c("event_id").cast(pl.Categorical).cat.physical(),
            pl.concat_list(c("event_id").cast(pl.Categorical)).hash(),
        )
    ),
    (
        "SP106",
        "the numbers behind a Categorical in with_columns",
        "use the text",
        lambda t: read(t).select(k=c("event_id").cast(pl.Categorical)).with_columns(n=c("k").to_physical()),
    ),
    # names
    ("SP107", 'column name "_key" is reserved', 'such as "key"', lambda t: read(t).with_columns(_key=pl.lit(1))),
    ("SP107", 'column name "_timestamp" is reserved', "such as", lambda t: read(t).select("_timestamp")),
    ("SP107", 'column name "__x" is reserved', 'such as "x"', lambda t: read(t).rename({"value": "__x"})),
    (
        "SP107",
        'column name "__x" is reserved',
        'such as "x"',
        lambda t: read(t).map_batches(lambda f: f, schema={"__x": pl.String}),
    ),
    ("SP107", 'two expressions named "value" in select', "alias", lambda t: read(t).select("value", c("value") * 2)),
    (
        "SP107",
        'rename brings a second column "value"',
        "drop or rename",
        lambda t: read(t).rename({"event_id": "value"}),
    ),
    ("SP107", 'unnest brings a second column "event_id"', "drop or rename", lambda t: read(t).unnest("place")),
    (
        "SP107",
        'decode brings a second column "value"',
        "drop or rename",
        lambda t: read(t).decode("event_id", sp.Json({"value": pl.String})),
    ),
    ("SP107", "drop leaves no column", "keep one", lambda t: read(t).drop(*EVENT)),
    (
        "SP107",
        '"window_start" is the window\'s own column',
        "leave it out",
        lambda t: counted(t).group_by(minute, "window_start", "user_id").agg(n=sp.count()),
    ),
    (
        "SP107",
        'aggregate "user_id" has the name of a key',
        "another name",
        lambda t: ready(t).group_by(minute, "user_id").agg(user_id=sp.count()),
    ),
    (
        "SP107",
        'aggregate "window_end" has the name',
        "another name",
        lambda t: ready(t).group_by(minute, "user_id").agg(window_end=sp.count()),
    ),
    # event time
    (
        "SP108",
        "deduplicate needs event time: there is no watermark",
        "with_watermark",
        lambda t: read(t).deduplicate("user_id", within="1m"),
    ),
    (
        "SP108",
        "group_by needs event time: there is no watermark",
        "with_watermark",
        lambda t: read(t).group_by(minute, "user_id").agg(n=sp.count()),
    ),
    (
        "SP108",
        '"timestamp" is gone or changed',
        'keep "timestamp" as it is',
        lambda t: ready(t).drop("timestamp").deduplicate("user_id", within="1m"),
    ),
    (
        "SP108",
        '"timestamp" is gone or changed',
        "keep",
        lambda t: ready(t).with_columns(c("timestamp").dt.truncate("1h")).deduplicate("user_id", within="1m"),
    ),
    (
        "SP108",
        "the stream has a watermark already",
        "one with_watermark",
        lambda t: ready(t).with_watermark("timestamp", lateness="1s"),
    ),
    # windows
    (
        "SP109",
        "group_by without a window would never give a result",
        "sp.tumbling",
        lambda t: ready(t).group_by("user_id").agg(n=sp.count()),
    ),
    (
        "SP109",
        "group_by takes one window",
        "keep one",
        lambda t: ready(t).group_by(minute, sp.tumbling("1h"), "user_id").agg(n=sp.count()),
    ),
    # aggregates
    (
        "SP110",
        '"m" of agg: mean needs numbers, "event_type" is String',
        'sp.count("event_type")',
        lambda t: ready(t).group_by(minute, "user_id").agg(m=sp.mean("event_type")),
    ),
    (
        "SP110",
        'sum needs numbers, "value" is Boolean',
        "sp.count(where=",
        lambda t: ready(t).group_by(minute, "user_id").agg(m=sp.sum(c("value") > 1)),
    ),
    (
        "SP110",
        "std needs numbers",
        "sp.count",
        lambda t: ready(t).group_by(minute, "user_id").agg(m=sp.std("event_id")),
    ),
    (
        "SP110",
        'max needs an order, "tags" is List(String)',
        "take a field",
        lambda t: ready(t).group_by(minute, "user_id").agg(m=sp.max("tags")),
    ),
    (
        "SP110",
        "min takes one column, not",
        "name one",
        lambda t: ready(t).group_by(minute, "user_id").agg(m=sp.min(pl.all())),
    ),
    (
        "SP105",
        'where= of "m" of agg needs true or false',
        "comparison",
        lambda t: ready(t).group_by(minute, "user_id").agg(m=sp.count(where=c("value"))),
    ),
    # locality
    (
        "SP111",
        'deduplicate is not local: its keys lack "user_id"',
        'add "user_id" to the keys',
        lambda t: ready(t).deduplicate("event_id", within="1m"),
    ),
    (
        "SP111",
        'group_by is not local: its keys lack "user_id"',
        'add "user_id"',
        lambda t: ready(t).group_by(minute, "event_type").agg(n=sp.count()),
    ),
    (
        "SP111",
        'its keys lack "who"',
        'add "who" to the keys',
        lambda t: ready(t).rename({"user_id": "who"}).deduplicate("event_id", within="1m"),
    ),
    (
        "SP111",
        'its keys lack "user_id"',
        'keep "user_id" as it is',
        lambda t: ready(t).with_columns(c("user_id").str.to_lowercase()).deduplicate("user_id", within="1m"),
    ),
    # tables
    (
        "SP112",
        '"/abs" can\'t be a table: it is absolute',
        "a path under the lake",
        lambda t: read(t).drop("place").write_delta("/abs"),
    ),
    ("SP112", "it is absolute", "under the lake", lambda t: read(t).write_delta("s3://bucket/x")),
    ("SP112", 'it has a part ".."', "under the lake", lambda t: read(t).write_delta("a/../b")),
    ("SP112", 'it has a part ""', "under the lake", lambda t: read(t).write_delta("a//b")),
    ("SP112", "it is empty", "under the lake", lambda t: read(t).write_delta("")),
    ("SP112", "it has a backslash", "under the lake", lambda t: read(t).write_delta("a\\b")),
    ("SP112", '"_state" has other than', "under the lake", lambda t: read(t).write_delta("_state/x")),
    ("SP114", 'can\'t hold column "x": Null', ".cast(pl.String)", lambda t: read(t).select(x=None).write_delta("a")),
    (
        "SP114",
        'can\'t hold column "x": Time',
        "text",
        lambda t: read(t).select(x=c("timestamp").dt.time()).write_delta("a"),
    ),
    (
        "SP114",
        'can\'t hold column "x": Duration',
        "total_microseconds",
        lambda t: read(t).select(x=c("timestamp") - c("timestamp")).write_delta("a"),
    ),
    (
        "SP114",
        'can\'t hold column "x": UInt64',
        "cast(pl.Int64)",
        lambda t: read(t).select(x=c("value").hash()).write_delta("a"),
    ),
    (
        "SP114",
        'can\'t hold column "x": Int128',
        "Decimal",
        lambda t: read(t).select(x=c("value").cast(pl.Int128)).write_delta("a"),
    ),
    (
        "SP114",
        'can\'t hold column "x": Categorical',
        "cast(pl.String)",
        lambda t: read(t).select(x=c("event_id").cast(pl.Categorical)).write_delta("a"),
    ),
    (
        "SP114",
        'can\'t hold column "x": List(Time)',
        "drop or cast",
        lambda t: read(t).select(x=pl.concat_list(c("timestamp").dt.time())).write_delta("a"),
    ),
    (
        "SP114",
        'columns "value" and "Value" are the same to Delta',
        'rename "Value"',
        lambda t: read(t).with_columns(Value=c("value")).write_delta("a"),
    ),
    (
        "SP115",
        '"value" can\'t partition a table: it is Float64',
        "a date",
        lambda t: read(t).write_delta("a", partition_by="value"),
    ),
    (
        "SP115",
        "partition_by takes all columns",
        "leave one out",
        lambda t: read(t).select("user_id").write_delta("a", partition_by=["user_id"]),
    ),
    ("SP116", 'topology "t" writes no table', "write_delta", read),
    # hidden columns
    (
        "SP119",
        'hidden column "_key" in with_columns: after an aggregate',
        "sp.last",
        lambda t: counted(t).with_columns(k=c("_key")),
    ),
    (
        "SP119",
        'hidden column "_key" can\'t be named in deduplicate',
        '.with_columns(key=pl.col("_key"))',
        lambda t: ready(t).deduplicate("user_id", "_key", within="1m"),
    ),
    (
        "SP119",
        "several columns in one expression",
        "with_columns",
        lambda t: read(t).select(x=pl.struct(pl.all(), c("_key"))),
    ),
    (
        "SP111",
        "deduplicate needs a topic that is partitioned by its keys",
        'partitioned_by="event_id"',
        lambda t: (
            t.read_kafka("other", format=sp.Json(EVENT))
            .with_watermark("timestamp", lateness="1s")
            .deduplicate("event_id", within="1m")
        ),
    ),
    (
        "SP111",
        "deduplicate on several topics",
        "read one topic",
        lambda t: (
            t.read_kafka(["a", "b"], format=sp.Json(EVENT), partitioned_by="user_id")
            .with_watermark("timestamp", lateness="1s")
            .deduplicate("user_id", within="1m")
        ),
    ),
    (
        "SP111",
        'its keys lack "device"',
        'keep "device" as it is',
        lambda t: (
            t.read_kafka("a", format=sp.Json(EVENT), partitioned_by="device")
            .with_watermark("timestamp", lateness="1s")
            .deduplicate("event_id", within="1m")
        ),
    ),
    (
        "SP104",
        'unknown column "usr" in partitioned_by',
        ".with_columns(usr=...)",
        lambda t: read(t, by="usr").write_delta("a"),
    ),
    ("SP113", 'table "a/b" is written twice', "its own table", lambda t: writes(t, "a/b", "a/b")),
    (
        "SP113",
        '"a/b" and "a" are inside each other',
        "beside",
        lambda t: writes(t, "a", "a/b"),
    ),
    ("SP113", 'table "t__late" is written twice', "its own table", lambda t: read(t).write_delta("t__late")),
    (
        "SP117",
        'two reads of topic "events" contradict each other',
        "read it once",
        lambda t: [read(t, by=b) for b in EVENT],
    ),
    (
        "SP118",
        'two steps are named "expect:e"',
        "another name",
        lambda t: [read(t).expect("e", c("value") > 0) for _ in "12"],
    ),
    ("SP118", 'two steps are named "filter"', "another name", lambda t: read(t, name="filter").filter(c("value") > 0)),
    (
        "SP118",
        'no step can be named "source"',
        "another name",
        lambda t: ready(t).deduplicate("user_id", within="1m", name="source"),
    ),
]


@pytest.mark.parametrize(
    ("code", "message", "fix", "build"), CASES, ids=[f"{n}-{one[0]}" for n, one in enumerate(CASES)]
)
def test_a_mistake_is_named_with_line_and_fix(code: str, message: str, fix: str, build: Build) -> None:
    topology = sp.Topology("t")
    build(topology)
    with pytest.raises(sp.TopologyError) as caught:
        plan(topology)
    error = caught.value
    assert (error.code, message in error.message, fix in error.fix) == (code, True, True), str(error)
    assert error.location is not None
    assert Path(error.location.file).name == "test_errors.py"
    assert error.location.text == Path(__file__).read_text().splitlines()[error.location.line - 1].strip()


def test_keys_are_blamed_on_group_by_and_aggregates_on_agg() -> None:
    for key, value, blamed in (("user", "value", ".group_by("), ("user_id", "valu", ".agg(")):
        topology = sp.Topology("t")
        (
            ready(topology)
            .group_by(minute, key)
            .agg(m=sp.mean(value))
        )  # fmt: skip
        with pytest.raises(sp.TopologyError, match="SP104") as caught:
            plan(topology)
        assert caught.value.location is not None
        assert caught.value.location.text.startswith(blamed)


def test_an_error_reads_like_this() -> None:
    topology = sp.Topology("t")
    ready(topology).filter(c("event_typ") == "click")
    with pytest.raises(sp.TopologyError) as caught:
        plan(topology)
    location = caught.value.location
    assert location is not None
    assert str(caught.value).splitlines() == [
        'error[SP104] unknown column "event_typ" in filter',
        f'  {location.file}:{location.line}   ready(topology).filter(c("event_typ") == "click")',
        "  columns here: event_id, user_id, timestamp, event_type, value, tags, place",
        '  fix: did you mean "event_type"?',
    ]


def test_what_is_wrong_on_several_streams_is_shown_together() -> None:
    topology = sp.Topology("t")
    stream = ready(topology)
    stream.filter(c("valu") > 1).drop("follows").write_delta("a")
    for n in range(12):
        stream.drop(f"gone{n}")
    with pytest.raises(sp.TopologyError) as caught:
        plan(topology)
    shown = [line for line in str(caught.value).splitlines() if line.startswith("error[")]
    assert shown == [
        'error[SP104] unknown column "valu" in filter',
        *(f'error[SP104] unknown column "gone{n}" in drop' for n in range(9)),
    ]


def test_steps_know_the_users_line() -> None:
    topology = sp.Topology("t")
    ready(topology).filter(c("value") > 7).write_delta("a")
    step = next(step for step in plan(topology).stages[0].steps if step.kind == "filter")
    assert step.location is not None
    assert 'filter(c("value") > 7)' in step.location.text


def test_a_side_table_is_named_at_the_topology() -> None:
    topology = sp.Topology("t", rejected="../r")
    read(topology).write_delta("a")
    with pytest.raises(sp.TopologyError, match=r"SP112") as caught:
        plan(topology)
    assert "sp.Topology(" in str(caught.value)


def test_a_stream_without_a_table_is_a_warning_with_its_line() -> None:
    topology = sp.Topology("t")
    stream = ready(topology)
    stream.write_delta("a")
    stream.filter(c("value") > 1)
    compiled = plan(topology)
    assert len(compiled.warnings) == 1
    assert 'stream.filter(c("value") > 1)' in compiled.warnings[0]
    assert [step.kind for step in compiled.stages[0].steps] == ["json", "with_watermark", "write_delta"]
