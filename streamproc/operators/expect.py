"""Rows that must satisfy a predicate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from streamproc.errors import DataError
from streamproc.formats.base import clip
from streamproc.operators.base import OnFail, Result
from streamproc.operators.batch import Batch
from streamproc.operators.evaluate import judged
from streamproc.operators.settle import Failure, settle

_PREDICATE_LENGTH_MAX = 120
_VALUE_LENGTH_MAX = 40


class Expect:
    """Pass on what satisfies the predicate; false, null and what it can't be computed for fail, as "expectation".

    Args:
        name: what the user calls the expectation.
        predicate: Boolean expression over one row.
        hidden: hidden columns that it uses.
        on_fail: what becomes of the others.
    """

    def __init__(self, name: str, predicate: pl.Expr, hidden: Sequence[str] = (), on_fail: OnFail = "reject") -> None:
        self._name = name
        self._predicate = predicate
        self._hidden = hidden
        self._on_fail = on_fail

    def process(self, batch: Batch) -> Result:
        good, wrong = judged(batch, self._predicate, self._hidden)
        failed = (~good).arg_true().to_list()
        passed = batch if self._on_fail == "warn" or not failed else batch.with_rows(batch.rows.filter(good))
        return settle(
            batch, passed, failed, self._on_fail, why=lambda rows: self._why(batch, rows, wrong), stop=self._stop
        )

    def _why(self, batch: Batch, rows: Sequence[int], wrong: Mapping[int, str]) -> list[Failure]:
        untrue = iter(self._untrue(batch, [row for row in rows if row not in wrong]))
        return [
            Failure("expectation", clip(f'"{self._name}": {wrong[row]}') if row in wrong else next(untrue))
            for row in rows
        ]

    def _untrue(self, batch: Batch, rows: Sequence[int]) -> list[str]:
        names = list(dict.fromkeys(self._predicate.meta.root_names()))
        some = batch.with_rows(batch.rows[list(rows)])
        values = some.with_hidden(self._hidden).select(names)
        text = f'"{self._name}" is not true: {clip(str(self._predicate), _PREDICATE_LENGTH_MAX)}'
        if not names:
            return [clip(text)] * len(rows)
        return [clip("; ".join([text, *map(_shown, names, row)])) for row in values.iter_rows()]

    def _stop(self, at: int, failure: Failure) -> DataError:
        return DataError(
            "SP602",
            f'expectation "{self._name}" failed',
            position=at,
            detail=[failure.detail],
            fix='write on_fail="reject"',
        )


def _shown(name: str, value: object) -> str:
    return f"{name} = {'null' if value is None else clip(str(value), _VALUE_LENGTH_MAX)}"
