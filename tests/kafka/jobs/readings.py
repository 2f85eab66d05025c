"""Silver and gold from sensor readings: the job of the crash tests."""

import polars as pl

import streamproc as sp

READING = {"id": pl.Int64, "device": pl.String, "at": pl.Datetime, "celsius": pl.Float64}

topology = sp.Topology("readings")
readings = (
    topology.read_kafka("readings", format=sp.Json(READING, required=["device"]), partitioned_by="device")
    .with_watermark("at", lateness="20s")
    .expect("plausible", pl.col("celsius").is_between(-60, 80))
    .deduplicate("device", "at", within="1m")
)
readings.with_columns(partition=pl.col("_partition"), offset=pl.col("_offset")).write_delta(
    "silver/readings", freshness="200ms"
)
(
    readings.group_by(sp.tumbling("10s"), "device")
    .agg(n=sp.count(), hot=sp.count(where=pl.col("celsius") > 20), total=sp.sum("celsius"), last=sp.last("id"))
    .write_delta("gold/device_windows")
)
