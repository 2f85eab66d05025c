"""`streamproc verify`: proves from the Delta logs alone that tables hold every position of every task once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer

from streamproc.cli import screen, tables
from streamproc.cli.options import ConfigFile, Sets, settings
from streamproc.errors import TableError
from streamproc.lake import Lake
from streamproc.plan import load_topology, plan
from streamproc.sinks.delta.verify import Verification
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
    """Prove from the Delta logs that positions have no gap, overlap or regression."""
    lake = tables.lake_of(settings(config, sets))
    names = list(_names(what)) if what else tables.names(lake)
    if not names:
        raise TableError("SP512", f"no tables in {lake.location}", fix="run a topology first, or give another lake")
    found = {name: _verified(lake, name) for name in names}
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


def _names(what: Iterable[str]) -> Iterable[str]:
    for name in what:
        if name.endswith(".py"):
            yield from plan(load_topology(name)).tables
        else:
            yield name


def _verified(lake: Lake, table: str) -> Verification:
    try:
        return verify_log(lake.table_uri(table), lake.options)
    except TableError as error:
        raise tables.missing(lake, table) if error.code == MISSING else error from None


def _details(table: str, result: Verification) -> None:
    tasks = sum(v is not None for v in result.tasks.values())
    text = f"{table}: version {result.version}, {_number(tasks, 'task')}, {_number(result.rows, 'row')}"
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
