"""Arguments of verbs, judged at the call: what is wrong is said at the user's own line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, get_args

import polars as pl

from streamproc.errors import Location, TopologyError
from streamproc.flow.aggregates import Aggregate, Kind
from streamproc.flow.duration import Duration, microseconds
from streamproc.formats.base import Format
from streamproc.operators.base import OnFail

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_LITERAL = (bool, int, float, str, bytes, date, datetime, time, timedelta, Decimal)


def invalid(where: Location, message: str, fix: str = "") -> TopologyError:
    """The error of an argument that can't be meant."""
    return TopologyError("SP101", message, fix=fix, location=where)


def duration(where: Location, name: str, value: Duration, *, least: int = 0) -> int:
    """A duration in microseconds, at least `least`."""
    try:
        length = microseconds(value)
    except ValueError as error:
        raise invalid(where, f"{name}={error}", 'for example "10s"') from error
    if length < least:
        raise invalid(where, f"{name}={value!r} is too short", f'{name}="{least // 1000}ms" is the least')
    return length


def on_fail(where: Location, value: str, allowed: Sequence[str] = get_args(OnFail)) -> OnFail:
    """What to do with a row that fails."""
    if value not in allowed:
        raise invalid(
            where, f"on_fail={value!r} is not known here", "one of " + ", ".join(f'"{one}"' for one in allowed)
        )
    return value  # type: ignore[return-value]


def name(where: Location, what: str, value: str) -> str:
    """A name that becomes part of ids: letters, digits and "_", "-", ".", at most 100."""
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise invalid(
            where,
            f"{what} {value!r} is not a name",
            'letters, digits, "_", "-" and "." only, at most 100, a letter or digit first',
        )
    return value


def pinned(where: Location, value: str | None) -> str | None:
    """A step's `name=`, if given."""
    return None if value is None else name(where, "name", value)


def columns(where: Location, verb: str, values: Iterable[Any], *, least: int = 1) -> tuple[str, ...]:
    """Column names, given one by one or as a list; each once."""
    out: list[str] = []
    for value in values:
        out.extend([value] if isinstance(value, str) or not isinstance(value, list | tuple) else value)
    for value in out:
        if not isinstance(value, str):
            raise invalid(
                where,
                f"{verb} takes names of columns, not {kind(value)}",
                "compute it by `with_columns` first" if isinstance(value, pl.Expr) else 'write "column"',
            )
    if len(out) < least:
        raise invalid(where, f"{verb} needs a column")
    if twice := [value for i, value in enumerate(out) if value in out[:i]]:
        raise invalid(where, f'{verb} names "{twice[0]}" twice')
    return tuple(out)


def one_or_more(value: str | Sequence[str]) -> Sequence[Any]:
    """ "a" is ["a"]."""
    return [value] if isinstance(value, str) or not isinstance(value, Sequence) else value


def expressions(where: Location, verb: str, values: Iterable[Any], named: Mapping[str, Any]) -> tuple[pl.Expr, ...]:
    """Expressions as Polars takes them: text is a column, other values are literals, a keyword is the new name."""
    flat: list[Any] = []
    for value in values:
        flat.extend(value if isinstance(value, list | tuple) else [value])
    exprs = [_expression(where, verb, value) for value in flat]
    exprs += [_expression(where, verb, value).alias(new) for new, value in named.items()]
    if not exprs:
        raise invalid(where, f"{verb} needs an expression")
    return tuple(exprs)


def _expression(where: Location, verb: str, value: Any) -> pl.Expr:
    if isinstance(value, pl.Expr):
        return value
    if isinstance(value, str):
        return pl.col(value)
    if value is None or isinstance(value, _LITERAL):
        return pl.lit(value)
    raise invalid(where, f"{verb} takes Polars expressions, not {kind(value)}", 'write pl.col("column") ...')


def expression(where: Location, what: str, value: Any) -> pl.Expr:
    """One expression, not a mere name."""
    if not isinstance(value, pl.Expr):
        raise invalid(where, f"{what} takes a Polars expression, not {kind(value)}", 'write pl.col("column") ...')
    return value


def schema(where: Location, what: str, value: Any) -> dict[str, pl.DataType]:
    """A schema: column -> Polars type; every Datetime becomes UTC microseconds."""
    if not isinstance(value, Mapping) or not value:
        raise invalid(where, f"{what} is not a schema", '{"column": pl.String, ...}')
    for column in value:
        if not isinstance(column, str):
            raise invalid(where, f"{what}: {column!r} is not the name of a column", '{"column": pl.String}')
    return {column: _dtype(where, f'{what}: "{column}"', given) for column, given in value.items()}


def _dtype(where: Location, what: str, given: Any) -> pl.DataType:
    if isinstance(given, type) and issubclass(given, pl.DataType):
        try:
            given = given()
        except TypeError as error:
            message = f"{what}: {given.__name__} needs its inner type"
            raise invalid(where, message, "pl.List(pl.String)") from error
    match given:
        case pl.Datetime():
            return pl.Datetime("us", "UTC")
        case pl.List():
            return pl.List(_dtype(where, what, given.inner))
        case pl.Array():
            return pl.Array(_dtype(where, what, given.inner), given.size)
        case pl.Struct():
            return pl.Struct({field.name: _dtype(where, what, field.dtype) for field in given.fields})
        case pl.DataType():
            return given
    raise invalid(where, f"{what}: {given!r} is not a Polars type", '{"column": pl.String}')


def format(where: Location, verb: str, value: Any) -> Format:
    """A format: made, not its class."""
    if isinstance(value, type) or not (hasattr(value, "columns") and hasattr(value, "decode")):
        raise invalid(where, f"{verb} needs a format, not {value!r}"[:120], "sp.Json({...}) or sp.Raw()")
    return value  # type: ignore[no-any-return]


def as_aggregate(name: str, value: Any) -> str:
    """How to write what was meant as an aggregate, as far as can be told.

    >>> as_aggregate("n", pl.col("x").sum())
    'n=sp.sum("x")'
    """
    if isinstance(value, Aggregate):
        return f"{name}=sp.{value.kind}(...)"
    if isinstance(value, pl.Expr):
        columns, call = value.meta.root_names(), re.search(r"(?:^|\.)(\w+)\(\)(?:\.alias\(.*\))?$", str(value))
        if call and call[1] in get_args(Kind) and len(columns) == 1:
            return f'{name}=sp.{call[1]}("{columns[0]}")'
        if call and call[1] == "len":
            return f"{name}=sp.count()"
    return f'{name}=sp.mean("column")'


def kind(value: Any) -> str:
    """A value in an error."""
    return "an expression" if isinstance(value, pl.Expr) else f"{type(value).__name__} {value!r}"[:60]
