"""Lists to rows, structs to columns."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from streamproc.errors import DataError
from streamproc.operators.base import Result
from streamproc.operators.batch import Batch


class Explode:
    """A row for each element of the lists or arrays in these columns; all have their record's position.

    A null or empty list gives one row with null. Several columns are exploded together: in each row their lists must be
    of one length, null and empty counting as one.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = list(columns)

    def process(self, batch: Batch) -> Result:
        lists = [name for name in self._columns if isinstance(batch.rows.schema[name], pl.Array)]
        batch = batch.with_rows(batch.rows.with_columns(pl.col(lists).arr.to_list())) if lists else batch
        rows = batch.rows
        if len(self._columns) > 1:
            self._check(batch)
            rows = rows.with_columns(_never_empty(name, rows.schema[name]) for name in self._columns)
        return Result(batch.with_rows(rows.explode(self._columns, empty_as_null=True, keep_nulls=True)))

    def _check(self, batch: Batch) -> None:
        lengths = batch.rows.select(pl.col(name).list.len().fill_null(0).clip(1) for name in self._columns)
        first = lengths.to_series()
        differs = lengths.select(pl.any_horizontal(pl.all() != first)).to_series()
        row = differs.arg_max() if differs.any() else None
        if row is not None:
            sizes = ", ".join(f"{name} {size}" for name, size in lengths.row(row, named=True).items())
            raise DataError(
                "SP606",
                "lists of different lengths in one explode",
                position=int(batch.positions[row]),
                skippable=not batch.aggregated,
                detail=[f"elements: {sizes}"],
                fix="explode them one after the other, or keep such rows away with a filter on list.len()",
            )


def _never_empty(name: str, dtype: pl.DataType) -> pl.Expr:
    """Null and empty lists as [null]: to Polars their lengths differ."""
    return pl.when(pl.col(name).list.len() > 0).then(pl.col(name)).otherwise(pl.lit(pl.Series([[None]], dtype=dtype)))


class Unnest:
    """The fields of these structs as columns, in their place; a null struct gives nulls."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = list(columns)

    def process(self, batch: Batch) -> Result:
        return Result(batch.with_rows(batch.rows.unnest(self._columns)))
