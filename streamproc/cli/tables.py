"""Tables of a lake, read for people."""

from __future__ import annotations

import difflib
from datetime import datetime

import obstore
import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError
from obstore.exceptions import BaseError

from streamproc.config import Config
from streamproc.errors import TableError
from streamproc.lake import Lake
from streamproc.sinks.delta import problems

DEPTH_MAX = 4
LISTINGS_MAX = 500
CELL_WIDTH_MIN, CELL_WIDTH_MAX = 12, 160


def lake_of(config: Config) -> Lake:
    """The configured lake.

    Raises:
        ConfigError: none is set.
    """
    return Lake(config.lake, config.lake_options, config.settings.tables)


def names(lake: Lake) -> list[str]:
    """Paths of the Delta tables below the lake, in order; looks only so deep and so far.

    Raises:
        TableError: the lake can't be read.
    """
    if lake.local and not lake.local.is_dir():
        raise _no_lake("SP512", lake)
    store = lake.store()
    found: list[str] = []
    todo = [""]
    for _ in range(LISTINGS_MAX):
        if not todo:
            break
        folder = todo.pop()
        try:
            children = [str(path) for path in obstore.list_with_delimiter(store, folder or None)["common_prefixes"]]
        except (OSError, BaseError) as error:
            raise TableError(
                "SP501", f'the lake "{lake.location}" can\'t be read', detail=[str(error).splitlines()[0]]
            ) from error
        if f"{folder}/_delta_log".lstrip("/") in children:
            found.append(folder)
        elif folder.count("/") < DEPTH_MAX:
            todo += [child for child in children if not child.rsplit("/", 1)[-1].startswith(("_", "."))]
    return sorted(found)


def handle(lake: Lake, table: str) -> DeltaTable:
    """A table by its logical name.

    Raises:
        TableError: there is none of this name (the nearest are named), or it can't be read.
    """
    uri = lake.table_uri(table)
    try:
        return DeltaTable(uri, storage_options=dict(lake.options))
    except TableNotFoundError:
        raise missing(lake, table) from None
    except (DeltaError, OSError) as error:
        raise problems.unreachable(uri, error, "read") from error


def missing(lake: Lake, table: str) -> TableError:
    """The error for a table that is not there, with the nearest that are."""
    if lake.local and not lake.local.is_dir():
        return _no_lake("SP511", lake)
    there = names(lake)
    nearest = difflib.get_close_matches(table, there, n=1)
    return TableError(
        "SP511",
        f'no table "{table}" in {lake.location}',
        detail=[f"tables here: {', '.join(there[:20]) or 'none'}"],
        fix=f'did you mean "{nearest[0]}"?' if nearest else "give its path below the lake",
    )


def _no_lake(code: str, lake: Lake) -> TableError:
    return TableError(
        code,
        f'there is no lake at "{lake.address}"',
        fix="is STREAMPROC_LAKE right? Else run a topology first, which makes it",
    )


def rows(table: DeltaTable, n: int) -> pl.DataFrame:
    """Some of its first rows."""
    return pl.scan_delta(table).head(n).collect()


def text(frame: pl.DataFrame, width: int = 0) -> str:
    """A frame as a person reads it: one line a row, payloads as text; what is beyond `width` (0: any) is left out.

    >>> print(text(pl.DataFrame({"truck": ["a", None], "average": [1.23456789, 2.0]})))
    truck  average
    a      1.23457
    null   2
    """
    columns = [[name, *(_cell(value) for value in frame[name])] for name in frame.columns]
    lines = [""] * (frame.height + 1)
    for cells in columns:
        longest = max(len(cell) for cell in cells)
        if width and lines[0] and len(lines[0]) + min(longest, CELL_WIDTH_MIN) > width:
            lines[0] += "..."
            break
        lines = [line + cell.ljust(longest + 2) for line, cell in zip(lines, cells, strict=True)]
    return "\n".join(_clipped(line.rstrip(), width) for line in lines)


def _clipped(line: str, width: int) -> str:
    return line[: width - 3] + "..." if width and len(line) > width else line


def _cell(value: object) -> str:
    match value:
        case None:
            out = "null"
        case float():
            out = f"{value:.6g}"
        case datetime():
            out = value.strftime("%Y-%m-%d %H:%M:%S") + (
                f".{value.microsecond:06}".rstrip("0") if value.microsecond else ""
            )
        case bytes():
            out = value.decode("utf-8", "replace")
        case pl.Series():
            out = str(value.to_list())
        case _:
            out = str(value)
    # Payloads are anybody's: what would move a terminal's cursor is not printed.
    out = "".join(c if c.isprintable() else "?" for c in out)
    return out if len(out) <= CELL_WIDTH_MAX else out[: CELL_WIDTH_MAX - 3] + "..."
