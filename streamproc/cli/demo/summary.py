"""The end of the demo: where every message went, and what the tables hold, read back from Delta."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import polars as pl

from streamproc.cli import accounting, screen, tables
from streamproc.flow import nodes
from streamproc.flow.topology import Topology
from streamproc.lake import Lake
from streamproc.plan.model import Plan
from streamproc.runtime.account import Counters

REASONS = {
    "not_json": "not JSON",
    "event_time_ahead": "over 1h ahead",
    "wrong_type": "of a wrong type",
    "missing_field": "without a required field",
    "event_time_null": "without an event time",
    "empty": "empty",
    "tombstone": "tombstones",
}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_ROWS = 5
SAMPLE = {
    "message": pl.format("{}/{} @ {}", "topic", "partition", "offset"),
    "step": pl.col("step"),
    "reason": pl.col("reason"),
    "payload": pl.col("value"),
}


def accounts(topology: Topology, plan: Plan, counters: Mapping[str, Counters], lake: Lake) -> None:
    """Print where the messages went, table by table."""
    rejected = _stored(lake, plan.rejected)
    width = max(len(table.name) for table in plan.tables.values() if table.role == "output") + 2
    for stage in plan.stages:
        for account in accounting.tables(stage, accounting.of_stage(plan, counters, stage)):
            if account.windowed:
                _line(account.table, width, account.windowed[1], f"rows in {account.rows:,} closed windows")
            else:
                _line(account.table, width, account.rows, "written")
            merged: dict[str, list[accounting.Line]] = {}
            for line in account.lines:
                merged.setdefault(line.outcome, []).append(line)
            for outcome, lines in merged.items():
                remark = _remark(outcome, lines, rejected, lambda: _until(topology, lake))
                _line("", width, sum(line.rows for line in lines), remark)


def first_rows(plan: Plan, lake: Lake) -> None:
    """Print the first rows of each table."""
    for name in [*dict.fromkeys(table for stage in plan.stages for table in stage.tables), plan.rejected, plan.late]:
        rows = _stored(lake, name)
        if name in (plan.rejected, plan.late):
            screen.say(f"\n{name}, first of {rows.height:,}", "bold")
            rows = rows.sort("offset", "partition").select(**SAMPLE)
        else:
            screen.say(f"\n{name}, read back from Delta", "bold")
            rows = rows.sort(rows.columns[:3])
        screen.say(tables.text(rows.head(FIRST_ROWS), screen.out.width))


def row_counts(plan: Plan, lake: Lake) -> dict[str, int]:
    """Rows of each table, counted in Delta."""
    return {name: tables.handle(lake, name).count() for name in plan.tables}


def _stored(lake: Lake, table: str) -> pl.DataFrame:
    return pl.scan_delta(tables.handle(lake, table)).collect()


def _line(table: str, width: int, rows: int, text: str) -> None:
    screen.say(f"  {table:<{width}}{rows:>9,}  {text}")


def _remark(outcome: str, lines: list[accounting.Line], rejected: pl.DataFrame, until: Callable[[], str]) -> str:
    step = lines[0].step
    match outcome:
        case "held":
            return f"rows in open windows{until()}"
        case "late" if step.kind == "group_by":
            return "late: in silver, too late for their window"
        case "rejected":
            steps = [line.step.id for line in lines]
            found = rejected.filter(pl.col("step").is_in(steps)).group_by("step", "reason").len()
            found = found.sort("len", descending=True)
            names = [f"{n:,} {_reason(step, reason)}" for step, reason, n in found.iter_rows()]
            return f"rejected     {', '.join(names)}"
        case "duplicates":
            return f"duplicates   same {step.summary.partition('   ')[0]}"
        case _:
            return f"{outcome:<12} {step.summary}"


def _reason(step: str, reason: str) -> str:
    return f'"{step.removeprefix("expect:")}"' if reason == "expectation" else REASONS.get(reason, reason)


def _until(topology: Topology, lake: Lake) -> str:
    """When the windows that are open close: lateness after the end of the newest row's window."""
    watermark = next((node for node in topology.nodes if isinstance(node, nodes.WithWatermark)), None)
    group = next((node for node in topology.nodes if isinstance(node, nodes.GroupBy)), None)
    table = next((node.table for node in topology.nodes if isinstance(node, nodes.WriteDelta)), None)
    if watermark is None or group is None or table is None:
        return ""
    newest = pl.scan_delta(tables.handle(lake, table)).select(pl.col(watermark.column).max()).collect().item()
    window = group.windows[0]
    us = (newest - EPOCH) // timedelta(microseconds=1) - window.offset
    end = (us // window.every + 1) * window.every + window.offset + watermark.lateness
    return f" (they close when event time passes {EPOCH + timedelta(microseconds=end):%H:%M:%S})"
