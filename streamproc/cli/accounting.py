"""Where every message went: the counters of a run, told table by table, and checked that they add up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from streamproc.errors import StreamprocError
from streamproc.plan.model import SOURCE, Plan, Stage, Step
from streamproc.runtime.account import NOT_PASSED, Counters, passed, total

CHANGES_HEIGHT = frozenset({"group_by", "explode"})
"""Verbs whose rows out are not their rows in that passed."""


@dataclass(frozen=True)
class Line:
    """One outcome: so many rows, of what kind, at which step."""

    rows: int
    outcome: str
    step: Step


@dataclass(frozen=True)
class TableAccount:
    """What went into a table, and what did not on the way from the table told before it.

    Args:
        table: its name.
        rows: rows that it got.
        windowed: the step whose windows these rows are, if any, and the rows that went into them.
        lines: what did not get there.
    """

    table: str
    rows: int
    windowed: tuple[Step, int] | None
    lines: tuple[Line, ...]


def of_stage(plan: Plan, accounts: Mapping[str, Counters], stage: Stage) -> Counters:
    """Counters of all tasks of a stage, added up."""
    prefix = f"{plan.name}/{stage.name}/"
    return total({task: counters for task, counters in accounts.items() if task.startswith(prefix)})


def tables(stage: Stage, counters: Counters) -> Iterator[TableAccount]:
    """The stage's tables in order; a step that several of them share is told once."""
    told: set[str] = set()
    for sink in stage.steps:
        if sink.table is None:
            continue
        path = [step for step in _path(stage, sink) if step.id not in told]
        told |= {step.id for step in path}
        windows = [step for step in path if step.kind == "group_by"]
        windowed = (windows[-1], passed(counters.get(windows[-1].id, {}))) if windows else None
        lines = [
            Line(counters[step.id][outcome], outcome, step)
            for step in path
            for outcome in NOT_PASSED
            if counters.get(step.id, {}).get(outcome)
        ]
        yield TableAccount(sink.table, counters.get(sink.id, {}).get("in", 0), windowed, tuple(lines))


def check(plan: Plan, accounts: Mapping[str, Counters], read: Mapping[str, int], stored: Mapping[str, int]) -> None:
    """Prove that nothing was lost or doubled between messages and tables.

    Args:
        plan: what ran.
        accounts: counters by task.
        read: messages by topic.
        stored: rows in each table, counted there.

    Raises:
        StreamprocError: the numbers don't add up; every one that doesn't is named.
    """
    wrong: list[str] = []
    expected = dict.fromkeys(plan.tables, 0)

    def same(what: str, left: int, right: int) -> None:
        if left != right:
            wrong.append(f"{what}: {left:,} against {right:,}")

    for stage in plan.stages:
        counters = of_stage(plan, accounts, stage)
        source = counters.get(SOURCE, {})
        same(f"messages of {stage.topic} and of its tasks", read[stage.topic], source.get("in", 0))
        expected[plan.rejected] += source.get("rejected", 0)
        for step in stage.steps:
            counts = counters.get(step.id, {})
            before = passed(source) if step.parent < 0 else counters.get(stage.steps[step.parent].id, {}).get("out", 0)
            same(f"rows before and into {step.id}", before, counts.get("in", 0))
            if step.kind not in CHANGES_HEIGHT:
                same(f"rows that passed {step.id} and rows out", passed(counts), counts.get("out", 0))
            expected[plan.rejected] += counts.get("rejected", 0)
            expected[plan.late] += counts.get("late", 0)
            if step.table:
                expected[step.table] += counts.get("in", 0)
    for table, rows in expected.items():
        same(f"rows for {table} and in it", rows, stored.get(table, 0))
    if wrong:
        raise StreamprocError(
            "SP901", "the numbers don't add up: this is a defect of streamproc", detail=wrong, fix="please report it"
        )


def _path(stage: Stage, sink: Step) -> list[Step]:
    """Steps from the source to a sink, without the sink."""
    path: list[Step] = []
    at = sink.parent
    while at >= 0:
        path.append(stage.steps[at])
        at = stage.steps[at].parent
    return path[::-1]
