"""Records as they are: the source step of `Raw()`."""

from __future__ import annotations

import polars as pl

from streamproc.operators.base import Result
from streamproc.operators.batch import Batch


class ReadRaw:
    """Columns `key` and `value` (Binary), one row a record; null where the record has none."""

    def process(self, batch: Batch) -> Result:
        source = batch.source
        return Result(batch.with_rows(pl.DataFrame([source.key_series, source.value_series, source.positions])))
