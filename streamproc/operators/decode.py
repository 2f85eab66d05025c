"""Bytes to columns."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from streamproc import position
from streamproc.errors import DataError
from streamproc.formats.base import Decoded, Format
from streamproc.operators.base import OnFail, Result
from streamproc.operators.batch import Batch
from streamproc.operators.settle import Failure, settle


class Decode:
    """Decode messages.

    Args:
        format: how.
        column: a Binary or String column that the format's columns replace, in its place; None for the records' values.
        on_fail: for messages that can't be decoded; "warn" keeps them as rows with nulls in the format's columns.
        others: columns that stay.
    """

    def __init__(
        self, format: Format, column: str | None = None, on_fail: OnFail = "reject", others: Sequence[str] = ()
    ) -> None:
        self._format = format
        self._column = column
        self._on_fail = on_fail
        self._others = frozenset(others)

    def process(self, batch: Batch) -> Result:
        values = self._values(batch)
        decoded = self._format.decode(values)
        failed = [bad.index for bad in decoded.bad]
        reasons = {bad.index: Failure(bad.reason, bad.detail) for bad in decoded.bad}
        kept, frame = self._kept(batch, decoded)
        passed = batch.with_rows(self._join(kept, frame))
        return settle(
            batch, passed, failed, self._on_fail, why=lambda rows: [reasons[row] for row in rows], stop=self._stop
        )

    def _values(self, batch: Batch) -> Sequence[bytes | None]:
        if self._column is None:
            return batch.source.values
        values = batch.rows[self._column]
        return (values.cast(pl.Binary) if values.dtype == pl.String else values).to_list()

    def _kept(self, batch: Batch, decoded: Decoded) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Rows of the batch that are passed on, and their new columns."""
        if decoded.good is None:
            return batch.rows, decoded.rows
        if self._on_fail != "warn":
            return batch.rows[decoded.good], decoded.rows
        place = pl.repeat(None, batch.rows.height, dtype=pl.UInt32, eager=True)
        place = place.scatter(decoded.good, pl.int_range(len(decoded.good), dtype=pl.UInt32, eager=True))
        return batch.rows, decoded.rows.select(pl.all().gather(place))

    def _join(self, kept: pl.DataFrame, frame: pl.DataFrame) -> pl.DataFrame:
        new = frame.get_columns()
        columns = new if self._column is None else []
        for old in kept.get_columns():
            if old.name == self._column:
                columns += new
            elif old.name in self._others or old.name == position.COLUMN:
                columns.append(old)
        return pl.DataFrame(columns)

    def _stop(self, at: int, failure: Failure) -> DataError:
        return DataError(
            "SP601",
            f"a message can't be decoded: {failure.reason}",
            position=at,
            detail=[failure.detail],
            fix='mend the producer, or write on_fail="reject"',
        )
