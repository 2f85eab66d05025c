"""What is true of the rows at one place of a topology."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import polars as pl

from streamproc.flow.nodes import Node
from streamproc.operators.batch import HIDDEN
from streamproc.plan.problems import columns_here, problem

RESERVED_BY_WINDOWS = ("window_start", "window_end")


@dataclass(frozen=True)
class Here:
    """Rows after a step.

    Args:
        columns: their columns.
        topics: where they come from.
        partition: each declared partition column -> the columns that hold its value unchanged; None: not seen yet;
            empty: lost. None as a whole: the topic is not declared `partitioned_by`.
        lost: what the step was that last changed or dropped a column that mattered: column -> node.
        event_time: the column that holds it.
        watermark: the step that set it.
        aggregated: rows no longer stand for one record each.
        relied_on: a step with keys follows: partition columns and event time must be what they are taken for.
    """

    columns: Mapping[str, pl.DataType]
    topics: tuple[str, ...]
    partition: Mapping[str, frozenset[str] | None] | None = None
    lost: Mapping[str, Node] = field(default_factory=dict)
    event_time: str | None = None
    watermark: Node | None = None
    aggregated: bool = False
    relied_on: bool = False

    def then(self, node: Node, columns: Mapping[str, pl.DataType], copies: Mapping[str, str]) -> Here:
        """After a step with these columns, of which `copies` (new -> old) hold the values they held before."""
        check_columns(node, columns, new=[name for name in columns if copies.get(name) != name])
        lost = dict(self.lost)
        partition = self.partition
        if partition is not None:
            partition = {name: _follow(name, held, self.columns, columns, copies) for name, held in partition.items()}
            lost |= {name: node for name, held in partition.items() if held == frozenset() and name not in lost}
        event_time = self.event_time
        if event_time is not None:
            now = [new for new, old in copies.items() if old == event_time]
            if not now:
                lost[event_time] = node
            event_time = event_time if event_time in now else next(iter(now), None)
        return replace(self, columns=dict(columns), partition=partition, lost=lost, event_time=event_time)


def trusted(here: Here, names: Iterable[str]) -> dict[str, str]:
    """Those of the names whose values must stay for steps that follow -> what they are."""
    if not here.relied_on:
        return {}
    held = [column for columns in (here.partition or {}).values() for column in columns or ()]
    roles = dict.fromkeys(held, "what the topic is partitioned by")
    if here.event_time:
        roles[here.event_time] = "the event time"
    return {name: roles[name] for name in names if name in roles}


def _follow(
    name: str,
    held: frozenset[str] | None,
    before: Mapping[str, pl.DataType],
    after: Mapping[str, pl.DataType],
    copies: Mapping[str, str],
) -> frozenset[str] | None:
    if held is None:
        return frozenset([name]) if name in after and name not in before else None
    return frozenset(new for new, old in copies.items() if old in held)


def same(columns: Mapping[str, object]) -> dict[str, str]:
    """All of them unchanged."""
    return {name: name for name in columns}


def check_columns(node: Node, columns: Mapping[str, pl.DataType], new: list[str]) -> None:
    """Names and types that no column may have."""
    for name in new:
        if name in HIDDEN or name.startswith("__") or not name:
            raise problem(
                "SP107",
                node,
                f'column name "{name}" is reserved',
                detail=["reserved: names that begin with __, and " + ", ".join(HIDDEN)],
                fix=f'give it another name, such as "{name.strip("_") or "value"}"',
            )
        if wrong := _time(columns[name]):
            raise problem(
                "SP105",
                node,
                f'column "{name}" is {columns[name]}: time is UTC microseconds here',
                detail=[columns_here(columns)],
                fix=wrong,
            )


def _time(dtype: object) -> str:
    """What to do about a Datetime that is not in UTC microseconds, at any depth; empty if there is none."""
    match dtype:
        case pl.Datetime(time_zone=None):
            return '.dt.replace_time_zone("UTC")' + ('.dt.cast_time_unit("us")' if dtype.time_unit != "us" else "")
        case pl.Datetime(time_zone="UTC", time_unit="us"):
            return ""
        case pl.Datetime(time_zone="UTC"):
            return '.dt.cast_time_unit("us")'
        case pl.Datetime():
            return '.dt.convert_time_zone("UTC"), or .dt.replace_time_zone(None) and text for local time'
        case pl.List() | pl.Array():
            return _time(dtype.inner)
        case pl.Struct():
            return next((fix for field_ in dtype.fields if (fix := _time(field_.dtype))), "")
    return ""
