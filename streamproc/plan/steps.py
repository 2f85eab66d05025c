"""What each verb that keeps no state means at its place: output columns, what is passed on unchanged, its operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial, singledispatch
from typing import Any

import polars as pl

from streamproc.flow import nodes
from streamproc.flow.duration import text
from streamproc.flow.nodes import Node
from streamproc.formats.base import Format
from streamproc.operators.base import Operator
from streamproc.operators.batch import TIME
from streamproc.operators.decode import Decode
from streamproc.operators.expect import Expect
from streamproc.operators.filter import Filter
from streamproc.operators.map_batches import MapBatches
from streamproc.operators.project import Drop, Rename, Select, WithColumns
from streamproc.operators.read import ReadRaw
from streamproc.operators.reshape import Explode, Unnest
from streamproc.operators.watermark import WithWatermark
from streamproc.plan.expressions import infer, predicates, shown
from streamproc.plan.here import Here, same, trusted
from streamproc.plan.problems import columns_here, known, problem


@dataclass(frozen=True)
class Placed:
    """A verb at its place.

    Args:
        here: the rows after it.
        kind: as in `plan.model.Step`, like `build`, `summary`, `hidden`, `signature`.
        parameters: all that its output depends on, beside its input.
    """

    here: Here
    kind: str
    build: Callable[[], Operator] | None
    parameters: Any
    summary: str = ""
    hidden: tuple[str, ...] = ()
    signature: str = ""


@singledispatch
def place(node: Node, here: Here) -> Placed:
    """Give a node its meaning.

    Raises:
        TopologyError: it makes no sense here.
    """
    raise AssertionError(f"no plan for {type(node).__name__} after {list(here.columns)}")


def read(node: nodes.ReadKafka, partitioned_by: tuple[str, ...] | None) -> Placed:
    """The start of a stage. `partitioned_by` may have been declared by another read of the topic."""
    columns = node.format.columns
    partition = None if partitioned_by is None else dict.fromkeys(partitioned_by)
    here = Here({}, node.topics, partition).then(node, columns, {})
    raw = _kind(node.format) == "raw"
    build: Callable[[], Operator] = ReadRaw if raw else partial(Decode, node.format, None, "reject", ())
    return Placed(here, _kind(node.format), build, node.format, summary=_decoded(node.format))


@place.register
def _(node: nodes.Decode, here: Here) -> Placed:
    known(node, [node.column], here.columns)
    dtype = here.columns[node.column]
    if dtype not in (pl.Binary, pl.String):
        raise problem(
            "SP105",
            node,
            f'decode needs bytes or text, "{node.column}" is {dtype}',
            detail=[columns_here(here.columns)],
            fix="a Binary or String column",
        )
    others = tuple(name for name in here.columns if name != node.column)
    columns: dict[str, pl.DataType] = {}
    for name, kept in here.columns.items():
        made = node.format.columns if name == node.column else {name: kept}
        _no_clash(node, made, columns)
        columns |= made
    after = here.then(node, columns, same(dict.fromkeys(others)))
    build = partial(Decode, node.format, node.column, node.on_fail, others)
    summary = f"{node.column}: {_decoded(node.format)}" + _else(node.on_fail, "reject")
    return Placed(after, _kind(node.format), build, [node.format, node.column, node.on_fail], summary)


def _no_clash(node: Node, new: Mapping[str, object], there: Mapping[str, object]) -> None:
    if twice := [name for name in new if name in there]:
        raise problem(
            "SP107",
            node,
            f'{node.verb} brings a second column "{twice[0]}"',
            detail=[columns_here(there)],
            fix=f'drop or rename "{twice[0]}" before',
        )


def _kind(format: Format) -> str:
    return type(format).__name__.lower()


def _decoded(format: Format) -> str:
    columns = format.columns
    if _kind(format) == "raw":
        return ", ".join(columns) + " as bytes"
    times = [name for name, dtype in columns.items() if dtype == TIME]
    return _count(columns) + (f"; {', '.join(times)} -> UTC microseconds" if times else "")


def _count(columns: Mapping[str, object]) -> str:
    return f"{len(columns)} column" + ("s" if len(columns) != 1 else "")


def _else(on_fail: str, default: str) -> str:
    return "" if on_fail == default else f", else {on_fail}"


@place.register
def _(node: nodes.Filter, here: Here) -> Placed:
    hidden = predicates(node, node.predicates, here)
    after = here.then(node, here.columns, same(here.columns))
    build = partial(Filter, node.predicates, hidden)
    return Placed(after, "filter", build, node.predicates, ", ".join(map(shown, node.predicates)), hidden)


@place.register
def _(node: nodes.Select, here: Here) -> Placed:
    made = infer(node, node.exprs, here)
    after = here.then(node, made.columns, made.copies)
    build = partial(Select, node.exprs, tuple(made.columns), made.hidden)
    return Placed(after, "select", build, node.exprs, ", ".join(made.columns), made.hidden)


@place.register
def _(node: nodes.WithColumns, here: Here) -> Placed:
    made = infer(node, node.exprs, here)
    copies = {name: name for name in here.columns if name not in made.columns} | dict(made.copies)
    after = here.then(node, dict(here.columns) | dict(made.columns), copies)
    build = partial(WithColumns, node.exprs, made.hidden)
    return Placed(after, "with_columns", build, node.exprs, ", ".join(made.columns), made.hidden)


@place.register
def _(node: nodes.Drop, here: Here) -> Placed:
    known(node, node.columns, here.columns)
    columns = {name: dtype for name, dtype in here.columns.items() if name not in node.columns}
    if not columns:
        raise problem("SP107", node, "drop leaves no column", fix="keep one")
    build = partial(Drop, node.columns)
    return Placed(here.then(node, columns, same(columns)), "drop", build, node.columns, ", ".join(node.columns))


@place.register
def _(node: nodes.Rename, here: Here) -> Placed:
    known(node, node.mapping, here.columns)
    columns: dict[str, pl.DataType] = {}
    copies: dict[str, str] = {}
    for old, dtype in here.columns.items():
        new = node.mapping.get(old, old)
        _no_clash(node, {new: dtype}, columns)
        columns[new], copies[new] = dtype, old
    summary = ", ".join(f"{old} -> {new}" for old, new in node.mapping.items())
    build = partial(Rename, node.mapping)
    return Placed(here.then(node, columns, copies), "rename", build, node.mapping, summary)


@place.register
def _(node: nodes.Explode, here: Here) -> Placed:
    known(node, node.columns, here.columns)
    columns = dict(here.columns)
    for name in node.columns:
        dtype = columns[name]
        if not isinstance(dtype, pl.List | pl.Array):
            raise problem("SP105", node, f'explode needs a list, "{name}" is {dtype}', fix="a List column")
        columns[name] = pl.LazyFrame(schema={name: dtype}).explode(name).collect_schema()[name]
    kept = same({name: dtype for name, dtype in columns.items() if name not in node.columns})
    build = partial(Explode, node.columns)
    return Placed(here.then(node, columns, kept), "explode", build, node.columns, ", ".join(node.columns))


@place.register
def _(node: nodes.Unnest, here: Here) -> Placed:
    known(node, node.columns, here.columns)
    columns: dict[str, pl.DataType] = {}
    for name, dtype in here.columns.items():
        made: dict[str, Any] = {name: dtype}
        if name in node.columns:
            if not isinstance(dtype, pl.Struct):
                raise problem("SP105", node, f'unnest needs a struct, "{name}" is {dtype}', fix="a Struct column")
            made = {field.name: field.dtype for field in dtype.fields}
        _no_clash(node, made, columns)
        columns |= made
    kept = same({name: dtype for name, dtype in here.columns.items() if name not in node.columns})
    build = partial(Unnest, node.columns)
    return Placed(here.then(node, columns, kept), "unnest", build, node.columns, ", ".join(node.columns))


@place.register
def _(node: nodes.MapBatches, here: Here) -> Placed:
    kept = same({name: dtype for name, dtype in node.schema.items() if here.columns.get(name) == dtype})
    after = here.then(node, node.schema, kept)
    name = getattr(node.function, "__name__", type(node.function).__name__)
    build = partial(MapBatches, node.function, dict(node.schema), node.on_fail, trusted(here, kept))
    summary = f"{name} -> {_count(node.schema)}" + _else(node.on_fail, "stop")
    return Placed(after, "map_batches", build, [node.function, node.schema, node.on_fail], summary)


@place.register
def _(node: nodes.WithWatermark, here: Here) -> Placed:
    known(node, [node.column], here.columns)
    if here.watermark:
        raise problem(
            "SP108",
            node,
            "the stream has a watermark already",
            detail=[f"set at {here.watermark.location}"],
            fix="one with_watermark, before the first step that needs it",
        )
    if (dtype := here.columns[node.column]) != TIME:
        raise problem(
            "SP105",
            node,
            f'event time must be a Datetime in UTC, "{node.column}" is {dtype}',
            detail=[columns_here(here.columns)],
            fix=f'declare "{node.column}": pl.Datetime in the format\'s schema, or convert it by with_columns',
        )
    after = replace(here.then(node, here.columns, same(here.columns)), event_time=node.column, watermark=node)
    build = partial(WithWatermark, node.column, node.lateness, node.ahead)
    summary = f"{node.column}, {text(node.lateness)} late, at most {text(node.ahead)} ahead"
    signature = f"with_watermark {node.column} lateness {text(node.lateness)}"
    return Placed(after, node.verb, build, [node.column, node.lateness, node.ahead], summary, (), signature)


@place.register
def _(node: nodes.Expect, here: Here) -> Placed:
    hidden = predicates(node, [node.predicate], here)
    assert node.name is not None
    build = partial(Expect, node.name, node.predicate, hidden, node.on_fail)
    summary = f'"{node.name}": {shown(node.predicate)}, else {node.on_fail}'
    after = here.then(node, here.columns, same(here.columns))
    return Placed(after, "expect", build, [node.name, node.predicate, node.on_fail], summary, hidden)
