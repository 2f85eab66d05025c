"""Schemas of expressions, and everything that can be wrong with one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from streamproc.errors import TopologyError
from streamproc.flow.nodes import Node
from streamproc.operators.batch import HIDDEN
from streamproc.plan.here import Here
from streamproc.plan.problems import columns_here, problem, unknown_column
from streamproc.plan.row_wise import PYTHON, dependent_call, differs_by_cut, shows_codes


@dataclass(frozen=True)
class Inferred:
    """What expressions make of the rows at one place.

    Args:
        columns: output columns, in order.
        hidden: hidden columns they use.
        copies: new -> old, of columns that are passed on unchanged.
    """

    columns: Mapping[str, pl.DataType]
    hidden: tuple[str, ...]
    copies: Mapping[str, str]


def infer(node: Node, exprs: Sequence[pl.Expr], here: Here, *, where: str = "") -> Inferred:
    """Judge expressions at a place.

    Raises:
        TopologyError: SP104 unknown column, SP105 wrong type, SP106 depends on other rows, SP107 a name twice,
            SP119 hidden columns where there are none.
    """
    where = where or node.verb
    columns: dict[str, pl.DataType] = {}
    copies: dict[str, str] = {}
    used: set[str] = set()
    for expr in exprs:
        hidden = _hidden(node, expr, here, where)
        used.update(hidden)
        seen = dict(here.columns) | {name: HIDDEN[name] for name in hidden}
        schema = _schema(node, expr, seen, here, where)
        if twice := [name for name in schema if name in columns]:
            raise problem("SP107", node, f'two expressions named "{twice[0]}" in {where}', fix='.alias("another name")')
        columns |= schema
        copies |= _copies(expr, schema, here)
    return Inferred(columns, tuple(name for name in HIDDEN if name in used), copies)


def predicates(node: Node, exprs: Sequence[pl.Expr], here: Here, *, where: str = "") -> tuple[str, ...]:
    """Judge predicates; returns the hidden columns they use.

    Raises:
        TopologyError: as `infer`; SP105 if one is not Boolean.
    """
    used: set[str] = set()
    for expr in exprs:
        inferred = infer(node, [expr], here, where=where)
        used.update(inferred.hidden)
        for name, dtype in inferred.columns.items():
            if dtype != pl.Boolean:
                raise problem(
                    "SP105",
                    node,
                    f"{where or node.verb} needs true or false, this is {dtype}: {shown(expr)}",
                    detail=[_types(expr, here)],
                    fix=f'a comparison, such as pl.col("{name}") > 0',
                )
    return tuple(name for name in HIDDEN if name in used)


def shown(expr: pl.Expr, limit: int = 60) -> str:
    """An expression on one line, cut short."""
    text = re.sub(r"\s+", " ", str(expr)).replace("dyn int: ", "").replace("dyn float: ", "")
    text = re.sub(r'col\("([^"]*)"\)', r"\1", text)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _hidden(node: Node, expr: pl.Expr, here: Here, where: str) -> list[str]:
    names = [name for name in dict.fromkeys(expr.meta.root_names()) if name in HIDDEN]
    if names and here.aggregated:
        raise problem(
            "SP119",
            node,
            f'hidden column "{names[0]}" in {where}: after an aggregate a row no longer stands for one message',
            detail=[columns_here(here.columns)],
            fix=f'keep it through the aggregate, such as {names[0][1:]}=sp.last(pl.col("{names[0]}"))',
        )
    if names and expr.meta.has_multiple_outputs():
        raise problem(
            "SP119",
            node,
            f'hidden column "{names[0]}" and several columns in one expression in {where}: {shown(expr)}',
            fix=f'.with_columns({names[0][1:]}=pl.col("{names[0]}")) before',
        )
    return names


def _schema(
    node: Node, expr: pl.Expr, columns: dict[str, pl.DataType], here: Here, where: str
) -> dict[str, pl.DataType]:
    """On an empty frame, and not from the lazy plan: that finds less."""
    for name in expr.meta.root_names():
        if name not in columns and name:
            raise unknown_column(node, name, here.columns, where=where, hidden=True)
    _refuse_call(node, expr, where, dependent_call(expr))
    if shows_codes(expr, columns):
        raise problem(
            "SP106",
            node,
            f"the numbers behind a Categorical in {where} depend on the rows that were seen before",
            detail=[shown(expr)],
            fix="use the text, or pl.Enum([...]) with its categories",
        )
    try:
        schema = dict(pl.DataFrame(schema=columns).select(expr).schema)
    except pl.exceptions.ColumnNotFoundError as error:
        missing = re.search(r'"([^"]*)"', str(error))
        raise unknown_column(node, missing[1] if missing else "?", here.columns, where=where) from error
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, TypeError, ValueError) as error:
        raise _wrong_type(node, expr, here, where, error) from error
    _refuse_call(node, expr, where, shown(expr) if differs_by_cut(expr, columns) else None)
    return schema


def _wrong_type(node: Node, expr: pl.Expr, here: Here, where: str, error: BaseException) -> TopologyError:
    reason = str(error).split("\n\n")[0].strip().replace("\n", " ")
    if isinstance(error, pl.exceptions.StructFieldNotFoundError):
        reason = f'there is no field "{reason}"'
    return problem(
        "SP105",
        node,
        f"wrong type in {where}: {shown(expr)}",
        detail=[reason, _types(expr, here)],
        fix="cast the column, or use one of another type",
    )


def _types(expr: pl.Expr, here: Here) -> str:
    names = [name for name in dict.fromkeys(expr.meta.root_names()) if name in here.columns] or list(here.columns)
    return "columns here: " + ", ".join(f"{name} {here.columns[name]}" for name in names)


def _refuse_call(node: Node, expr: pl.Expr, where: str, call: str | None) -> None:
    if call == PYTHON:
        raise problem(
            "SP106",
            node,
            f"{PYTHON} in {where}: what it depends on can't be seen",
            detail=[shown(expr)],
            fix="stream.map_batches(function, schema={...}), or Polars expressions",
        )
    if call:
        raise problem(
            "SP106",
            node,
            f"{call} in {where} depends on other rows: its result would depend on how the stream is cut into batches",
            detail=[shown(expr)],
            fix="aggregate in a window: group_by(sp.tumbling(...), ...).agg(...); more rows: explode; fewer: filter",
        )


def _copies(expr: pl.Expr, schema: Iterable[str], here: Here) -> dict[str, str]:
    """Plain selections and renames."""
    if not expr.meta.is_column_selection(allow_aliasing=True):
        return {}
    if expr.meta.has_multiple_outputs():
        return {name: name for name in schema if name in here.columns} if expr.meta.is_column_selection() else {}
    (root,) = expr.meta.root_names() or (None,)
    if root is None:
        return {name: name for name in schema if name in here.columns}
    return dict.fromkeys(schema, root) if root in here.columns else {}
