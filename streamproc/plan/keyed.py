"""What the verbs that keep state by key mean at their place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import cast

import polars as pl

from streamproc.flow import nodes
from streamproc.flow.aggregates import Aggregate
from streamproc.flow.duration import text
from streamproc.flow.nodes import Node
from streamproc.operators.aggregates import output_columns
from streamproc.operators.deduplicate import Deduplicate
from streamproc.operators.window import Window
from streamproc.plan.expressions import infer, predicates
from streamproc.plan.fingerprint import fingerprint
from streamproc.plan.here import RESERVED_BY_WINDOWS, Here, same
from streamproc.plan.problems import columns_here, known, problem
from streamproc.plan.steps import Placed, place

_NUMBERS = ("sum", "mean", "std", "var")
_ORDERED = ("min", "max")
_NESTED = (pl.List, pl.Array, pl.Struct, pl.Object, pl.Null)


@place.register
def _(node: nodes.Deduplicate, here: Here) -> Placed:
    known(node, node.keys, here.columns)
    event_time = _event_time(node, here)
    _check_keys(node, node.keys, here)
    local = _check_local(node, node.keys, here)
    build = partial(Deduplicate, node.keys, event_time, node.within)
    keys = _typed(node.keys, here)
    return Placed(
        here.then(node, here.columns, same(here.columns)),
        node.verb,
        build,
        [node.keys, event_time, node.within],
        summary=f"{', '.join(node.keys)} within {text(node.within)}   {local}",
        signature=f"deduplicate {keys} within {text(node.within)} by {event_time}",
    )


@place.register
def _(node: nodes.GroupBy, here: Here) -> Placed:
    grouping = replace(node, location=node.grouped_at)
    known(grouping, node.keys, here.columns)
    if len(node.windows) != 1:
        raise problem(
            "SP109",
            grouping,
            "group_by without a window would never give a result" if not node.windows else "group_by takes one window",
            fix='group_by(sp.tumbling("1m"), ...)' if not node.windows else "keep one, and write another group_by",
        )
    window = node.windows[0]
    event_time = _event_time(grouping, here)
    _check_keys(grouping, node.keys, here)
    local = _check_local(grouping, node.keys, here)
    hidden = _check_aggregates(node, here)
    columns = output_columns(dict(here.columns), node.keys, dict(node.aggregates))
    build = partial(Window, window, node.keys, event_time, dict(node.aggregates), dict(here.columns), hidden)
    after = here.then(node, columns, same(dict.fromkeys(node.keys)))
    aggregates = ", ".join(
        f"{name}:{columns[name]}={fingerprint(node.aggregates[name])[:12]}" for name in node.aggregates
    )
    keys = ", ".join(node.keys)
    return Placed(
        replace(after, event_time="window_start", aggregated=True),
        node.verb,
        build,
        [window, node.keys, event_time, node.aggregates],
        summary=f"{window} window{', ' if keys else ''}{keys}   {local}",
        hidden=hidden,
        signature=f"group_by {window} of {event_time} keys {_typed(node.keys, here)} aggregates {aggregates}",
    )


def _event_time(node: Node, here: Here) -> str:
    if here.event_time:
        return here.event_time
    if here.watermark:
        column = cast(nodes.WithWatermark, here.watermark).column
        lost = next((one for name, one in here.lost.items() if isinstance(one, Node) and name == column), None)
        raise problem(
            "SP108",
            node,
            f'{node.verb} needs the event time, and "{column}" is gone or changed',
            detail=[f"by {lost.verb} at {lost.location}"] if lost else [],
            fix=f'keep "{column}" as it is up to here (renaming is fine)',
        )
    raise problem(
        "SP108",
        node,
        f"{node.verb} needs event time: there is no watermark",
        fix='.with_watermark("event_time", lateness="10s") before',
    )


def _check_keys(node: Node, keys: Iterable[str], here: Here) -> None:
    for key in keys:
        if key in RESERVED_BY_WINDOWS and isinstance(node, nodes.GroupBy):
            raise problem(
                "SP107", node, f'"{key}" is the window\'s own column, not a key', fix="leave it out or rename it"
            )
        if isinstance(here.columns[key], _NESTED):
            raise problem(
                "SP105",
                node,
                f'"{key}" can\'t be a key: it is {here.columns[key]}',
                fix="a key is one value: text, bytes, a number, a time; take a field or an element of it",
            )


def _check_local(node: Node, keys: tuple[str, ...], here: Here) -> str:
    """Refuse a keyed step whose keys may occur in several partitions; says by what it is local."""
    why = "a keyed step runs in each partition by itself, and rows with the same keys may be in different partitions"
    listed = ", ".join(keys) or "none"
    if len(here.topics) > 1:
        raise problem(
            "SP111",
            node,
            f"{node.verb} on several topics",
            detail=[why, f"topics: {', '.join(here.topics)}"],
            fix="read one topic, and bring the others into it first",
        )
    if here.partition is None:
        raise problem(
            "SP111",
            node,
            f"{node.verb} needs a topic that is partitioned by its keys",
            detail=[why, f"keys: {listed}"],
            fix=f'if the producer partitions by one of them: read_kafka(..., partitioned_by="{[*keys, "key"][0]}")',
        )
    for declared, held in here.partition.items():
        if held and held & set(keys):
            continue
        lost = here.lost.get(declared)
        detail = [why, f"keys: {listed}; the topic is partitioned by {', '.join(here.partition)}"]
        if held is None:
            detail.append(f'"{declared}" has not appeared yet')
        elif lost:
            detail.append(f'"{declared}" was dropped or changed by {lost.verb} at {lost.location}')
        name = min(held) if held else declared
        raise problem(
            "SP111",
            node,
            f'{node.verb} is not local: its keys lack "{name}"',
            detail=detail,
            fix=f'add "{name}" to the keys'
            if held
            else f'keep "{declared}" as it is up to here, and add it to the keys',
        )
    return f"local ({', '.join(here.partition)})"


def _typed(keys: Iterable[str], here: Here) -> str:
    return ", ".join(f"{key}:{here.columns[key]}" for key in keys)


def _check_aggregates(node: nodes.GroupBy, here: Here) -> tuple[str, ...]:
    """Judge each aggregate; returns the hidden columns they use."""
    hidden: set[str] = set()
    for name, aggregate in node.aggregates.items():
        if name in node.keys or name in RESERVED_BY_WINDOWS:
            what = "a key" if name in node.keys else "the window's own column"
            raise problem("SP107", node, f'aggregate "{name}" has the name of {what}', fix="give it another name")
        where = f'"{name}" of agg'
        if aggregate.where is not None:
            hidden.update(predicates(node, [aggregate.where], here, where=f"where= of {where}"))
        if aggregate.value is not None:
            hidden.update(_check_value(node, aggregate, aggregate.value, here, where))
    return tuple(sorted(hidden))


def _check_value(node: nodes.GroupBy, aggregate: Aggregate, value: pl.Expr, here: Here, where: str) -> tuple[str, ...]:
    inferred = infer(node, [value], here, where=where)
    if len(inferred.columns) != 1:
        raise problem(
            "SP110", node, f"{where}: {aggregate.kind} takes one column, not {len(inferred.columns)}", fix="name one"
        )
    ((column, dtype),) = inferred.columns.items()
    kind = aggregate.kind
    if kind in _NUMBERS and not dtype.is_numeric():
        boolean = dtype == pl.Boolean
        raise problem(
            "SP110",
            node,
            f'{where}: {kind} needs numbers, "{column}" is {dtype}',
            detail=[columns_here(f"{name} {one}" for name, one in here.columns.items())],
            fix=f'sp.count(where=pl.col("{column}"))'
            if boolean
            else f'sp.count("{column}"), or pl.col("{column}").cast(pl.Float64)',
        )
    if kind in _ORDERED and isinstance(dtype, (*_NESTED, pl.Categorical, pl.Enum)):
        raise problem(
            "SP110", node, f'{where}: {kind} needs an order, "{column}" is {dtype}', fix="take a field or element of it"
        )
    return inferred.hidden
