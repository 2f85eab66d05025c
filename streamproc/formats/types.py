"""The types a format's schema may name, and the types in which JSON is read before they are converted to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from streamproc.errors import TopologyError
from streamproc.formats.base import clip
from streamproc.operators.batch import HIDDEN, TIME

PLAIN = (pl.String, pl.Boolean, pl.Int64, pl.UInt64, pl.Float64)
"""Read as they are."""

SMALL_INTEGERS = (pl.Int8, pl.Int16, pl.Int32, pl.UInt8, pl.UInt16, pl.UInt32)
TEXTS = (pl.Datetime, pl.Date, pl.Decimal)
"""Read as text, which keeps every digit, then converted."""

_PYTHON: dict[type, str] = {
    str: "String",
    int: "Int64",
    float: "Float64",
    bool: "Boolean",
    list: "List(...)",
    dict: "Struct({...})",
}
_INSTEAD = {
    "Binary": "JSON has no bytes: declare pl.String and decode it, e.g. pl.col(...).str.decode('base64')",
    "Categorical": "declare pl.String",
    "Enum": "declare pl.String",
    "Array": "declare pl.List(...)",
    "Duration": "declare pl.Int64 (a number of units)",
    "Time": "declare pl.String",
    "List": "name the type of its elements: pl.List(pl.Int64)",
    "Struct": "name its fields: pl.Struct({'x': pl.Int64})",
}
_SUPPORTED = "String, Boolean, Int8..Int64, UInt8..UInt64, Float32, Float64, Decimal, Date, Datetime, List, Struct"


def check_schema(schema: Mapping[str, Any]) -> dict[str, pl.DataType]:
    """A user's schema with every type as an instance and every Datetime as `TIME`, also inside structs and lists.

    Raises:
        TopologyError: SP120 empty or not a mapping, SP121 a type that is none or not supported, SP122 a reserved name.

    >>> check_schema({"at": pl.Datetime("ms")})
    {'at': Datetime(time_unit='us', time_zone='UTC')}
    """
    if not isinstance(schema, Mapping) or not schema:
        raise TopologyError(
            "SP120",
            "a schema needs at least one column",
            fix='write {"column": pl.String, ...}: a mapping of names to types',
        )
    for name in schema:
        if not isinstance(name, str) or not name or name.startswith("__") or name in HIDDEN:
            raise TopologyError(
                "SP122",
                f'reserved name "{name}" in a schema',
                detail=[f"reserved: {', '.join(HIDDEN)}, names that begin with __, and the empty name"],
                fix="leave it out; the hidden columns can be used in expressions without being declared",
            )
    return {name: _check(dtype, name) for name, dtype in schema.items()}


def _check(dtype: Any, path: str) -> pl.DataType:
    bare = isinstance(dtype, type)
    if bare and issubclass(dtype, pl.DataType) and dtype not in (pl.List, pl.Struct, pl.Array, pl.Enum):
        dtype = dtype()
    match dtype:
        case pl.Datetime():
            return TIME
        case pl.List():
            return pl.List(_check(dtype.inner, f"{path}[]"))
        case pl.Struct() if dtype.fields and len({f.name for f in dtype.fields}) == len(dtype.fields):
            return pl.Struct({f.name: _check(f.dtype, f"{path}.{f.name}") for f in dtype.fields})
        case pl.DataType() if isinstance(dtype, (*PLAIN, *SMALL_INTEGERS, pl.Float32, pl.Date, pl.Decimal)):
            return dtype
    name = dtype.__name__ if isinstance(dtype, type) else type(dtype).__name__
    python = f"write pl.{_PYTHON[dtype]}" if isinstance(dtype, type) and dtype in _PYTHON else ""
    raise TopologyError(
        "SP121",
        f'column "{path}": {clip(str(dtype), 80)} is not a type that JSON can be read as',
        detail=[f"types: {_SUPPORTED}"],
        fix=python or _INSTEAD.get(name, "use one of these types of Polars"),
    )


def wire_type(dtype: pl.DataType) -> pl.DataType:
    """The type in which JSON values of `dtype` are read.

    >>> wire_type(pl.List(pl.Decimal(10, 2)))
    List(String)
    """
    if isinstance(dtype, TEXTS):
        return pl.String()
    if isinstance(dtype, SMALL_INTEGERS):
        return pl.Int64()
    if isinstance(dtype, pl.Float32):
        return pl.Float64()
    if isinstance(dtype, pl.List):
        return pl.List(wire_type(inner_of(dtype)))
    if isinstance(dtype, pl.Struct):
        return pl.Struct({name: wire_type(field) for name, field in fields_of(dtype).items()})
    return dtype


def fields_of(dtype: pl.Struct) -> dict[str, pl.DataType]:
    """Fields of a struct type: name -> type."""
    return {field.name: _instance(field.dtype) for field in dtype.fields}


def inner_of(dtype: pl.List) -> pl.DataType:
    """Type of a list's elements."""
    return _instance(dtype.inner)


def _instance(dtype: Any) -> pl.DataType:
    instance: pl.DataType = dtype() if isinstance(dtype, type) else dtype
    return instance


def words(dtype: pl.DataType) -> str:
    """The type as messages call it.

    >>> words(TIME)
    'a timestamp (ISO-8601 or epoch s, ms, us, years 1 to 9999)'
    """
    match dtype:
        case pl.Datetime():
            return "a timestamp (ISO-8601 or epoch s, ms, us, years 1 to 9999)"
        case pl.Date():
            return "a date (YYYY-MM-DD)"
        case pl.Decimal():
            return f"a Decimal({dtype.precision}, {dtype.scale})"
        case pl.List():
            return "a List"
        case pl.Struct():
            return "a Struct"
    return str(dtype)
