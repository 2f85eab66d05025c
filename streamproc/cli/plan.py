"""`streamproc plan`: what a topology would do here. Works offline and never writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated

import typer

from streamproc.cli import kafka, screen, tables, topology_file
from streamproc.cli.options import ConfigFile, Sets, TopologyFile, settings
from streamproc.config import Config
from streamproc.errors import LogError, TableError
from streamproc.lake import Lake
from streamproc.plan.model import Plan, Stage, Step, Table
from streamproc.runtime.kafka.admin import Topic
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
    planned = topology_file.plan_of(file)
    topics, kafka_note = ({}, "") if offline else _topics(loaded, planned)
    lake = tables.lake_of(loaded) if loaded.settings.lake and not offline else None
    tasks = sum(topic.partitions for topic in topics.values())
    counted = [
        _number(len(planned.stages), "stage"),
        *([_number(tasks, "task")] if tasks else []),
        _number(len(planned.stages), "topic"),
        _number(len(planned.tables), "table"),
    ]
    screen.say(f"{planned.name}: {', '.join(counted)}. Nothing was changed.", "bold")
    problems: list[str] = []
    for number, stage in enumerate(planned.stages, 1):
        screen.say(f"stage {number}  {_source(stage, topics.get(stage.topic))}")
        for line in _stage(planned, stage, lake, problems):
            screen.say(f"  {line}")
    for table in (planned.rejected, planned.late):
        screen.say(f"  -> {table:<28} {_table(planned.tables[table], planned.name, lake, problems)}")
    for warning in (*planned.warnings, *([kafka_note] if kafka_note else [])):
        screen.say(f"! {warning}", "yellow")
    for problem in problems:
        screen.say(f"! {problem}", "red")
    if problems:
        raise typer.Exit(1)


def _topics(config: Config, plan: Plan) -> tuple[Mapping[str, Topic], str]:
    """Topics as Kafka has them, and what hinders if it doesn't."""
    if not config.settings.kafka.bootstrap_servers:
        return {}, "no broker is configured: partitions are not known"
    try:
        return kafka.admin(config, LOOK_S).topics([stage.topic for stage in plan.stages]), ""
    except LogError as error:
        return {}, f"{error.message}: partitions are not known"


def _source(stage: Stage, topic: Topic | None) -> str:
    start = stage.start.isoformat() if isinstance(stage.start, datetime) else stage.start
    partitions = f", {_number(topic.partitions, 'partition')}" if topic else ""
    name = f" ({topic.name})" if topic and topic.name != stage.topic else ""
    return f"{stage.topic}{name}{partitions}, first start: {start}"


def _stage(plan: Plan, stage: Stage, lake: Lake | None, problems: list[str]) -> Iterator[str]:
    width = max(len(step.kind) for step in stage.steps if step.table is None) + 2
    for index, step in enumerate(stage.steps):
        branch = "" if step.parent == index - 1 else f"   from {_name(stage, step.parent)}"
        if step.table is None:
            state = f'   state "{step.id}"   local' if step.signature else ""
            yield f"{step.kind:<{width}}{step.summary}{state}{branch}".rstrip()
        else:
            yield f"-> {step.table:<28} {_table(plan.tables[step.table], plan.name, lake, problems)}{branch}"


def _name(stage: Stage, index: int) -> str:
    """A step by its id, the source by its topic. Sinks pass nothing on, so it is never one."""
    step: Step | None = stage.steps[index] if index >= 0 else None
    return step.id if step else stage.topic


def _table(table: Table, topology: str, lake: Lake | None, problems: list[str]) -> str:
    by = f", by {', '.join(table.partition_by)}" if table.partition_by else ""
    columns = f"{_number(len(table.columns), 'column')}{by}"
    if lake is None:
        return columns
    try:
        options = {**IMPATIENT, **lake.options} if lake.local is None else lake.options
        existing = inspect(lake.table_uri(table.name), table, options)
    except TableError as error:
        return f"{columns}; {error.message}"
    if existing is None:
        return f"new, {columns}"
    if existing.owner not in ("", topology):
        problems.append(f'table "{table.name}" belongs to topology "{existing.owner}"')
        return f"exists (version {existing.version}), BELONGS TO {existing.owner}"
    if existing.differences:
        problems.extend(f'table "{table.name}": {line}' for line in existing.differences)
        return f"exists (version {existing.version}), SCHEMA DIFFERS"
    return f"exists (version {existing.version}), schema matches{by}"


def _number(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"
