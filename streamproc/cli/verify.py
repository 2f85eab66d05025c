"""`streamproc verify`: proves from the Delta logs alone that tables hold every position of every task once.

Of a topology it also sees that all tables are there and know the same tasks: one that was deleted can't say so itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Annotated

import typer

from streamproc.cli import screen, tables
from streamproc.cli.options import ConfigFile, Sets, settings
from streamproc.errors import TableError
from streamproc.lake import Lake
from streamproc.plan import Plan, load_topology, plan
from streamproc.sinks.delta.verify import Problem, Verification, check
from streamproc.sinks.delta.verify import verify as verify_log

PROBLEMS_SHOWN_MAX = 20
RESTARTS_SHOWN_MAX = 20
MISSING = "SP511"
"""Code of the error for a table that is not there."""


def verify(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FILE | TABLE]...", help="Topology files or tables; by default all tables of the lake."
        ),
    ] = None,
    config: ConfigFile = None,
    sets: Sets = None,
) -> None:
    """Prove from the Delta logs that positions have no gap, overlap or regression, and that no table is missing."""
    lake = tables.lake_of(settings(config, sets))
    found: dict[str, Verification] = {}
    for name in what or tables.names(lake):
        found |= _topology(lake, plan(load_topology(name))) if name.endswith(".py") else {name: _table(lake, name)}
    if not found:
        raise TableError("SP512", f"no tables in {lake.location}", fix="run a topology first, or give another lake")
    for name, result in found.items():
        _details(name, result)
    screen.say(*line(found.values()))
    if not all(result.ok for result in found.values()):
        raise typer.Exit(1)


def line(results: Iterable[Verification]) -> tuple[str, str]:
    """The one line that says it all, and its colour."""
    results = list(results)
    counts = {kind: sum(result.count(kind) for result in results) for kind in ("gap", "overlap")}
    other = sum(len(result.problems) for result in results) - sum(counts.values())
    parts = [_number(len(results), "table"), *(_number(n, kind) for kind, n in counts.items())]
    parts += [_number(other, "other problem")] if other else []
    return f"verify: {', '.join(parts)}", "green" if all(result.ok for result in results) else "red"


def _table(lake: Lake, table: str) -> Verification:
    result = _verified(lake, table)
    if result is None:
        raise tables.missing(lake, table)
    return result


def _topology(lake: Lake, made: Plan) -> dict[str, Verification]:
    """All tables of a topology. Each task is claimed in all tables of its stage before anything is read."""
    found = {name: result for name in made.tables if (result := _verified(lake, name))}
    if not found:
        raise tables.missing(lake, next(iter(made.tables)))
    return {name: _compared(name, made, found) for name in made.tables}


def _compared(table: str, made: Plan, found: Mapping[str, Verification]) -> Verification:
    """What was found of a table, and what it lacks of what the others know."""
    if table not in found:
        text = "the table is not there, others of the topology are"
        return replace(check(()), problems=(Problem(-1, "missing", "", text),))
    result = found[table]
    if result.since:  # the commits that name its tasks may have been cleaned
        return result
    stages = {
        f"{made.name}/{stage.name}" for stage in made.stages if table in (*stage.tables, made.rejected, made.late)
    }
    known = {task for other in found.values() for task in _tasks(other) if task.rpartition("/")[0] in stages}
    lacks = sorted(known - _tasks(result))
    text = "the table does not know this task, others of the topology do"
    problems = [Problem(result.version, "missing", task, f"{task}: {text}") for task in lacks]
    return replace(result, problems=(*result.problems, *problems))


def _verified(lake: Lake, table: str) -> Verification | None:
    try:
        return verify_log(lake.table_uri(table), lake.options)
    except TableError as error:
        if error.code == MISSING:
            return None
        raise


def _tasks(result: Verification) -> set[str]:
    return {task for task, v in result.tasks.items() if v is not None}


def _details(table: str, result: Verification) -> None:
    text = f"{table}: version {result.version}, {_number(len(_tasks(result)), 'task')}, {_number(result.rows, 'row')}"
    if result.version < 0:
        text = f"{table}: no table"
    if result.since:
        text += f", from version {result.since} on (earlier log entries have been cleaned)"
    screen.say(text)
    for restart in result.restarts[-RESTARTS_SHOWN_MAX:]:
        screen.say(f"  left out: {restart}")
    for problem in result.problems[:PROBLEMS_SHOWN_MAX]:
        screen.say(f"  {problem.kind}: {problem.text}", "red")
    if len(result.problems) > PROBLEMS_SHOWN_MAX:
        screen.say(f"  and {len(result.problems) - PROBLEMS_SHOWN_MAX} more", "red")


def _number(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"
