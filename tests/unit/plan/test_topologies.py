"""Topologies as users write them compile to the stages, steps and tables they mean."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest

import streamproc as sp
from streamproc.plan import FAILED_SCHEMA, Plan, Seen, Stage, plan, render

UTC = pl.Datetime("us", "UTC")
HELD = "a partition without new messages holds its last ones"


def trucks() -> sp.Topology:
    reading = {"device_id": pl.String, "event_time": pl.Datetime, "site": pl.String, "temperature": pl.Float64}
    topology = sp.Topology("iot_trucks")
    raw = topology.read_kafka("sensor-data", format=sp.Raw(), partitioned_by="device_id")
    raw.with_columns(date=pl.col("_timestamp").dt.date()).write_delta("bronze/sensor_data", partition_by="date")
    readings = (
        raw.decode("value", sp.Json(reading, required=["device_id", "event_time"]))
        .with_watermark("event_time", lateness="10m")
        .expect("plausible", pl.col("temperature").is_between(-60, 80))
        .deduplicate("device_id", "event_time", within="10m")
    )
    readings.with_columns(date=pl.col("event_time").dt.date()).write_delta("silver/readings", partition_by="date")
    (
        readings.group_by(sp.tumbling("1h"), "device_id", "site")
        .agg(readings=sp.count(), too_hot=sp.count(where=pl.col("temperature") > 8), average=sp.mean("temperature"))
        .write_delta("gold/truck_hours", freshness="200ms")
    )
    return topology


def metrics() -> sp.Topology:
    event = {
        "event_id": pl.String,
        "user_id": pl.String,
        "timestamp": pl.Datetime,
        "event_type": pl.String,
        "value": pl.Float64,
    }
    topology = sp.Topology("realtime_metrics")
    events = (
        topology.read_kafka("events", format=sp.Json(event), partitioned_by="user_id")
        .with_watermark("timestamp", lateness="10s")
        .deduplicate("user_id", "event_id", within="10m")
    )
    events.write_delta("silver/events")
    (
        events.group_by(sp.tumbling("1m"), "event_type", "user_id")
        .agg(event_count=sp.count(), avg_value=sp.mean("value"))
        .with_columns(date=pl.col("window_start").dt.date(), hour=pl.col("window_start").dt.hour())
        .write_delta("gold/real_time_metrics", partition_by=["date", "hour"], freshness="200ms")
    )
    return topology


def archive() -> sp.Topology:
    item = pl.Struct({"sku": pl.String, "price": pl.Decimal(12, 2)})
    topology = sp.Topology("orders_archive")
    raw = topology.read_kafka(["orders", "orders-legacy"], format=sp.Raw())
    order = sp.Json({"order_id": pl.Int64, "items": pl.List(item)})
    raw.decode("value", order).explode("items").unnest("items").write_delta("silver/order_items")
    return topology


def chain(stage: Stage) -> list[tuple[str, str]]:
    """Each step with the one it reads from."""
    return [(step.id, stage.steps[step.parent].id if step.parent >= 0 else "") for step in stage.steps]


def builds(compiled: Plan) -> None:
    """Each step makes a fresh operator, a sink none."""
    for stage in compiled.stages:
        for step in stage.steps:
            assert (step.build is None) == (step.table is not None)
            if step.build:
                first, second = step.build(), step.build()
                assert first is not second
                assert hasattr(first, "process")


def test_raw_bronze_and_typed_silver_from_one_read() -> None:
    compiled = plan(trucks())
    (stage,) = compiled.stages
    builds(compiled)
    assert chain(stage) == [
        ("raw", ""),
        ("with_columns", "raw"),
        ("write_delta", "with_columns"),
        ("json", "raw"),
        ("with_watermark", "json"),
        ("expect:plausible", "with_watermark"),
        ("deduplicate", "expect:plausible"),
        ("with_columns-2", "deduplicate"),
        ("write_delta-2", "with_columns-2"),
        ("group_by", "deduplicate"),
        ("write_delta-3", "group_by"),
    ]
    assert stage.steps[1].hidden == ("_timestamp",)
    assert stage.interval == timedelta(milliseconds=200)
    assert compiled.tables["silver/readings"].columns == {
        "key": pl.Binary(),
        "device_id": pl.String(),
        "event_time": UTC,
        "site": pl.String(),
        "temperature": pl.Float64(),
        "date": pl.Date(),
    }
    assert list(compiled.tables["gold/truck_hours"].columns.items()) == [
        ("window_start", UTC),
        ("window_end", UTC),
        ("device_id", pl.String()),
        ("site", pl.String()),
        ("readings", pl.Int64()),
        ("too_hot", pl.Int64()),
        ("average", pl.Float64()),
    ]
    assert compiled.tables["iot_trucks__late"].columns == FAILED_SCHEMA
    assert {name: table.role for name, table in compiled.tables.items() if table.role != "output"} == {
        "iot_trucks__rejected": "rejected",
        "iot_trucks__late": "late",
    }


def test_steps_after_an_aggregate() -> None:
    compiled = plan(metrics())
    builds(compiled)
    gold = compiled.tables["gold/real_time_metrics"]
    assert gold.partition_by == ("date", "hour")
    assert gold.columns["hour"] == pl.Int8()
    assert compiled.task("events", 3) == "realtime_metrics/events/3"


def test_several_topics_are_one_stage_each_with_the_same_steps() -> None:
    compiled = plan(archive())
    builds(compiled)
    one, two = compiled.stages
    assert (one.topic, two.topic) == ("orders", "orders-legacy")
    assert chain(one) == chain(two) == [
        ("raw", ""),
        ("json", "raw"),
        ("explode", "json"),
        ("unnest", "explode"),
        ("write_delta", "unnest"),
    ]  # fmt: skip
    assert one.interval == timedelta(seconds=1)
    assert list(compiled.tables["silver/order_items"].columns) == ["key", "order_id", "sku", "price"]


def test_reads_of_one_topic_share_a_stage_and_a_step_where_the_format_is_the_same() -> None:
    topology = sp.Topology("t")
    for table in ("a", "b"):
        topology.read_kafka("events", format=sp.Json({"x": pl.Int64})).write_delta(table)
    topology.read_kafka("events", format=sp.Json({"y": pl.Int64})).write_delta("c")
    (stage,) = plan(topology).stages
    assert chain(stage) == [
        ("json", ""),
        ("write_delta", "json"),
        ("write_delta-2", "json"),
        ("json-3", ""),
        ("write_delta-3", "json-3"),
    ]


def test_a_name_pins_the_id() -> None:
    topology = sp.Topology("t")
    events = topology.read_kafka(
        "events", format=sp.Json({"u": pl.String, "at": pl.Datetime}), partitioned_by="u", name="events"
    ).with_watermark("at", lateness="1s")
    events.deduplicate("u", within="1s", name="mine").deduplicate("u", within="2s").write_delta("a")
    assert [step.id for step in plan(topology).stages[0].steps] == [
        "events",
        "with_watermark",
        "mine",
        "deduplicate-2",
        "write_delta",
    ]


def test_event_time_and_partition_column_follow_a_rename_and_a_selection() -> None:
    topology = sp.Topology("t")
    (
        topology.read_kafka(
            "e", format=sp.Json({"u": pl.String, "at": pl.Datetime, "n": pl.UInt32}), partitioned_by="u"
        )
        .with_watermark("at", lateness="1s")
        .rename({"at": "time"})
        .select(pl.col("u").alias("who"), "time", "n")
        .map_batches(lambda frame: frame, schema={"who": pl.String, "time": pl.Datetime, "n": pl.UInt32})
        .deduplicate("who", within="1m")
        .group_by(sp.tumbling("1m"), "who")
        .agg(n=sp.sum("n"))
        .group_by(sp.tumbling("1h"), "who")
        .agg(n=sp.sum("n"))
        .write_delta("a")
    )
    compiled = plan(topology)
    builds(compiled)
    assert "by time" in compiled.stages[0].steps[5].signature
    assert list(compiled.tables["a"].columns) == ["window_start", "window_end", "who", "n"]
    assert compiled.warnings == (f"a appears 1h1m + 1s after a window starts; {HELD}",)


def test_a_partition_column_may_be_made_from_the_key() -> None:
    topology = sp.Topology("t")
    (
        topology.read_kafka("e", format=sp.Json({"at": pl.Datetime}), partitioned_by="u")
        .with_columns(u=pl.col("_key").cast(pl.String))
        .with_watermark("at", lateness="1s")
        .deduplicate("u", within="1m")
        .write_delta("a")
    )
    assert plan(topology).stages[0].steps[1].hidden == ("_key",)


@pytest.mark.parametrize("make", [trucks, metrics, archive])
def test_a_plan_is_the_same_each_time(make: object) -> None:
    one, two = plan(make()), plan(make())  # type: ignore[operator]
    assert [stage.fingerprint for stage in one.stages] == [stage.fingerprint for stage in two.stages]
    assert one.tables == two.tables


def test_the_plan_as_text_offline() -> None:
    assert render(plan(metrics())).splitlines() == [
        "realtime_metrics: 1 stage, tasks unknown (Kafka was not asked), 1 topic, 4 tables. Nothing was changed.",
        "stage 1  events, partitions unknown, first start: earliest",
        "  json          5 columns; timestamp -> UTC microseconds",
        "  watermark     timestamp, 10s late, at most 1h ahead",
        '  deduplicate   user_id, event_id within 10m   state "deduplicate"   local (user_id)',
        "  -> silver/events                             5 columns",
        '  group_by      1m window, event_type, user_id   state "group_by"   local (user_id)',
        "  with_columns  date, hour",
        "  -> gold/real_time_metrics                    8 columns, by date, hour",
        "  -> realtime_metrics__rejected                9 columns, rejected rows",
        "  -> realtime_metrics__late                    9 columns, late rows",
        "! gold/real_time_metrics appears 1m + 10s after a window starts; " + HELD,
    ]


def test_the_plan_as_text_with_what_was_seen() -> None:
    seen = Seen({"sensor-data": 4}, tables={"gold/truck_hours": "exists (version 812), schema matches"})
    assert render(plan(trucks()), facts=seen).splitlines()[:-3] == [
        "iot_trucks: 1 stage, 4 tasks, 1 topic, 5 tables. Nothing was changed.",
        "stage 1  sensor-data, 4 partitions, first start: earliest",
        "  raw           key, value as bytes",
        "  - with_columns  date",
        "    -> bronze/sensor_data                      3 columns, by date",
        "  - json          value: 4 columns; event_time -> UTC microseconds",
        "    watermark     event_time, 10m late, at most 1h ahead",
        '    expect        "plausible": temperature.is_between([-60, 80]), else reject',
        '    deduplicate   device_id, event_time within 10m   state "deduplicate"   local (device_id)',
        "    - with_columns  date",
        "      -> silver/readings                       6 columns, by date",
        '    - group_by      1h window, device_id, site   state "group_by"   local (device_id)',
        "      -> gold/truck_hours                      exists (version 812), schema matches",
    ]
