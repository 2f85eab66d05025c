"""Makes a table accept tasks anew: at a given position, or as if it had never known them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from streamproc.sinks.base import TableState
from streamproc.sinks.delta import problems
from streamproc.sinks.delta.handle import FORMAT, NO_HOOKS, OWNER, load, pause, properties
from streamproc.sinks.delta.retry import Sleep
from streamproc.sinks.protocol import FORGOTTEN, owner_id, topic_hash, topic_id


@dataclass(frozen=True, slots=True)
class Restart:
    """Where a task goes on: at `v`, in the topic of that id."""

    v: int
    topic_id: str


def places(
    uri: str,
    topics: Mapping[str, str],
    *,
    storage_options: Mapping[str, str] | None = None,
    sleep: Sleep = pause,
) -> dict[str, int]:
    """v of each task that a table knows, of the topic as it is now.

    Args:
        uri: where the table is.
        topics: task -> id of its topic; tasks whose v belongs to another topic are left out.
        storage_options, sleep: as in `reset`.

    Raises:
        TableError: no table, or it can't be read.
    """
    table = load(uri, storage_options, sleep)
    if table is None:
        raise problems.missing(uri)
    found = {task: table.transaction_version(task) for task in topics}
    return {
        task: v
        for task, v in found.items()
        if v is not None and v != FORGOTTEN and table.transaction_version(topic_id(task)) == topic_hash(topics[task])
    }


def reset(
    uri: str,
    tasks: Mapping[str, Restart | None],
    *,
    topology: str,
    writer: str,
    delete_rows: bool = False,
    storage_options: Mapping[str, str] | None = None,
    sleep: Sleep = pause,
) -> Mapping[str, TableState]:
    """Set the tasks of a table in one commit. Owners that still run are fenced; what others altered before is accepted.

    Args:
        uri: where the table is.
        tasks: None forgets a task: its next start is a first one.
        topology, writer: recorded in the commit.
        delete_rows: also delete all rows of the table, in the same commit.
        storage_options: of the object store.
        sleep: waits between attempts to load the table, in seconds.

    Returns:
        What state may remember of the tasks that go on.

    Raises:
        TableError: no table, another topology's, can't be written, or somebody else wrote at the same time.
    """
    table = load(uri, storage_options, sleep)
    if table is None:
        raise problems.missing(uri)
    owner = table.metadata().configuration.get(OWNER, topology)
    if owner != topology:
        raise problems.owned_by_other(uri, owner, topology)
    epochs = {task: (table.transaction_version(owner_id(task)) or 0) + 1 for task in tasks}
    places = {task: None if restart is None else restart.v for task, restart in tasks.items()}
    txns = {task: FORGOTTEN if v is None else v for task, v in places.items()}
    txns |= {owner_id(task): epoch for task, epoch in epochs.items()}
    txns |= {topic_id(task): topic_hash(restart.topic_id) for task, restart in tasks.items() if restart}
    metadata = {"format": FORMAT, "topology": topology, "writer": writer, "epochs": epochs, "reset": places}
    try:
        _commit(table, txns, metadata, delete_rows)
    except (DeltaError, OSError) as error:
        raise problems.unreachable(uri, error, "written") from error
    return {
        task: TableState(str(table.metadata().id), table.version(), restart.v, epochs[task])
        for task, restart in tasks.items()
        if restart
    }


def _commit(table: DeltaTable, txns: Mapping[str, int], metadata: Mapping[str, object], delete_rows: bool) -> None:
    before = table.version()
    commit = properties(txns, metadata)
    if delete_rows:
        table.delete(commit_properties=commit, post_commithook_properties=NO_HOOKS)
    if table.version() == before:  # a table without rows: a DELETE commits nothing
        partition_by = table.metadata().partition_columns
        table.create_write_transaction(
            [],
            "append",
            table.schema(),
            partition_by=partition_by,
            commit_properties=commit,
            post_commithook_properties=NO_HOOKS,
        )
        table.update_incremental()
