"""Looks into tables, for people: first rows, number of rows, and how a table differs from the plan. Never writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl
from deltalake import DeltaTable

from streamproc.plan import model
from streamproc.sinks.delta import problems
from streamproc.sinks.delta.handle import OWNER, load
from streamproc.sinks.delta.schema import delta_schema, differences, stored_columns


@dataclass(frozen=True, slots=True)
class Existing:
    """A table that is there.

    Args:
        version: its newest version.
        owner: topology that writes it, "" if none does.
        differences: from the plan, a line each.
    """

    version: int
    owner: str
    differences: tuple[str, ...]


def inspect(uri: str, planned: model.Table, storage_options: Mapping[str, str] | None = None) -> Existing | None:
    """Compare a table with its plan; None if it does not exist.

    Raises:
        TableError: it can't be read, or a planned column can't be stored.
    """
    table = load(uri, storage_options)
    if table is None:
        return None
    metadata = table.metadata()
    schema = delta_schema(stored_columns(planned.name, planned.columns))
    lines = differences(schema, planned.partition_by, table.schema(), metadata.partition_columns)
    return Existing(table.version(), metadata.configuration.get(OWNER, ""), tuple(lines))


def head(uri: str, rows: int = 10, storage_options: Mapping[str, str] | None = None) -> pl.DataFrame:
    """The first rows of a table, in the order of its files.

    Raises:
        TableError: there is no table, or it can't be read.
    """
    return scan(uri, storage_options).head(rows).collect()


def row_count(uri: str, storage_options: Mapping[str, str] | None = None) -> int:
    """Number of rows of a table. Raises as `head`."""
    return int(scan(uri, storage_options).select(pl.len()).collect().item())


def scan(uri: str, storage_options: Mapping[str, str] | None = None) -> pl.LazyFrame:
    """A table as a lazy frame. Raises as `head`."""
    return pl.scan_delta(_load(uri, storage_options))


def _load(uri: str, storage_options: Mapping[str, str] | None) -> DeltaTable:
    table = load(uri, storage_options)
    if table is None:
        raise problems.missing(uri)
    return table
