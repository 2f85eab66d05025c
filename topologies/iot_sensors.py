"""Truck sensors: typed, plausible readings without duplicates (silver), and one row a truck and minute (gold)."""

import polars as pl

import streamproc as sp

READING = {
    "device_id": pl.String,
    "event_time": pl.Datetime,
    "site": pl.String,
    "temperature": pl.Float64,
    "battery": pl.Int64,
    "location": pl.Struct({"lat": pl.Float64, "lon": pl.Float64}),
}

topology = sp.Topology("iot_sensors")

readings = (
    topology.read_kafka(
        "sensor-data", format=sp.Json(READING, required=["device_id", "event_time"]), partitioned_by="device_id"
    )
    .with_watermark("event_time", lateness="30s", ahead="1h")
    .expect("plausible", pl.col("temperature").is_between(-60, 80))
    .deduplicate("device_id", "event_time", within="10m")
)
readings.with_columns(date=pl.col("event_time").dt.date()).write_delta("silver/readings", partition_by="date")

(
    readings.group_by(sp.tumbling("1m"), "device_id")
    .agg(
        readings=sp.count(),
        too_warm=sp.count(where=pl.col("temperature") > 8),
        average=sp.mean("temperature"),
        warmest=sp.max("temperature"),
        battery=sp.last("battery"),
    )
    .write_delta("gold/truck_minutes")
)
