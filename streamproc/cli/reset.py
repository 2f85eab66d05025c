"""`streamproc reset`: makes a topology start anew; says first what that means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated
from uuid import uuid4

import typer

from streamproc.cli import kafka, screen, tables
from streamproc.cli.options import ConfigFile, Sets, TopologyFile, settings
from streamproc.errors import LogError
from streamproc.lake import Lake
from streamproc.plan import Plan, load_topology
from streamproc.plan import plan as planned
from streamproc.runtime.kafka.admin import Admin
from streamproc.runtime.log import TopicPartition
from streamproc.sinks.delta.read import inspect, row_count
from streamproc.sinks.delta.reset import reset as reset_table
from streamproc.sinks.delta.verify import verify


@dataclass(frozen=True)
class _Table:
    """A table that is there: its rows and the tasks that it knows."""

    rows: int
    tasks: frozenset[str]


def reset(
    file: TopologyFile,
    config: ConfigFile = None,
    sets: Sets = None,
    keep_rows: Annotated[bool, typer.Option("--keep-rows", help="Leave the rows that are in the tables.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
) -> None:
    """Forget state, offsets and rows of a topology, so that it starts anew. Says first what that means."""
    loaded = settings(config, sets)
    plan = planned(load_topology(file))
    lake = tables.lake_of(loaded)
    admin = kafka.admin(loaded)
    partitions = _partitions(admin, plan)
    there = _tables(lake, plan)
    _tell(plan, admin, partitions, there, keep_rows=keep_rows)
    if not yes:
        typer.confirm("Go on?", abort=True)
    # State first: a table that remembers more than state stops the next start, so that a reset cut short is seen.
    admin.forget(plan.name)
    from_kafka = {plan.task(*partition) for partition in partitions}
    for name, table in there.items():
        reset_table(
            lake.table_uri(name),
            dict.fromkeys(from_kafka | table.tasks),
            topology=plan.name,
            writer=uuid4().hex,
            delete_rows=not keep_rows,
            storage_options=lake.options,
        )
    screen.say(f"{plan.name} starts anew at its next run", "green")


def _partitions(admin: Admin, plan: Plan) -> list[TopicPartition]:
    found = []
    for stage in plan.stages:
        try:
            topic = admin.topics([stage.topic])[stage.topic]
        except LogError as error:
            if error.code != kafka.MISSING:
                raise
            continue  # its tables are known all the same
        found += [TopicPartition(stage.topic, number) for number in range(topic.partitions)]
    return found


def _tables(lake: Lake, plan: Plan) -> dict[str, _Table]:
    found = {}
    for name, table in plan.tables.items():
        uri = lake.table_uri(name)
        if inspect(uri, table, lake.options) is not None:
            known = verify(uri, lake.options).tasks
            found[name] = _Table(
                row_count(uri, lake.options), frozenset(task for task, v in known.items() if v is not None)
            )
    return found


def _tell(
    plan: Plan, admin: Admin, partitions: list[TopicPartition], there: Mapping[str, _Table], *, keep_rows: bool
) -> None:
    screen.say(f"reset {plan.name}", "bold")
    screen.say("  forgets")
    screen.say(f"    state and offsets of {len(partitions)} tasks in Kafka")
    for name, table in there.items():
        what = "keeps its rows" if keep_rows else "loses its rows (older versions stay until a vacuum)"
        screen.say(f"    how far {name} has come; it {what}: {table.rows:,}")
    screen.say("  reads again")
    firsts, ends = admin.firsts(partitions), admin.ends(partitions)
    for stage in plan.stages:
        own = [partition for partition in partitions if partition.topic == stage.topic]
        count = sum(ends[partition] - firsts[partition] for partition in own)
        screen.say(f"    {stage.topic} from {stage.start}: {len(own)} partitions, up to {count:,} messages there")
    if keep_rows and any(table.rows for table in there.values()):
        screen.say("  ! rows are kept: what is read again will be in the tables twice", "yellow")
