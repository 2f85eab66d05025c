"""Raw bronze, exploded silver and a window from one read: nested values, decimals, a function of the user's."""

import polars as pl

import streamproc as sp

ORDER = {
    "order": pl.String,
    "at": pl.Datetime,
    "total": pl.Decimal(12, 2),
    "items": pl.List(pl.Struct({"sku": pl.String, "n": pl.Int64})),
}


def pieces(frame: pl.DataFrame) -> pl.DataFrame:
    """Number of pieces of each order."""
    return frame.select("order", "at", "total", pieces=pl.col("items").list.eval(pl.element().struct["n"]).list.sum())


topology = sp.Topology("orders")
raw = topology.read_kafka("orders", format=sp.Raw(), partitioned_by="order")
raw.with_columns(date=pl.col("_timestamp").dt.date()).write_delta("bronze/orders", partition_by="date")
orders = raw.decode("value", sp.Json(ORDER, required=["order", "at"])).drop("key").with_watermark("at", lateness="20s")
orders.explode("items").unnest("items").rename({"n": "pieces"}).write_delta("silver/order_items")
(
    orders.map_batches(
        pieces, schema={"order": pl.String, "at": pl.Datetime, "total": pl.Decimal(12, 2), "pieces": pl.Int64}
    )
    .deduplicate("order", within="30s")
    .group_by(sp.tumbling("30s"), "order")
    .agg(n=sp.count(), pieces=sp.sum("pieces"), total=sp.sum("total"), dearest=sp.max("total"), spread=sp.std("pieces"))
    .filter(pl.col("n") > 0)
    .write_delta("gold/orders")
)
