"""A worker put together for real: Delta tables and chunks of a lake, on whichever broker."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import replace

from streamproc.lake import Lake
from streamproc.plan.model import Plan
from streamproc.runtime.log import Log
from streamproc.runtime.worker import Skip, Worker
from streamproc.sinks.delta import DeltaSink
from streamproc.state.chunks import ChunkStore


def open_worker(
    plan: Plan,
    log: Log,
    lake: Lake,
    chunks: ChunkStore,
    *,
    new_id: Callable[[], str],
    executor: Executor | None = None,
    skip: Skip = frozenset(),
) -> Worker:
    """Open all tables of a plan, and a worker over them; tables that are missing are created by the first claim.

    Args:
        plan: what to run.
        log: the broker.
        lake: where the tables are.
        chunks: where state is kept; closed with the worker.
        new_id: makes unique ids, of this writer and of chunks.
        executor: runs commits; by default each table has a thread of its own.
        skip: records to reject unread.

    Raises:
        TableError: a table differs, belongs to another topology, can't be read.
    """
    identity, writer = lake.identity(new_id), new_id()
    with ExitStack() as opened:
        opened.callback(chunks.close)
        sinks = {}
        for name, table in plan.tables.items():
            sinks[name] = DeltaSink(
                replace(table, name=lake.path(name)),
                lake.location,
                topology=plan.name,
                writer=writer,
                storage_options=dict(lake.options),
                executor=executor,
            )
            opened.callback(sinks[name].close)
        worker = Worker(plan, log=log, sinks=sinks, chunks=chunks, new_id=new_id, lake=identity, skip=skip)
        opened.pop_all()
        return worker
