"""Other columns, the same rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from streamproc.operators.base import Result
from streamproc.operators.batch import Batch
from streamproc.operators.evaluate import evaluate


def _with_visible(batch: Batch, frame: pl.DataFrame) -> Result:
    return Result(batch.with_rows(frame.with_columns(batch.positions)))


class Select:
    """The columns of `exprs` alone.

    Args:
        exprs: expressions over one row; a literal is repeated for each row.
        names: their output columns, in order.
        hidden: hidden columns that they use.
    """

    def __init__(self, exprs: Sequence[pl.Expr], names: Sequence[str], hidden: Sequence[str] = ()) -> None:
        self._exprs, self._names, self._hidden = exprs, list(names), hidden

    def process(self, batch: Batch) -> Result:
        return _with_visible(batch, evaluate(batch, self._exprs, self._hidden).select(self._names))


class WithColumns:
    """All columns, with those of `exprs` added or replaced.

    Args:
        exprs: expressions over one row.
        hidden: hidden columns that they use.
    """

    def __init__(self, exprs: Sequence[pl.Expr], hidden: Sequence[str] = ()) -> None:
        self._exprs, self._hidden = exprs, hidden

    def process(self, batch: Batch) -> Result:
        return _with_visible(batch, evaluate(batch, self._exprs, self._hidden))


class Drop:
    """All columns but these."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = columns

    def process(self, batch: Batch) -> Result:
        return Result(batch.with_rows(batch.rows.drop(self._columns)))


class Rename:
    """Columns under new names: old -> new."""

    def __init__(self, mapping: Mapping[str, str]) -> None:
        self._mapping = dict(mapping)

    def process(self, batch: Batch) -> Result:
        return Result(batch.with_rows(batch.rows.rename(self._mapping)))
