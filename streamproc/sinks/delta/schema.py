"""Planned columns (Polars types) and what a Delta table makes of them: reader 1 / writer 2, nothing beyond."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from deltalake import Field, Schema
from deltalake.schema import ArrayType, PrimitiveType, StructType

from streamproc.errors import TableError

UTC = pl.Datetime("us", "UTC")

_WIDER: Mapping[type[pl.DataType], pl.DataType] = {
    pl.UInt8: pl.Int16(),
    pl.UInt16: pl.Int32(),
    pl.UInt32: pl.Int64(),
    pl.UInt64: pl.Decimal(20, 0),
    pl.Categorical: pl.String(),
    pl.Enum: pl.String(),
}
"""Types that Delta lacks, and the type that holds all their values."""

_NAMES: Mapping[type[pl.DataType], str] = {
    pl.Boolean: "boolean",
    pl.Int8: "byte",
    pl.Int16: "short",
    pl.Int32: "integer",
    pl.Int64: "long",
    pl.Float32: "float",
    pl.Float64: "double",
    pl.String: "string",
    pl.Binary: "binary",
    pl.Date: "date",
}

DeltaType = PrimitiveType | ArrayType | StructType


def stored(dtype: pl.DataType) -> pl.DataType | None:
    """Type that a column of `dtype` is stored as; None if a table of reader 1 / writer 2 can't hold it.

    Timestamps become UTC microseconds, unsigned integers the next wider signed ones.

    >>> stored(pl.UInt32()), stored(pl.Datetime("ms", "Europe/Paris")), stored(pl.Datetime("us"))
    (Int64, Datetime(time_unit='us', time_zone='UTC'), None)
    """
    if type(dtype) in _NAMES:
        return dtype
    if type(dtype) in _WIDER:
        return _WIDER[type(dtype)]
    if isinstance(dtype, pl.Datetime):
        return UTC if dtype.time_zone else None
    if isinstance(dtype, pl.Decimal):
        return dtype
    if isinstance(dtype, pl.List | pl.Array):
        inner = stored(_instance(dtype.inner))
        return None if inner is None else pl.List(inner)
    if isinstance(dtype, pl.Struct):
        fields = {field.name: stored(_instance(field.dtype)) for field in dtype.fields}
        return pl.Struct({name: t for name, t in fields.items() if t is not None}) if all(fields.values()) else None
    return None


def stored_columns(table: str, columns: Mapping[str, pl.DataType]) -> dict[str, pl.DataType]:
    """`stored` of each column.

    Raises:
        TableError: columns that can't be stored, all of them named.
    """
    types = {name: stored(_instance(dtype)) for name, dtype in columns.items()}
    bad = [name for name, dtype in types.items() if dtype is None]
    if bad:
        raise TableError(
            "SP514",
            f'table "{table}" can\'t hold its columns',
            detail=[f'"{name}" is {columns[name]}' for name in bad],
            fix='cast them, e.g. pl.col("t").dt.replace_time_zone("UTC") for a time without zone',
        )
    return {name: dtype for name, dtype in types.items() if dtype is not None}


def delta_schema(columns: Mapping[str, pl.DataType]) -> Schema:
    """Delta schema of columns that are of stored types already."""
    return Schema([Field(name, _delta_type(dtype)) for name, dtype in columns.items()])


def differences(
    planned: Schema, partition_by: Sequence[str], found: Schema, partitioned_by: Sequence[str]
) -> list[str]:
    """How an existing table differs from the planned one, a line each. Columns may be in any order."""
    want = {field.name: field for field in planned.fields}
    have = {field.name: field for field in found.fields}
    lines = [f'column "{n}" ({type_text(f)}) is missing in the table' for n, f in want.items() if n not in have]
    lines += [f'column "{n}" ({type_text(f)}) of the table is not written' for n, f in have.items() if n not in want]
    for name in [name for name in want if name in have]:
        if type_text(want[name]) != type_text(have[name]):
            lines.append(f'column "{name}" is {type_text(have[name])} in the table, {type_text(want[name])} here')
        elif not have[name].nullable:
            lines.append(f'column "{name}" is NOT NULL in the table, may be null here')
    if list(partition_by) != list(partitioned_by):
        lines.append(f"the table is partitioned by {_listed(partitioned_by)}, planned is {_listed(partition_by)}")
    return lines


def type_text(field: Field) -> str:
    """A field's type in a line.

    >>> type_text(Field("a", ArrayType("long")))
    'array<long>'
    """
    return _text(json.loads(field.to_json())["type"])


def _text(found: Any) -> str:
    if isinstance(found, str):
        return found
    if found["type"] == "array":
        return f"array<{_text(found['elementType'])}>"
    if found["type"] == "map":
        return f"map<{_text(found['keyType'])}, {_text(found['valueType'])}>"
    return f"struct<{', '.join(f['name'] + ': ' + _text(f['type']) for f in found['fields'])}>"


def _delta_type(dtype: pl.DataType) -> DeltaType:
    if isinstance(dtype, pl.Datetime):
        return PrimitiveType("timestamp")
    if isinstance(dtype, pl.Decimal):
        return PrimitiveType(f"decimal({dtype.precision or 38},{dtype.scale})")
    if isinstance(dtype, pl.List):
        return ArrayType(_delta_type(_instance(dtype.inner)), contains_null=True)
    if isinstance(dtype, pl.Struct):
        return StructType([Field(field.name, _delta_type(_instance(field.dtype))) for field in dtype.fields])
    return PrimitiveType(_NAMES[type(dtype)])


def _instance(dtype: Any) -> pl.DataType:
    """Polars takes `pl.Int64` and `pl.Int64()` alike."""
    found: pl.DataType = dtype() if isinstance(dtype, type) else dtype
    return found


def _listed(columns: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in columns) or "nothing"
