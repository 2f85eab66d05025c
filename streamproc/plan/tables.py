"""Tables: their names, and what Delta can hold."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import polars as pl

from streamproc.errors import TopologyError
from streamproc.flow import nodes
from streamproc.flow.topology import Topology
from streamproc.operators.batch import TIME
from streamproc.plan.here import Here
from streamproc.plan.model import FAILED_SCHEMA, Table
from streamproc.plan.problems import columns_here, known, problem

_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.=-]*")
_HELD = (
    *(pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.Float32, pl.Float64, pl.Decimal),
    *(pl.Boolean, pl.String, pl.Binary, pl.Date),
)
_FIX = {
    pl.Null: "give it a type: .cast(pl.String)",
    pl.Time: 'text, .dt.to_string("%H:%M:%S"), or a number',
    pl.Duration: "a number: .dt.total_microseconds()",
    pl.UInt64: ".cast(pl.Int64), or .cast(pl.Decimal(20, 0))",
    pl.UInt128: ".cast(pl.Decimal(38, 0))",
    pl.Int128: ".cast(pl.Decimal(38, 0))",
    pl.Categorical: ".cast(pl.String)",
    pl.Enum: ".cast(pl.String)",
}


def holds(dtype: Any) -> bool:
    """Can a Delta table hold a column of this type? (Unsigned integers as the next wider signed ones.)

    >>> holds(pl.UInt32()), holds(pl.List(pl.String)), holds(pl.Time())
    (True, True, False)
    """
    dtype = dtype() if isinstance(dtype, type) else dtype
    if isinstance(dtype, pl.List | pl.Array):
        return holds(dtype.inner)
    if isinstance(dtype, pl.Struct):
        return bool(dtype.fields) and all(holds(field.dtype) for field in dtype.fields)
    return dtype in _HELD or dtype == TIME


def output(node: nodes.WriteDelta, here: Here) -> Table:
    """The table of a `write_delta`.

    Raises:
        TopologyError: SP112 its name, SP114 a column that Delta can't hold, SP115 its partitioning.
    """
    if wrong := bad_name(node.table):
        raise problem(
            "SP112", node, f'"{node.table}" can\'t be a table: {wrong}', fix='a path under the lake, "silver/readings"'
        )
    columns = here.columns
    for name, dtype in columns.items():
        if not holds(dtype):
            raise problem(
                "SP114",
                node,
                f'a Delta table can\'t hold column "{name}": {dtype}',
                detail=["fine are Boolean, integers, Float, Decimal, String, Binary, Date, Datetime, List, Struct"],
                fix=_FIX.get(type(dtype), "drop or cast it before"),
            )
    seen: dict[str, str] = {}
    for name in columns:
        if other := seen.get(name.lower()):
            raise problem(
                "SP114", node, f'columns "{other}" and "{name}" are the same to Delta', fix=f'rename "{name}" before'
            )
        seen[name.lower()] = name
    return Table(node.table, columns, _partitioning(node, columns))


def _partitioning(node: nodes.WriteDelta, columns: Mapping[str, pl.DataType]) -> tuple[str, ...]:
    known(node, node.partition_by, columns, where="partition_by")
    for name in node.partition_by:
        dtype = columns[name]
        if dtype.is_float() or dtype.is_nested() or dtype == pl.Binary:
            raise problem(
                "SP115",
                node,
                f'"{name}" can\'t partition a table: it is {dtype}',
                detail=[columns_here(columns)],
                fix="text, an integer, a Boolean or a date with few different values",
            )
    if len(node.partition_by) == len(columns):
        raise problem(
            "SP115", node, "partition_by takes all columns: nothing would be left to store", fix="leave one out"
        )
    return node.partition_by


def bad_name(name: str) -> str:
    """What is wrong with a table's name; empty if nothing is."""
    if not name:
        return "it is empty"
    if "\\" in name:
        return 'it has a backslash; parts are divided by "/"'
    if name.startswith("/") or "://" in name or re.match(r"[A-Za-z]:", name):
        return "it is absolute"
    for part in name.split("/"):
        if part in ("", ".", ".."):
            return f'it has a part "{part}"'
        if not _PART.fullmatch(part):
            return f'"{part}" has other than letters, digits, "_", "-", "." and "=", or begins with one of these'
    return ""


def collect(topology: Topology, outputs: list[tuple[nodes.WriteDelta, Table]]) -> dict[str, Table]:
    """All tables, with those of rejected and late rows.

    Raises:
        TopologyError: SP112 a bad name, SP113 one twice or inside another.
    """
    tables: dict[str, Table] = {}
    for role, name in (("rejected", topology.rejected), ("late", topology.late)):
        if wrong := bad_name(name):
            raise TopologyError("SP112", f'{role}="{name}" can\'t be a table: {wrong}', location=topology.location)
        if _clash(name, tables):
            raise TopologyError("SP113", f'two tables "{name}": rejected and late', location=topology.location)
        tables[name] = Table(name, FAILED_SCHEMA, (), role)  # type: ignore[arg-type]
    writers: dict[str, nodes.WriteDelta] = {}
    for node, table in outputs:
        if other := _clash(table.name, tables):
            at = writers[other].location if other in writers else topology.location
            same = other == table.name
            raise problem(
                "SP113",
                node,
                f'table "{table.name}" is written twice'
                if same
                else f'table "{table.name}" and "{other}" are inside each other',
                detail=[f"the other: {at}"],
                fix="give each its own table" + ("" if same else ", beside the other"),
            )
        tables[table.name] = table
        writers[table.name] = node
    ordered = {name: table for name, table in tables.items() if table.role == "output"}
    return ordered | tables


def _clash(name: str, tables: Mapping[str, Table]) -> str | None:
    """A table that is the same place, or inside of it, or around it."""
    return next((one for one in tables if f"{one}/".startswith(f"{name}/") or f"{name}/".startswith(f"{one}/")), None)
