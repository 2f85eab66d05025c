"""The Delta sink: buffers on the worker's thread, one committer on another, at most one commit at a time.

Jobs run one after the other on the executor and only they touch the table. `_buffers` is changed by the worker's thread
alone; jobs leave what they have to tell in `_lost` and `_broken`, which the next call raises.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from typing import Any

import polars as pl

from streamproc.errors import StreamprocError, TableError
from streamproc.plan import model
from streamproc.sinks.base import Claim, TableState
from streamproc.sinks.delta.buffer import Buffer, Place
from streamproc.sinks.delta.committer import Committer, Part
from streamproc.sinks.delta.handle import Sleep, pause, uri_of
from streamproc.sinks.delta.table import Table

ROWS_FLUSH = 200_000
BYTES_FLUSH = 128 << 20

States = Mapping[str, TableState]


class DeltaSink:
    """A Delta table as a `Sink`. It is created if it is missing.

    Args:
        planned: the table's name, columns and partitioning.
        lake: folder or URL that names are relative to.
        topology: owner of the table.
        writer: id of this writer, unique among all there ever are; in each commit.
        storage_options: of the object store.
        executor: runs commits one after the other; by default a thread of the sink's own.
        sleep: waits between attempts, in seconds.
        rows_flush, bytes_flush: with as much in the buffer a commit is started while more is written; with twice as
            much `write` waits.

    Raises:
        TableError: it differs from the plan, belongs to another topology, can't be written or read.
    """

    def __init__(
        self,
        planned: model.Table,
        lake: str,
        *,
        topology: str,
        writer: str,
        storage_options: Mapping[str, str] | None = None,
        executor: Executor | None = None,
        sleep: Sleep = pause,
        rows_flush: int = ROWS_FLUSH,
        bytes_flush: int = BYTES_FLUSH,
    ) -> None:
        self._rows_flush, self._bytes_flush = rows_flush, bytes_flush
        self._own_thread = ThreadPoolExecutor(1, f"commit {planned.name}") if executor is None else None
        self._executor: Executor = executor or self._own_thread  # type: ignore[assignment]
        self._buffers: dict[str, Buffer] = {}
        self._lost: set[str] = set()
        self._broken: Exception | None = None
        self._flush: Future[States] | None = None

        def open() -> Committer:
            table = Table(uri_of(lake, planned.name), planned, topology, storage_options, sleep)
            return Committer(table, writer, sleep)

        try:
            self._committer = self._executor.submit(open).result()
        except StreamprocError:
            self.close()
            raise

    def claim(self, claims: Iterable[Claim]) -> States:
        """See `Sink.claim`. Other tasks that turn out fenced on the way are told by the next `write` or `commit`."""
        wanted = list(claims)
        if not wanted:
            return {}
        self._raise_broken()
        for claim in wanted:
            self._lost.discard(claim.task)
        states = self._executor.submit(self._claim, wanted).result()
        self._buffers.update({claim.task: Buffer(states[claim.task].v, claim.start) for claim in wanted})
        return states

    def write(self, task: str, rows: pl.DataFrame | None, end: int, counters: Mapping[str, Any]) -> None:
        """See `Sink.write`."""
        self._raise_failed()
        if task not in self._buffers:
            raise self._committer.fenced([task])
        self._buffers[task].add(rows, end, counters)
        if self._holds(1) and (self._flush is None or self._flush.done()):
            self._flush = self._submit(direct=False)
        while self._flush is not None and self._holds(2):
            wait([self._flush])
            self._raise_failed()
            self._flush = self._submit(direct=False)

    def commit(self) -> Future[States]:
        """See `Sink.commit`."""
        try:
            self._raise_failed()
        except StreamprocError as error:
            failed: Future[States] = Future()
            failed.set_exception(error)
            return failed
        return self._submit(direct=True)

    def release(self, task: str) -> None:
        """See `Sink.release`."""
        self._buffers.pop(task, None)
        self._executor.submit(self._committer.release, [task]).result()
        self._lost.discard(task)

    def close(self) -> None:
        """See `Sink.close`. A commit in flight is waited for."""
        if self._own_thread is not None:
            self._own_thread.shutdown(wait=True, cancel_futures=True)

    @property
    def buffered_rows(self) -> int:
        """Rows that are not durable yet."""
        return sum(buffer.size()[0] for buffer in self._buffers.values())

    def _holds(self, times: int) -> bool:
        sizes = [buffer.size() for buffer in self._buffers.values()]
        rows, size = sum(rows for rows, _ in sizes), sum(size for _, size in sizes)
        return rows >= times * self._rows_flush or size >= times * self._bytes_flush

    def _submit(self, direct: bool) -> Future[States]:
        """A commit of all that is written now, then maintenance if due. Its failure goes to who asked (`direct`), or to
        the next call."""
        places = {task: (buffer, buffer.place) for task, buffer in self._buffers.items()}
        future = self._executor.submit(self._commit, places, direct)
        self._executor.submit(self._maintain)
        return future

    def _raise_broken(self) -> None:
        if isinstance(self._broken, StreamprocError):
            raise self._broken
        if self._broken is not None:
            raise TableError("SP510", f'writing table "{self._committer.table.uri}" failed') from self._broken

    def _raise_failed(self) -> None:
        self._raise_broken()
        lost = self._lost & self._buffers.keys()
        for task in lost:
            del self._buffers[task]
        if lost:
            raise self._committer.fenced(lost)

    # What follows runs on the executor.

    def _claim(self, claims: list[Claim]) -> States:
        try:
            return self._committer.claim(claims)
        finally:
            self._lost |= self._committer.lost

    def _commit(self, places: Mapping[str, tuple[Buffer, Place]], direct: bool) -> States:
        """Rows of an earlier commit that failed are still in the buffers, before those of this one."""
        self._raise_broken()
        committer = self._committer
        parts = {
            task: Part(place.end, place.counters, buffer.below(place.end)) for task, (buffer, place) in places.items()
        }
        try:
            states = committer.commit(parts)
        except Exception as error:
            self._broken = error
            self._raise_broken()
            raise
        for task, state in states.items():
            places[task][0].landed(state.v)
        lost = committer.lost & places.keys()
        self._lost |= committer.lost
        if lost and direct:
            raise committer.fenced(lost)
        return states

    def _maintain(self) -> None:
        try:
            if self._broken is None:
                self._committer.maintain()
        except Exception as error:  # noqa: BLE001  nobody waits for this job: the next call raises it
            self._broken = error
        self._lost |= self._committer.lost
