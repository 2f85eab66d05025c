"""A user's function over frames. By contract it works row by row: what it makes of a row depends on that row alone."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from types import MappingProxyType

import polars as pl

from streamproc.errors import DataError, Location
from streamproc.formats.base import clip
from streamproc.operators.base import OnFail, Result
from streamproc.operators.batch import Batch
from streamproc.operators.settle import Failure, settle

Function = Callable[[pl.DataFrame], pl.DataFrame]

_RAISED = (Exception, SystemExit, pl.exceptions.PanicException)
_ROW_WISE = (
    "compute each row from that row alone (map_batches works row by row), and aggregate with group_by(...).agg(...)"
)


class MapBatches:
    """Call a function with the visible columns; what it returns takes their place.

    Args:
        function: frame in, frame of the same height and order out. Never called without rows. It is called again with
            parts of a batch to find the rows at which it raises, and once after a start to see whether cuts change its
            result.
        schema: the columns it returns, exactly; their order is this one.
        on_fail: for rows at which it raises; "warn" keeps them with nulls.
        trusted: columns of input and result whose values it must not change -> what they are, in words.
    """

    def __init__(
        self,
        function: Function,
        schema: Mapping[str, pl.DataType],
        on_fail: OnFail = "stop",
        trusted: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._function = function
        self._schema = dict(schema)
        self._on_fail = on_fail
        self._trusted = trusted
        self._compared = False

    def process(self, batch: Batch) -> Result:
        """See `Operator`.

        Raises:
            DataError: SP603 the function raised and on_fail is "stop", SP604 its result depends on where batches are
                cut, SP605 it is not a frame of the declared schema and the same height,
                or has other values where they were trusted to stay.
        """
        rows, failed = self._outcome(batch)
        if not failed and not self._compared and rows.height > 1:
            self._compare(batch, rows)
            self._compared = True
        kept = batch.positions
        if failed and self._on_fail != "warn":
            kept = kept.filter(pl.Series([row not in failed for row in range(len(kept))]))
        passed = batch.with_rows(rows.with_columns(kept))
        return settle(
            batch,
            passed,
            list(failed),
            self._on_fail,
            why=lambda some: [Failure("user_function", self._text(failed[row])) for row in some],
            stop=lambda *_: self._raised(batch, *next(iter(failed.items()))),
        )

    def _outcome(self, batch: Batch) -> tuple[pl.DataFrame, dict[int, BaseException]]:
        """Rows of all that the function takes, in order, and the rows at which it raises: found by halving."""
        frame = batch.visible
        pieces = [pl.DataFrame(schema=self._schema)]
        failed: dict[int, BaseException] = {}
        raised: BaseException | None = None
        pending = [(0, frame.height)] if frame.height else []
        while pending:  # at most 2n turns
            start, height = pending.pop()
            given = frame.slice(start, height)
            try:
                piece = self._function(given)
            except _RAISED as error:
                raised = error
                if height > 1:
                    half = height // 2
                    pending += [(start + half, height - half), (start, half)]
                    continue
                if self._on_fail == "stop":
                    raise self._raised(batch, start, error) from error
                failed[start] = error
                if self._on_fail == "warn":
                    pieces.append(pl.DataFrame({name: [None] for name in self._schema}, schema=self._schema))
                continue
            pieces.append(self._checked(piece, given, batch.positions.slice(start, height)))
        if raised and not failed:
            detail = f"it raises for {frame.height} rows, but not for parts of them"
            raise self._depends_on_cuts(batch, detail) from raised
        return pl.concat(pieces), failed

    def _compare(self, batch: Batch, rows: pl.DataFrame) -> None:
        """Call the function again, with the batch in two pieces."""
        frame, half = batch.visible, batch.rows.height // 2
        try:
            parts = frame.slice(0, half), frame.slice(half)
            pieces = [self._function(part) for part in parts]
        except _RAISED as error:
            raise self._depends_on_cuts(batch, "it raises for a part of rows that it took together") from error
        for piece, part, start in zip(pieces, parts, (0, half), strict=True):
            expected = rows.slice(start, part.height)
            again = self._checked(piece, part, batch.positions.slice(start, part.height))
            if not again.equals(expected):
                names = [name for name in self._schema if not again[name].equals(expected[name], null_equal=True)]
                raise self._depends_on_cuts(batch, f"different for the same rows: {', '.join(names)}")

    def _checked(self, piece: object, given: pl.DataFrame, positions: pl.Series) -> pl.DataFrame:
        """The function's result with its columns in order, if it is what was declared."""
        at, height = int(positions[0]), given.height
        if not isinstance(piece, pl.DataFrame):
            raise _wrong_result(at, f"it returned {type(piece).__name__}", "return a polars.DataFrame")
        missing = [name for name in self._schema if name not in piece.columns]
        extra = [name for name in piece.columns if name not in self._schema]
        if missing or extra:
            columns = f"missing: {', '.join(missing) or 'none'}; not declared: {', '.join(extra) or 'none'}"
            raise _wrong_result(
                at, columns, "return the declared columns, such as with .select(...), or declare others"
            )
        types = [f"{n} is {piece.schema[n]}, declared {t}" for n, t in self._schema.items() if piece.schema[n] != t]
        if types:
            raise _wrong_result(at, "; ".join(types), "cast in the function: frame.cast({...}), or declare these types")
        if piece.height != height:
            raise _wrong_result(
                at,
                f"{height} rows in, {piece.height} out",
                "keep every row; for more, return a list column and explode it; for fewer, return a null and filter it",
            )
        for name, role in self._trusted.items():
            if not piece[name].equals(given[name], null_equal=True):
                raise self._changed(name, role, given[name], piece[name], positions)
        return piece.select(list(self._schema))

    def _changed(self, name: str, role: str, before: pl.Series, after: pl.Series, positions: pl.Series) -> DataError:
        row = before.ne_missing(after).arg_max() or 0
        detail = f'it changed "{name}", {role}: steps after it need that as it was'
        move = ", or write with_watermark after map_batches" if "time" in role else ""
        return _wrong_result(int(positions[row]), detail, f"give the new values another name{move}")

    def _raised(self, batch: Batch, row: int, error: BaseException) -> DataError:
        return DataError(
            "SP603",
            f"a function of map_batches raised {type(error).__name__}",
            position=int(batch.positions[row]),
            skippable=not batch.aggregated,
            detail=[clip(str(error))],
            location=self._location(error),
            fix='mend it, or write on_fail="reject"',
        )

    def _depends_on_cuts(self, batch: Batch, detail: str) -> DataError:
        return DataError(
            "SP604",
            "the function's result depends on where batches are cut",
            position=int(batch.positions[0]),
            skippable=False,
            detail=[f"function {getattr(self._function, '__name__', self._function)}: {clip(detail)}"],
            fix=_ROW_WISE,
        )

    def _text(self, error: BaseException) -> str:
        at = self._location(error)
        return clip(f"{type(error).__name__} at {at.file}:{at.line}: {error}")

    def _location(self, error: BaseException) -> Location:
        """The last line in the function's own file, else the last line at all."""
        frames = traceback.extract_tb(error.__traceback__)
        code = getattr(self._function, "__code__", None)
        own = [frame for frame in frames if code and frame.filename == code.co_filename]
        last = (own or list(frames))[-1]
        return Location(last.filename, last.lineno or 0, last.line or "")


def _wrong_result(at: int, detail: str, fix: str) -> DataError:
    message = "a function of map_batches returned something else than declared"
    return DataError("SP605", message, position=at, skippable=False, detail=[clip(detail)], fix=fix)
