"""How each aggregate is computed in parts: partial results of rows, their merging, and the final value.

| aggregate | partial result of a group |
|---|---|
| count | n |
| sum | total: Int128 for integers, two of them for decimals, so that it is exact and can't overflow |
| mean | n, total |
| min, max | the value |
| std, var | n, mean, sum of squared distances from it (merged as Chan, Golub and LeVeque do) |
| first, last | event time, position and value of that row |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from streamproc.errors import TopologyError
from streamproc.flow.aggregates import Aggregate
from streamproc.operators.batch import HIDDEN, TIME

TIME_COLUMN, POSITION_COLUMN = "time", "position"
"""Columns of the prepared frame, beside what `Computation.prepared` names: event time and position, both Int64."""

_WIDE = pl.Int128()


@dataclass(frozen=True, slots=True)
class Computation:
    """One aggregate, computed in parts.

    Args:
        prepared: from the user's columns, one value a row, for `first_step`.
        first_step: partial results of a group of prepared rows, in a frame that is sorted by event time if `ordered`.
        merge_step: partial results of a group of partial results.
        finish: the final value, from merged partial results.
        output: its type.
        checked: a null final value means that a sum does not fit its type.
        ordered: see `first_step`.
    """

    prepared: tuple[pl.Expr, ...]
    first_step: tuple[pl.Expr, ...]
    merge_step: tuple[pl.Expr, ...]
    finish: pl.Expr
    output: pl.DataType
    checked: bool = False
    ordered: bool = False


def output_columns(
    input_schema: Mapping[str, pl.DataType], keys: Sequence[str], aggregates: Mapping[str, Aggregate]
) -> dict[str, pl.DataType]:
    """Columns that a window step yields: window_start, window_end, the keys, the aggregates.

    Raises:
        TopologyError: SP140, an aggregate of a type that has none, or a `where` that is not a Boolean.

    >>> from streamproc.flow.aggregates import count
    >>> list(output_columns({"device": pl.String()}, ["device"], {"n": count()}))
    ['window_start', 'window_end', 'device', 'n']
    """
    computations = compile_aggregates(input_schema, aggregates)
    return {
        "window_start": TIME,
        "window_end": TIME,
        **{key: input_schema[key] for key in keys},
        **{name: computation.output for name, computation in computations.items()},
    }


def compile_aggregates(
    input_schema: Mapping[str, pl.DataType], aggregates: Mapping[str, Aggregate]
) -> dict[str, Computation]:
    """How to compute each aggregate over rows with these columns and the hidden ones.

    Raises:
        TopologyError: see `output_columns`.
    """
    schema = {**HIDDEN, **input_schema}
    return {name: _compile(name, f"a{i}", spec, schema) for i, (name, spec) in enumerate(aggregates.items())}


def _compile(name: str, id: str, spec: Aggregate, schema: Mapping[str, pl.DataType]) -> Computation:
    if spec.where is not None and _type(spec.where, schema) != pl.Boolean:
        raise TopologyError("SP140", f'`where` of "{name}" is {_type(spec.where, schema)}, not Boolean')
    value = pl.lit(True) if spec.value is None else spec.value
    dtype = _type(value, schema)
    if spec.kind in ("first", "last"):
        return _first_or_last(id, spec, value, dtype)
    # Null takes no part in any of these, and neither do rows for which `where` is false or null.
    value = value if spec.where is None else pl.when(spec.where).then(value)
    match spec.kind:
        case "count":
            return _count(id, value)
        case "min" | "max" if _has_order(dtype):
            return _extreme(id, spec.kind, value, dtype)
        case "sum" if _is_number(dtype):
            return _sum(id, value, dtype)
        case "mean" if _is_number(dtype):
            return _mean(id, value, dtype)
        case "std" | "var" if _is_number(dtype):
            return _spread(id, spec, value)
    raise TopologyError(
        "SP140", f'"{name}" is the {spec.kind} of a {dtype}', fix="cast the value to a number, or use another aggregate"
    )


def _type(expression: pl.Expr, schema: Mapping[str, pl.DataType]) -> pl.DataType:
    return pl.LazyFrame(schema=dict(schema)).select(expression.alias("value")).collect_schema()["value"]


def _is_number(dtype: pl.DataType) -> bool:
    return (dtype.is_numeric() and dtype not in (pl.Int128, pl.UInt128)) or dtype == pl.Boolean


def _has_order(dtype: pl.DataType) -> bool:
    return _is_number(dtype) or dtype.is_temporal() or isinstance(dtype, pl.String | pl.Binary | pl.Enum)


def _count(id: str, value: pl.Expr) -> Computation:
    n = pl.col(id)
    return Computation(
        prepared=(value.is_not_null().alias(id),),
        first_step=(n.sum().cast(pl.Int64),),
        merge_step=(n.sum(),),
        finish=n,
        output=pl.Int64(),
    )


def _extreme(id: str, kind: str, value: pl.Expr, dtype: pl.DataType) -> Computation:
    step = pl.col(id).min() if kind == "min" else pl.col(id).max()
    return Computation((value.alias(id),), (step,), (step,), pl.col(id), dtype)


@dataclass(frozen=True, slots=True)
class _Total:
    """An exact sum, as one or two columns that are only ever added up; `fitted` is null where it does not fit."""

    prepared: Mapping[str, pl.Expr]
    fitted: pl.Expr
    as_float: pl.Expr
    output: pl.DataType

    @property
    def step(self) -> list[pl.Expr]:
        return [pl.col(name).sum() for name in self.prepared]


def _total(id: str, value: pl.Expr, dtype: pl.DataType) -> _Total:
    if isinstance(dtype, pl.Decimal):
        return _decimal_total(id, value, dtype.scale)
    sum = pl.col(f"{id}_sum")
    if dtype.is_float():
        wide: pl.DataType = pl.Float64()
        return _Total({f"{id}_sum": value.cast(wide)}, sum, sum, wide)
    fitted = sum.cast(pl.Int64, strict=False)
    return _Total({f"{id}_sum": value.cast(_WIDE)}, fitted, sum.cast(pl.Float64), pl.Int64())


def _decimal_total(id: str, value: pl.Expr, scale: int) -> _Total:
    """Decimals have up to 38 digits, and Int128 hardly more: the upper and lower 19 are added up apart."""
    output = pl.Decimal(38, scale)
    base = pl.lit(10**19, dtype=_WIDE)
    units = value.cast(output).to_physical()
    high, low = pl.col(f"{id}_high"), pl.col(f"{id}_low")
    carried = high + low // base
    whole = carried * base + low % base
    limit = pl.lit(10**38 - 1, dtype=_WIDE)
    fits = carried.is_between(-base, base - 1) & whole.is_between(-limit, limit)
    return _Total(
        prepared={f"{id}_high": units // base, f"{id}_low": units % base},
        fitted=pl.when(fits).then(whole).reinterpret(dtype=output),
        as_float=(high.cast(pl.Float64) * 1e19 + low.cast(pl.Float64)) / 10.0**scale,
        output=output,
    )


def _sum(id: str, value: pl.Expr, dtype: pl.DataType) -> Computation:
    total = _total(id, value, dtype)
    return Computation(
        prepared=tuple(expr.alias(name) for name, expr in total.prepared.items()),
        first_step=tuple(total.step),
        merge_step=tuple(total.step),
        finish=total.fitted,
        output=total.output,
        checked=True,
    )


def _mean(id: str, value: pl.Expr, dtype: pl.DataType) -> Computation:
    total = _total(id, value, dtype)
    n = pl.col(f"{id}_n")
    values = next(iter(total.prepared))
    return Computation(
        prepared=tuple(expr.alias(name) for name, expr in total.prepared.items()),
        first_step=(pl.col(values).count().cast(pl.Int64).alias(f"{id}_n"), *total.step),
        merge_step=(n.sum(), *total.step),
        finish=pl.when(n > 0).then(total.as_float / n),
        output=pl.Float64(),
    )


def _spread(id: str, spec: Aggregate, value: pl.Expr) -> Computation:
    n, mean, m2 = pl.col(f"{id}_n"), pl.col(f"{id}_mean"), pl.col(f"{id}_m2")
    count = pl.col(id).count()
    # 0 for groups without values: a NaN there would spoil what they are merged with.
    merged_mean = pl.when(n.sum() > 0).then((n * mean).sum() / n.sum()).otherwise(0.0)
    variance = pl.when(n > spec.ddof).then(m2 / (n - spec.ddof))
    return Computation(
        prepared=(value.cast(pl.Float64).alias(id),),
        first_step=(
            count.cast(pl.Int64).alias(f"{id}_n"),
            pl.col(id).mean().fill_null(0.0).alias(f"{id}_mean"),
            (pl.col(id).var(ddof=0) * count).fill_null(0.0).alias(f"{id}_m2"),
        ),
        merge_step=(
            n.sum(),
            merged_mean.alias(f"{id}_mean"),
            (m2.sum() + (n * (mean - merged_mean) ** 2).sum()).alias(f"{id}_m2"),
        ),
        finish=variance.sqrt() if spec.kind == "std" else variance,
        output=pl.Float64(),
    )


def _first_or_last(id: str, spec: Aggregate, value: pl.Expr, dtype: pl.DataType) -> Computation:
    """A row counts if `where` is true for it; its value may be null. No such row: the partial result has no time."""
    names = (f"{id}_time", f"{id}_position", f"{id}_value")
    time, position, found = map(pl.col, names)
    taken = pl.lit(True) if spec.where is None else spec.where
    is_first = spec.kind == "first"

    def pick(column: pl.Expr) -> pl.Expr:
        return column.first() if is_first else column.last()

    def of_rows(column: str, name: str) -> pl.Expr:
        rows = pl.col(column) if spec.where is None else pl.col(column).filter(pl.col(f"{id}_taken"))
        return pick(rows).alias(name)

    # Rows of one record never meet here: their order was settled in the batch that had them all.
    ordered = [pick(column.sort_by(time, position, nulls_last=is_first)) for column in (time, position, found)]
    return Computation(
        prepared=(value.alias(id), taken.fill_null(False).alias(f"{id}_taken")),
        first_step=tuple(map(of_rows, (TIME_COLUMN, POSITION_COLUMN, id), names)),
        merge_step=tuple(ordered),
        finish=found,
        output=dtype,
        ordered=True,
    )
