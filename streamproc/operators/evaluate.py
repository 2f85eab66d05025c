"""Expressions over the rows of a batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from streamproc.errors import DataError
from streamproc.formats.base import clip
from streamproc.operators.batch import HIDDEN, Batch

_RAISED = (pl.exceptions.PolarsError, pl.exceptions.PanicException)
_ONE_BY_ONE = 16
"""Rows of a range that fails are looked at one by one from here on down: halving further would cost as much again."""


def evaluate(batch: Batch, exprs: Sequence[pl.Expr], hidden: Sequence[str]) -> pl.DataFrame:
    """The user's columns with the results of `exprs`, one value a row: literals are repeated, equal names replaced.

    Args:
        hidden: the hidden columns that `exprs` use. Only an expression that names one sees them: they are no part of
            `*`.

    Raises:
        DataError: SP611, an expression fails; the position is that of the first row at which one does.
    """
    try:
        return _evaluate(batch, exprs, hidden)
    except _RAISED as error:
        raise _failed(batch, exprs, hidden, error) from error


def _evaluate(batch: Batch, exprs: Sequence[pl.Expr], hidden: Sequence[str]) -> pl.DataFrame:
    frame = batch.visible
    naming = [not HIDDEN.keys().isdisjoint(expr.meta.root_names()) for expr in exprs] if hidden else []
    if not any(naming):
        return frame.with_columns(exprs)
    plain = [expr for expr, names in zip(exprs, naming, strict=True) if not names]
    looking = [expr for expr, names in zip(exprs, naming, strict=True) if names]
    found = batch.with_hidden(hidden).with_columns(looking).select(expr.meta.output_name() for expr in looking)
    order = list(frame.columns)
    for expr, names in zip(exprs, naming, strict=True):
        order += [expr.meta.output_name()] if names else frame.clear().select(expr).columns
    return frame.with_columns(plain).with_columns(found.get_columns()).select(list(dict.fromkeys(order)))


def true_for(batch: Batch, predicates: Sequence[pl.Expr], hidden: Sequence[str]) -> pl.Series:
    """For which rows all predicates are true; null counts as false (Boolean, no nulls)."""
    names = [f"__{i}" for i in range(len(predicates))]
    tests = [pl.all_horizontal(test).alias(name) for test, name in zip(predicates, names, strict=True)]
    return evaluate(batch, tests, hidden).select(pl.all_horizontal(names).fill_null(False)).to_series()


def judged(batch: Batch, predicate: pl.Expr, hidden: Sequence[str]) -> tuple[pl.Series, dict[int, str]]:
    """For which rows a predicate is true (Boolean, no nulls), and what is wrong at those rows where it fails.

    Ranges that fail are halved, so it takes little more than one evaluation for each row, however many fail.
    """
    frame = batch.with_hidden(hidden) if hidden else batch.visible
    test = pl.all_horizontal(predicate).fill_null(False).alias("test")
    good = np.zeros(frame.height, np.bool_)
    wrong: dict[int, str] = {}
    pending = [(0, frame.height)] if frame.height else []
    while pending:
        start, height = pending.pop()
        rows = frame.slice(start, height)
        try:
            # A literal is repeated by with_columns only; select costs less.
            result = rows.select(test) if height == 1 else rows.with_columns(test)
            good[start : start + height] = result["test"].to_numpy()
        except _RAISED as error:
            if height == 1:
                wrong[start] = _first_line(error)
                continue
            size = 1 if height <= _ONE_BY_ONE else -(-height // 2)
            parts = [(at, min(size, start + height - at)) for at in range(start, start + height, size)]
            pending += reversed(parts)
    return pl.Series(good), wrong


def _first_line(error: BaseException) -> str:
    return clip(next((line for line in str(error).splitlines() if line.strip()), ""))


def _failed(batch: Batch, exprs: Sequence[pl.Expr], hidden: Sequence[str], error: BaseException) -> DataError:
    """The error of the first row at which the expressions fail: found by halving, so log(n) evaluations for n rows."""

    def attempt(start: int, stop: int) -> BaseException | None:
        try:
            _evaluate(batch.with_rows(batch.rows.slice(start, stop - start)), exprs, hidden)
        except _RAISED as raised:
            return raised
        return None

    row, stop = 0, batch.rows.height
    while stop - row > 1:
        middle = (row + stop) // 2
        row, stop = (row, middle) if attempt(row, middle) else (middle, stop)
    # Of that row alone: the text for a batch would depend on what else is in it.
    text = _first_line(attempt(row, stop) or error)
    return DataError(
        "SP611",
        "an expression fails at a row",
        position=int(batch.positions[row]),
        skippable=not batch.aggregated,
        detail=[text],
        fix="cast with strict=False, or leave such rows out before",
    )
