"""Text to timestamps, dates and decimals, vectorised; also where these are nested in structs and lists.

A value that can't be converted becomes null; `count_nulls` before and after finds the rows where that happened. Every
result depends on its own value alone, never on its neighbours (law 1): no format is inferred from a batch.
"""

from __future__ import annotations

import polars as pl

from streamproc.formats.types import fields_of, inner_of, wire_type
from streamproc.operators.batch import TIME

SECONDS_BELOW = 10**11
"""A number of smaller magnitude counts seconds (up to the year 5138)."""
MILLISECONDS_BELOW = 10**14
"""A number of smaller magnitude counts milliseconds, any larger one microseconds."""

_YEAR_1 = -62_135_596_800_000_000
_YEAR_9999_END = 253_402_300_799_999_999

_DAY = r"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
_CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
_ZONE = r"Z|z|[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?"
_DATE = rf"^{_DAY}$"
_ISO = rf"^{_DAY}[T ]{_CLOCK}(?:\.[0-9]{{1,9}})?(?:{_ZONE})?$"
_INTEGER = r"^-?[0-9]{1,18}$"
_FLOAT = r"^-?[0-9]{1,18}\.[0-9]+$"
_NUMBER = r"^-?[0-9]+(?:\.[0-9]+)?$"


def converts(dtype: pl.DataType) -> bool:
    """True if values of this type are not read as they are."""
    return wire_type(dtype) != dtype


def convert(expr: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Values read as `wire_type(dtype)` as `dtype`; null where that is impossible."""
    if isinstance(dtype, pl.Struct):
        changed = {name: field for name, field in fields_of(dtype).items() if converts(field)}
        return expr.struct.with_fields(
            [convert(expr.struct.field(name), field).alias(name) for name, field in changed.items()]
        )
    if isinstance(dtype, pl.List):
        return expr.list.eval(convert(pl.element(), inner_of(dtype)))
    return expr.map_batches(lambda values: convert_series(values, dtype), return_dtype=dtype, is_elementwise=True)


def convert_series(values: pl.Series, dtype: pl.DataType) -> pl.Series:
    """As `convert`, for a column that is neither struct nor list."""
    match dtype:
        case pl.Datetime():
            return timestamps(values)
        case pl.Date():
            days = _only(values, values.str.contains(_DATE)).str.to_date("%Y-%m-%d", strict=False)
            return _only(days, days.dt.year() >= 1)
        case pl.Decimal():
            return _decimals(values, dtype)
        case pl.Float32():
            small = values.cast(pl.Float32)
            return _only(small, small.is_finite())
    return values.cast(dtype, strict=False)


def count_nulls(expr: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Number of nulls in each row's value, at all depths (UInt32)."""
    if isinstance(dtype, pl.Struct):
        counts = [count_nulls(expr.struct.field(name), field) for name, field in fields_of(dtype).items()]
        return pl.sum_horizontal(counts)
    if isinstance(dtype, pl.List):
        return expr.list.eval(count_nulls(pl.element(), inner_of(dtype))).list.sum().fill_null(0)
    return expr.is_null().cast(pl.UInt32)


def timestamps(values: pl.Series) -> pl.Series:
    """Text to `TIME`: numbers since 1970 by magnitude (`SECONDS_BELOW`, `MILLISECONDS_BELOW`), ISO-8601 with T or
    space, up to 9 digits of fraction (cut to microseconds), "Z", an offset or none (UTC), or a date alone.

    >>> timestamps(pl.Series(["2026-01-01T01:00:00+01:00", "1767225600", "soon"])).dt.to_string().to_list()
    ['2026-01-01 00:00:00.000000+00:00', '2026-01-01 00:00:00.000000+00:00', None]
    """
    out = pl.repeat(None, len(values), dtype=pl.Int64, eager=True)
    left = values
    for pattern, parse in ((_ISO, _iso), (_INTEGER, _integers), (_FLOAT, _floats), (_DATE, _dates)):
        match = left.str.contains(pattern)
        if match.all():  # nulls don't count: nothing else is left, as in most batches at once
            out = parse(left).zip_with(left.is_not_null(), out) if left is not values else parse(left)
            break
        if match.any():
            match = match.fill_null(False)
            out = parse(_only(left, match)).zip_with(match, out)
            left = _only(left, ~match)
    in_range = out.is_between(_YEAR_1, _YEAR_9999_END)
    return (out if in_range.all() else _only(out, in_range)).cast(TIME)


def _only(values: pl.Series, keep: pl.Series) -> pl.Series:
    return values.set(~keep.fill_null(False), None)


def _iso(values: pl.Series) -> pl.Series:
    """ISO text, already matched, to microseconds (Int64)."""
    start = values.str.head(19)
    time = start.str.to_datetime("%Y-%m-%dT%H:%M:%S", time_unit="us", strict=False)
    if time.null_count() != values.null_count():
        spaced = start.str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", strict=False)
        time = time.zip_with(time.is_not_null(), spaced)
    out = time.cast(pl.Int64)
    rest = values.str.slice(19)
    if rest.str.starts_with(".").any():
        fraction = rest.str.extract(r"^\.([0-9]{1,6})").str.pad_end(6, "0").cast(pl.Int64)
        out = out + fraction.fill_null(0)
    if rest.str.contains(r"[+-]").any():
        sign = rest.str.contains("-", literal=True).cast(pl.Int64) * -2 + 1
        hours = rest.str.extract(r"[+-]([0-9]{2})").cast(pl.Int64)
        minutes = rest.str.extract(r"[+-][0-9]{2}:?([0-9]{2})").cast(pl.Int64).fill_null(0)
        out = out - (sign * (hours * 60 + minutes) * 60_000_000).fill_null(0)
    return out


def _dates(values: pl.Series) -> pl.Series:
    return values.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us")).cast(pl.Int64)


def _integers(values: pl.Series) -> pl.Series:
    return _scaled(values.cast(pl.Int64))


def _floats(values: pl.Series) -> pl.Series:
    return _scaled(values.cast(pl.Float64)).round().cast(pl.Int64, strict=False)


def _scaled(numbers: pl.Series) -> pl.Series:
    """Numbers since 1970 to microseconds. Integers stay integers."""
    size = pl.col("n").abs()
    micros = (
        pl.when(size < SECONDS_BELOW)
        .then(pl.col("n") * 1_000_000)
        .when(size < MILLISECONDS_BELOW)
        .then(pl.col("n") * 1_000)
        .otherwise(pl.col("n"))
    )
    return pl.DataFrame({"n": numbers}).select(micros).to_series()


def _decimals(values: pl.Series, dtype: pl.Decimal) -> pl.Series:
    """Plain digits that fit without rounding; zeros on either side don't count."""
    scale = dtype.scale
    fits = rf"^-?0*[0-9]{{0,{dtype.precision - scale}}}(?:\.[0-9]{{0,{scale}}}0*)?$"
    keep = values.str.contains(fits) & values.str.contains(_NUMBER)
    return _only(values, keep).cast(dtype, strict=False)
