"""`streamproc plan`: what a topology would do here. Works offline and never writes."""

from __future__ import annotations

from typing import Annotated

import typer

from streamproc.cli import kafka, screen, tables
from streamproc.cli.options import ConfigFile, Sets, TopologyFile, settings
from streamproc.config import Config
from streamproc.errors import LogError, TableError
from streamproc.lake import Lake
from streamproc.plan import Plan, Seen, Table, load_topology, render
from streamproc.plan import plan as planned
from streamproc.sinks.delta.read import inspect

LOOK_S = 2.0
"""Longest that an answer of the broker is waited for."""
IMPATIENT = {"timeout": "5s", "connect_timeout": "2s", "max_retries": "1", "retry_timeout": "3s"}
"""The same for object stores."""


def plan(
    file: TopologyFile,
    config: ConfigFile = None,
    sets: Sets = None,
    offline: Annotated[bool, typer.Option("--offline", help="Ask neither Kafka nor the lake.")] = False,
) -> None:
    """Show what a topology would do; nothing is changed."""
    loaded = settings(config, sets)
    made = planned(load_topology(file))
    partitions, unknown = ({}, []) if offline else _partitions(loaded, made)
    found, problems = ({}, []) if offline else _tables(loaded, made)
    head, *rest = render(made, facts=Seen(partitions, found)).splitlines()
    screen.say(head, "bold")
    for line in [*rest, *(f"! {note}" for note in unknown)]:
        screen.say(line, "yellow" if line.startswith("!") else "")
    for problem in problems:
        screen.say(f"! {problem}", "red")
    if problems:
        raise typer.Exit(1)


def _partitions(config: Config, plan: Plan) -> tuple[dict[str, int], list[str]]:
    """Partitions by topic, and what hinders to know them."""
    if not config.settings.kafka.bootstrap_servers:
        return {}, []
    partitions, notes = {}, []
    for stage in plan.stages:
        try:
            partitions[stage.topic] = kafka.admin(config, LOOK_S).topics([stage.topic])[stage.topic].partitions
        except LogError as error:
            notes.append("; ".join([error.message, *error.detail]))
            if error.code == kafka.UNREACHABLE:
                break
    return partitions, notes


def _tables(config: Config, plan: Plan) -> tuple[dict[str, str], list[str]]:
    """What to say of each table, and what would stop a run."""
    if not config.settings.lake:
        return {}, []
    lake = tables.lake_of(config)
    problems: list[str] = []
    return {name: _table(lake, table, plan.name, problems) for name, table in plan.tables.items()}, problems


def _table(lake: Lake, table: Table, topology: str, problems: list[str]) -> str:
    columns = f"{len(table.columns)} columns"
    try:
        options = {**IMPATIENT, **lake.options} if lake.local is None else lake.options
        existing = inspect(lake.table_uri(table.name), table, options)
    except TableError as error:
        problems.append(error.message)
        return f"{columns}, can't be looked at"
    if existing is None:
        return f"new, {columns}"
    version = f"exists (version {existing.version})"
    if existing.owner not in ("", topology):
        problems.append(f'table "{table.name}" belongs to topology "{existing.owner}"')
        return f"{version}, belongs to {existing.owner}"
    problems.extend(f'table "{table.name}": {line}' for line in existing.differences)
    return f"{version}, {'schema DIFFERS' if existing.differences else 'schema matches'}"
