"""Small frames of made-up values, to try expressions on."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import polars as pl

_ORDER = (0, 1, 2, None, 1, 0)


def sample(columns: dict[str, pl.DataType], *, nulls: bool = False) -> pl.DataFrame:
    """A frame of these columns with a few rows: different values, repeated ones and nulls, or nothing but nulls."""
    order = (None,) * len(_ORDER) if nulls else _ORDER
    return pl.DataFrame([_series(name, dtype, order) for name, dtype in columns.items()])


def _series(name: str, dtype: pl.DataType, order: tuple[int | None, ...]) -> pl.Series:
    try:
        return pl.Series(name, [None if i is None else _values(dtype)[i] for i in order], dtype=dtype, strict=False)
    except (pl.exceptions.PolarsError, TypeError, ValueError, OverflowError):
        return pl.Series(name, [None] * len(order), dtype=dtype)


def _values(dtype: pl.DataType) -> list[Any]:
    """Three different values of a type."""
    match dtype:
        case pl.List():
            a, b, c = _values(_inner(dtype))
            return [[a, b, c], [b], []]
        case pl.Array():
            return [[value] * dtype.size for value in _values(_inner(dtype))]
        case pl.Struct():
            fields = [(field.name, _values(_made(field.dtype))) for field in dtype.fields]
            return [{name: values[i] for name, values in fields} for i in range(3)]
        case pl.Enum():
            names = dtype.categories.to_list() or [None]
            return [names[i % len(names)] for i in range(3)]
    for kind, values in _SCALARS.items():
        if dtype == kind:
            return values
    return [1, 2, 3] if dtype.is_numeric() else [None, None, None]


_SCALARS: dict[type[pl.DataType], list[Any]] = {
    pl.Boolean: [True, False, True],
    pl.String: ["a", "b", "10"],
    pl.Categorical: ["a", "b", "10"],
    pl.Binary: [b"a", b"b", b"{}"],
    pl.Float64: [1.5, -2.0, 3.0],
    pl.Float32: [1.5, -2.0, 3.0],
    pl.Decimal: [Decimal("1.5"), Decimal(-2), Decimal(3)],
    pl.Date: [date(2024, 1, 1), date(2024, 2, 29), date(1969, 12, 31)],
    pl.Datetime: [datetime(2024, 1, day, 10, day, tzinfo=UTC) for day in (1, 2, 3)],
    pl.Time: [time(1), time(2, 30), time(23)],
    pl.Duration: [timedelta(seconds=1), timedelta(hours=1), timedelta(days=-1)],
}


def _inner(dtype: pl.List | pl.Array) -> pl.DataType:
    return _made(dtype.inner)


def _made(dtype: Any) -> pl.DataType:
    return dtype() if isinstance(dtype, type) else dtype  # type: ignore[no-any-return]
