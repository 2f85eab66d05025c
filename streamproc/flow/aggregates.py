"""Aggregates over the rows of a window. All are mergeable: partial results of batches are combined in any order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import polars as pl

Value = str | pl.Expr
"""A column or an expression over one row."""

Kind = Literal["count", "sum", "mean", "min", "max", "std", "var", "first", "last"]


@dataclass(frozen=True, slots=True)
class Aggregate:
    """What to compute for each group; made by the functions of this module.

    Args:
        kind: which aggregate.
        value: over what; None only for `count`.
        where: only rows for which this is true take part.
        ddof: for std and var: the divisor is n - ddof.
    """

    kind: Kind
    value: pl.Expr | None = None
    where: pl.Expr | None = None
    ddof: int = 1


def _of(kind: Kind, value: Value | None, where: pl.Expr | None, ddof: int = 1) -> Aggregate:
    return Aggregate(kind, pl.col(value) if isinstance(value, str) else value, where, ddof)


def count(value: Value | None = None, *, where: pl.Expr | None = None) -> Aggregate:
    """Number of rows, or of non-null values (Int64).

    >>> count().kind
    'count'
    """
    return _of("count", value, where)


def sum(value: Value, *, where: pl.Expr | None = None) -> Aggregate:
    """Sum of non-null values: Int64 for integers (an overflow stops the run), Float64 for floats, decimals stay exact.
    0 where there are none."""
    return _of("sum", value, where)


def mean(value: Value, *, where: pl.Expr | None = None) -> Aggregate:
    """Mean of non-null values (Float64), null where there are none."""
    return _of("mean", value, where)


def min(value: Value, *, where: pl.Expr | None = None) -> Aggregate:
    """Smallest non-null value, null where there are none."""
    return _of("min", value, where)


def max(value: Value, *, where: pl.Expr | None = None) -> Aggregate:
    """Largest non-null value, null where there are none."""
    return _of("max", value, where)


def std(value: Value, *, ddof: int = 1, where: pl.Expr | None = None) -> Aggregate:
    """Standard deviation (Float64), null where there are not more than `ddof` values."""
    return _of("std", value, where, ddof)


def var(value: Value, *, ddof: int = 1, where: pl.Expr | None = None) -> Aggregate:
    """Variance (Float64), null where there are not more than `ddof` values."""
    return _of("var", value, where, ddof)


def first(value: Value, *, where: pl.Expr | None = None) -> Aggregate:
    """Value of the earliest row, null included: by event time, then position."""
    return _of("first", value, where)


def last(value: Value, *, where: pl.Expr | None = None) -> Aggregate:
    """Value of the latest row, null included: by event time, then position."""
    return _of("last", value, where)
