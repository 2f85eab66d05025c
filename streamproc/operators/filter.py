"""Rows for which all predicates are true."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from streamproc.operators.base import Result
from streamproc.operators.batch import Batch
from streamproc.operators.evaluate import true_for


class Filter:
    """Keep the rows for which every predicate is true; false and null are counted as "filtered".

    Args:
        predicates: Boolean expressions over one row.
        hidden: hidden columns that they use.
    """

    def __init__(self, predicates: Sequence[pl.Expr], hidden: Sequence[str] = ()) -> None:
        self._predicates, self._hidden = predicates, hidden

    def process(self, batch: Batch) -> Result:
        rows = batch.rows.filter(true_for(batch, self._predicates, self._hidden))
        filtered = batch.rows.height - rows.height
        return Result(batch.with_rows(rows), {"filtered": filtered} if filtered else {})
