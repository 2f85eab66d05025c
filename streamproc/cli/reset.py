"""`streamproc reset`: makes a topology start anew, or go on where its tables are; says first what that means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated
from uuid import uuid4

import typer

from streamproc import position
from streamproc.cli import kafka, screen, tables
from streamproc.cli.options import ConfigFile, Sets, TopologyFile, settings
from streamproc.errors import LogError
from streamproc.lake import Lake
from streamproc.plan import Plan, load_topology
from streamproc.plan import plan as planned
from streamproc.runtime.kafka.admin import Admin
from streamproc.runtime.kafka.placing import place
from streamproc.runtime.log import TopicPartition
from streamproc.sinks.base import TableState
from streamproc.sinks.delta.read import inspect, row_count
from streamproc.sinks.delta.reset import Restart, places
from streamproc.sinks.delta.reset import reset as reset_table
from streamproc.sinks.delta.verify import verify
from streamproc.state.manifest import Manifest


@dataclass(frozen=True)
class _Table:
    """A table that is there: where, its rows, the tasks that it knows, and v of those that read the topics of now."""

    uri: str
    rows: int
    tasks: frozenset[str]
    places: Mapping[str, int]


@dataclass(frozen=True)
class _Task:
    """A task as it is now.

    Args:
        id, topic_id: its own and its topic's.
        first, end: offsets of the earliest and of the next record.
        position: where it goes on; None for a first start.
    """

    id: str
    topic_id: str
    first: int
    end: int
    position: int | None = None

    def restart(self, v: int) -> Restart:
        """Of a table that was at v: a log that has become shorter begins to count again at its end."""
        return Restart(min(v, position.before(self.end)), self.topic_id)


def reset(
    file: TopologyFile,
    config: ConfigFile = None,
    sets: Sets = None,
    keep_rows: Annotated[
        bool, typer.Option("--keep-rows", help="Leave the rows in the tables, and go on where the tables are.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
) -> None:
    """Forget state, offsets and rows of a topology, so that it starts anew. Says first what that means."""
    loaded = settings(config, sets)
    plan = planned(load_topology(file))
    lake = tables.lake_of(loaded)
    admin = kafka.admin(loaded)
    tasks = _tasks(admin, plan)
    there = _tables(lake, plan, {task.id: task.topic_id for task in tasks.values()})
    if keep_rows:
        tasks = {partition: _going_on(task, there) for partition, task in tasks.items()}
    _tell(plan, tasks, there, keep_rows=keep_rows)
    if not yes:
        screen.confirm("Go on?")
    # State first: a table that remembers more than state stops the next start, so that a reset cut short is seen.
    admin.forget(plan.name)
    states = {name: _reset_table(plan, lake, table, tasks, keep_rows=keep_rows) for name, table in there.items()}
    for name, table in there.items() if not keep_rows else ():
        screen.say(f"  {name}: {screen.many(table.rows, 'row')} deleted")
    manifests = {
        partition: _manifest(plan, partition, task, states, lake, sum(p.topic == partition.topic for p in tasks))
        for partition, task in tasks.items()
        if task.position is not None
    }
    if manifests:
        place(admin, plan.name, manifests)
    screen.say(f"{plan.name} {'goes on where its tables are' if manifests else 'starts anew'} at its next run", "green")


def _tasks(admin: Admin, plan: Plan) -> dict[TopicPartition, _Task]:
    found: dict[TopicPartition, _Task] = {}
    for stage in plan.stages:
        try:
            topic = admin.topics([stage.topic])[stage.topic]
        except LogError as error:
            if error.code != kafka.MISSING:
                raise
            continue  # its tables are known all the same
        partitions = [TopicPartition(stage.topic, number) for number in range(topic.partitions)]
        firsts, ends = admin.firsts(partitions), admin.ends(partitions)
        found |= {p: _Task(plan.task(*p), topic.id, firsts[p], ends[p]) for p in partitions}
    return found


def _tables(lake: Lake, plan: Plan, topics: Mapping[str, str]) -> dict[str, _Table]:
    found = {}
    for name, table in plan.tables.items():
        uri = lake.table_uri(name)
        if inspect(uri, table, lake.options) is not None:
            known = frozenset(task for task, v in verify(uri, lake.options).tasks.items() if v is not None)
            at = places(uri, topics, storage_options=lake.options)
            found[name] = _Table(uri, row_count(uri, lake.options), known, at)
    return found


def _going_on(task: _Task, there: Mapping[str, _Table]) -> _Task:
    """From the place of the table that is furthest behind: what the others hold already is trimmed."""
    known = [task.restart(table.places[task.id]).v for table in there.values() if task.id in table.places]
    at = max(min(known), position.before(task.first)) if known else None
    return _Task(task.id, task.topic_id, task.first, task.end, at)


def _reset_table(
    plan: Plan, lake: Lake, table: _Table, tasks: Mapping[TopicPartition, _Task], *, keep_rows: bool
) -> Mapping[str, TableState]:
    restarts: dict[str, Restart | None] = dict.fromkeys(table.tasks)
    for task in tasks.values():
        goes_on = task.position is not None and task.id in table.places
        restarts[task.id] = task.restart(table.places[task.id]) if goes_on else None
    return reset_table(
        table.uri,
        restarts,
        topology=plan.name,
        writer=uuid4().hex,
        delete_rows=not keep_rows,
        storage_options=lake.options,
    )


def _manifest(
    plan: Plan,
    partition: TopicPartition,
    task: _Task,
    states: Mapping[str, Mapping[str, TableState]],
    lake: Lake,
    partitions: int,
) -> Manifest:
    stage = plan.stage(partition.topic)
    known = {name: state[task.id] for name, state in states.items() if task.id in state}
    return Manifest(
        task.id,
        task.position or 0,
        task.topic_id,
        stage.fingerprint,
        lake.identity(lambda: uuid4().hex),
        partitions,
        tables=known,
    )


def _tell(plan: Plan, tasks: Mapping[TopicPartition, _Task], there: Mapping[str, _Table], *, keep_rows: bool) -> None:
    screen.say(f"reset {plan.name}", "bold")
    screen.say("  forgets")
    screen.say(f"    state and offsets of {screen.many(len(tasks), 'task')} in Kafka")
    for name, table in there.items():
        what = "keeps its rows" if keep_rows else "loses its rows (older versions stay until a vacuum)"
        screen.say(f"    how far {name} has come; it {what}: {table.rows:,}")
    screen.say("  reads again")
    for stage in plan.stages:
        own = [task for partition, task in tasks.items() if partition.topic == stage.topic]
        starts = [task.first if task.position is None else position.offset_of(task.position) for task in own]
        count = sum(task.end - start for task, start in zip(own, starts, strict=True))
        place = f"from {stage.start}" if all(task.position is None for task in own) else "from where its tables are"
        screen.say(
            f"    {stage.topic} {place}: {screen.many(len(own), 'partition')}, up to {screen.many(count, 'message')}"
        )
    if keep_rows:
        screen.say("  ! state is empty: open windows will be incomplete, deduplication remembers nothing", "yellow")
