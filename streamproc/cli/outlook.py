"""What a run would meet in Kafka and in the lake, found out without joining, making or writing anything."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from streamproc import position
from streamproc.cli import kafka
from streamproc.cli.known import KnownJob, KnownTask
from streamproc.config import Config
from streamproc.errors import LogError, StateError, StreamprocError, TableError
from streamproc.lake import Lake
from streamproc.plan import Plan, Table
from streamproc.runtime import opening
from streamproc.runtime.kafka.admin import Admin, Topic
from streamproc.runtime.kafka.log import check_lake
from streamproc.runtime.log import TopicPartition
from streamproc.sinks.base import Claim
from streamproc.sinks.delta import DeltaSink
from streamproc.sinks.delta.read import inspect

LOOK_S = 2.0
"""Longest that an answer of the broker is waited for."""
ALL_S = 10.0
"""Longest that all partitions are looked at."""
SHOWN_MAX = 4
IMPATIENT = {"timeout": "5s", "connect_timeout": "2s", "max_retries": "1", "retry_timeout": "3s"}
"""For object stores."""


@dataclass
class Outlook:
    """Args:
    partitions: of each topic that was seen.
    starts: by topic, where a job that has state goes on.
    tables: what to say of each table.
    refused: what would stop a run at once.
    notes: what else to say.
    unknown: why partitions are unknown, where they are.
    """

    partitions: dict[str, int] = field(default_factory=dict)
    starts: dict[str, str] = field(default_factory=dict)
    tables: dict[str, str] = field(default_factory=dict)
    refused: list[StreamprocError] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unknown: str = "Kafka was not asked"


def look(config: Config, plan: Plan, lake: Lake | None) -> Outlook:
    """Look at what there is; what can't be reached is a note.

    Args:
        lake: where tables are; None if no lake is set.
    """
    outlook = Outlook()
    lake = _usable(lake, outlook) if lake else None
    tasks: list[KnownTask] = []
    if config.settings.kafka.bootstrap_servers:
        try:
            for task in _tasks(kafka.admin(config, LOOK_S), plan, lake, outlook):
                tasks.append(task)  # noqa: PERF402 - those before an error count
        except LogError as error:
            outlook.unknown = "Kafka can't be asked"
            outlook.notes.append("; ".join([error.message, *error.detail]))
    if lake:
        for table in plan.tables.values():
            outlook.tables[table.name] = _table(lake, table, plan, tasks, outlook)
    return outlook


def _usable(lake: Lake, outlook: Outlook) -> Lake | None:
    """The lake, None if it can't be looked at; more patience than a look deserves is taken from it."""
    looked_at = lake if lake.local else replace(lake, options={**IMPATIENT, **lake.options})
    try:
        looked_at.known_identity()
        if folder := lake.local:
            _check_writable(lake, folder)
    except TableError as error:
        outlook.refused.append(error)
        return None
    return looked_at


def _check_writable(lake: Lake, folder: Path) -> None:
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        reason = "no right to write" if nearest.is_dir() else "not a folder"
        raise TableError(
            "SP501",
            f'the lake "{lake.location}" can\'t be used',
            detail=[f"{nearest}: {reason}"],
            fix="is STREAMPROC_LAKE right? Else give this user the right to write there",
        )


def _tasks(admin: Admin, plan: Plan, lake: Lake | None, outlook: Outlook) -> Iterator[KnownTask]:
    """Tasks that a run could take over; the others are refused."""
    topics = _topics(admin, plan, outlook)
    deadline = time.monotonic() + ALL_S
    with KnownJob(admin, plan) as job:
        identity = (lake.known_identity() or "") if lake else None
        if lake and identity is not None and not _is_same_job(job, plan, identity, lake, outlook):
            return
        for logical, topic in topics.items():
            fine: list[KnownTask] = []
            refused_before = len(outlook.refused)
            for task in _partitions(admin, job, topic, logical, deadline, outlook):
                written_to = task.manifest.lake if task.manifest else ""
                try:
                    stage = plan.stage(logical)
                    opening.check(task.manifest, task.facts, task.partition, stage, identity or written_to)
                except StreamprocError as error:
                    outlook.refused.append(error)
                else:
                    fine.append(task)
                    yield task
            if start := _start(fine) if len(outlook.refused) == refused_before else "can't go on":
                outlook.starts[logical] = start


def _is_same_job(job: KnownJob, plan: Plan, identity: str, lake: Lake, outlook: Outlook) -> bool:
    try:
        check_lake(plan.name, job.record(), identity, lake.address)
    except LogError as error:
        outlook.refused.append(error)
        return False
    return True


def _partitions(
    admin: Admin, job: KnownJob, topic: Topic, logical: str, deadline: float, outlook: Outlook
) -> Iterator[KnownTask]:
    partitions = [TopicPartition(logical, number) for number in range(topic.partitions)]
    firsts, ends = admin.firsts(partitions), admin.ends(partitions)
    for partition in partitions:
        if time.monotonic() > deadline:
            outlook.notes.append(f"only {partition.partition} of {topic.partitions} partitions were looked at")
            return
        try:
            yield job.task(partition, topic, firsts[partition], ends[partition])
        except StateError as error:
            outlook.refused.append(error)


def _topics(admin: Admin, plan: Plan, outlook: Outlook) -> dict[str, Topic]:
    found: dict[str, Topic] = {}
    for stage in plan.stages:
        try:
            found |= admin.topics([stage.topic])
        except LogError as error:
            if error.code != kafka.MISSING:
                raise
            outlook.unknown = "a topic is missing"
            outlook.notes.append("; ".join([error.message, *error.detail]))
    outlook.partitions |= {logical: topic.partitions for logical, topic in found.items()}
    return found


def _start(tasks: Iterable[KnownTask]) -> str:
    """Where tasks with state go on; empty if none has any."""
    known = [task for task in tasks if task.manifest]
    if not known:
        return ""
    offsets = [position.offset_of(task.manifest.position) for task in known if task.manifest]
    if len(offsets) <= SHOWN_MAX:
        place = f"offset{'' if len(offsets) == 1 else 's'} {', '.join(map(str, offsets))}"
    else:
        place = f"offsets {min(offsets)} to {max(offsets)}"
    unread = sum(max(0, task.facts.end - offset) for task, offset in zip(known, offsets, strict=True))
    return f"goes on at {place} ({unread:,} unread)"


def _table(lake: Lake, table: Table, plan: Plan, tasks: Iterable[KnownTask], outlook: Outlook) -> str:
    """What to say of a table; what a run would refuse is noted."""
    columns = f"{len(table.columns)} columns"
    try:
        existing = inspect(lake.table_uri(table.name), table, lake.options)
    except TableError as error:
        outlook.refused.append(error)
        return f"{columns}, can't be looked at"
    try:
        _check_claims(lake, table, plan, tasks)
    except TableError as error:
        outlook.refused.append(error)
        if existing is None:
            return "GONE"
    if existing is None:
        return f"new, {columns}"
    version = f"exists (version {existing.version})"
    if existing.owner not in ("", plan.name):
        return f"{version}, belongs to {existing.owner}"
    return f"{version}, {'schema DIFFERS' if existing.differences else 'schema matches'}"


def _check_claims(lake: Lake, table: Table, plan: Plan, tasks: Iterable[KnownTask]) -> None:
    """Raise what the table would answer to the tasks that write to it."""
    sink = DeltaSink(
        replace(table, name=lake.path(table.name)),
        lake.location,
        topology=plan.name,
        writer="",
        storage_options=dict(lake.options),
    )
    try:
        sink.check(_claim(plan, table, task) for task in tasks if _writes(plan, table, task))
    finally:
        sink.close()


def _writes(plan: Plan, table: Table, task: KnownTask) -> bool:
    return table.role != "output" or table.name in plan.stage(task.partition.topic).tables


def _claim(plan: Plan, table: Table, task: KnownTask) -> Claim:
    """As a worker makes it."""
    id, topic_id, manifest = plan.task(*task.partition), task.facts.topic_id, task.manifest
    if manifest is None:
        return Claim(id, topic_id, position.before(task.facts.first), None, first=True)
    same_code = manifest.fingerprint == plan.stage(task.partition.topic).fingerprint
    return Claim(id, topic_id, manifest.position, manifest.tables.get(table.name), first=False, same_code=same_code)
