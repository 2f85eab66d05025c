"""What steps with event times share: the rows that they put aside, with the reason in words."""

from __future__ import annotations

import numpy as np
import polars as pl

from streamproc import position
from streamproc.operators.batch import TIME, Batch, Watermarks

FIRST, LAST = -62_135_596_800_000_000, 253_402_300_799_999_999
"""Years 1 to 9999 in microseconds: what lies outside has no text that people know."""


def moment(us: pl.Expr) -> pl.Expr:
    """Microseconds since 1970 as people read them: "2024-05-01 08:51:00.250000Z".

    >>> pl.select(moment(pl.lit(-1, pl.Int64))).item()
    '1969-12-31 23:59:59.999999Z'
    """
    text = us.clip(FIRST, LAST).cast(TIME).dt.strftime("%F %T%.6fZ")
    return pl.when(us.is_between(FIRST, LAST)).then(text).otherwise(pl.concat_str(us, pl.lit("us since 1970")))


def put_aside(batch: Batch, index: np.ndarray, reason: str, detail: pl.Series) -> pl.DataFrame | None:
    """Rows of a batch for `<topology>__rejected` or `<topology>__late`; None if there are none.

    Args:
        batch: the rows before any were taken out.
        index: which of them.
        reason: reason code.
        detail: String, one for each.
    """
    if not len(index):
        return None
    rows = batch.rows[index]
    frame = rows.select(position.COLUMN, pl.lit(reason).alias("reason"), detail.alias("detail"))
    if batch.aggregated:  # such a row is in no record: it is kept as JSON
        columns = [
            pl.col(name).bin.encode("base64") if dtype == pl.Binary else pl.col(name)
            for name, dtype in batch.visible.schema.items()
        ]
        value = rows.select(pl.struct(columns).struct.json_encode().cast(pl.Binary).alias("value"))
        frame = frame.with_columns(value)
    return frame


def without_null_times(batch: Batch, column: str) -> tuple[Batch, pl.DataFrame | None]:
    """The rows that have an event time, and the others as rejected rows (None if there are none)."""
    times = batch.rows[column]
    if not times.null_count():
        return batch, None
    null = np.flatnonzero(times.is_null().to_numpy())
    detail = pl.repeat(f'event time "{column}" is null', len(null), dtype=pl.String, eager=True)
    rejected = put_aside(batch, null, "event_time_null", detail)
    return batch.with_rows(batch.rows.filter(times.is_not_null())), rejected


def together(*frames: pl.DataFrame | None) -> pl.DataFrame | None:
    """Rows put aside for several reasons, by position; None if there are none."""
    some = [frame for frame in frames if frame is not None]
    return pl.concat(some).sort(position.COLUMN, maintain_order=True) if some else None


def running(batch: Batch) -> Watermarks:
    """The running watermark of a batch; `plan` refuses steps that need one before `with_watermark`."""
    assert batch.watermarks is not None
    return batch.watermarks
