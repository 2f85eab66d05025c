"""The Delta sink: buffers on the worker's thread, the table's owner on another, at most one commit at a time.

Jobs run one after the other on the executor and only they touch the table. `_buffers` is changed by the worker's thread
alone; jobs leave what they have to tell in `_owner.lost` and `_broken`, which the next call raises.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from concurrent.futures import Executor, Future, wait
from typing import Any, TypeVar

import polars as pl

from streamproc.errors import StreamprocError, TableError
from streamproc.plan import model
from streamproc.sinks.background import BackgroundExecutor
from streamproc.sinks.base import Claim, TableState
from streamproc.sinks.delta import claiming, committing, problems
from streamproc.sinks.delta.buffer import Buffer, Place
from streamproc.sinks.delta.handle import pause, uri_of
from streamproc.sinks.delta.owner import Owner
from streamproc.sinks.delta.retry import Sleep
from streamproc.sinks.delta.table import Table

ROWS_FLUSH = 200_000
BYTES_FLUSH = 128 << 20
WAIT_S = 120.0
"""How long a call waits for the executor: several times what a commit takes with all its retries."""
CLOSE_S = 20.0
"""How long `close` waits for a commit."""

States = Mapping[str, TableState]
T = TypeVar("T")

_log = logging.getLogger(__name__)


class DeltaSink:
    """A Delta table as a `Sink`. The first claim creates it if it is missing.

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
        TableError: it differs from the plan, belongs to another topology, can't be read.

    Every call that waits for a commit of the sink's own thread raises a TableError after `WAIT_S` seconds.
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
        self._uri = uri_of(lake, planned.name)
        self._own_thread = BackgroundExecutor(f"commit {planned.name}") if executor is None else None
        self._executor: Executor = executor or self._own_thread  # type: ignore[assignment]
        self._buffers: dict[str, Buffer] = {}
        self._broken: BaseException | None = None
        self._flush: Future[States] | None = None

        def open() -> Owner:
            return Owner(Table(self._uri, planned, topology, storage_options, sleep), writer)

        try:
            self._owner = self._result(self._executor.submit(open))
        except BaseException:
            self.close()
            raise

    def check(self, claims: Iterable[Claim]) -> None:
        """See `Sink.check`."""
        if wanted := list(claims):
            self._raise_broken()
            self._result(self._executor.submit(claiming.check, self._owner, wanted))

    def claim(self, claims: Iterable[Claim]) -> States:
        """See `Sink.claim`. Other tasks that turn out fenced on the way are told by the next `write` or `commit`."""
        wanted = list(claims)
        if not wanted:
            return {}
        self._raise_broken()
        for claim in wanted:
            self._buffers.pop(claim.task, None)
        states = self._result(self._executor.submit(claiming.claim, self._owner, wanted))
        self._buffers.update({claim.task: Buffer(states[claim.task].v, claim.start) for claim in wanted})
        return states

    def write(self, task: str, rows: pl.DataFrame | None, end: int, counters: Mapping[str, Any]) -> None:
        """See `Sink.write`."""
        self._raise_broken()
        if task not in self._buffers:
            raise problems.fenced(self._uri, [task])
        self._buffers[task].add(rows, end, counters)
        self._raise_failed()  # about other tasks perhaps: by now the rows of this one are taken
        if self._holds(1) and (self._flush is None or self._flush.done()):
            self._flush = self._submit(direct=False)
        while self._flush is not None and self._holds(2):
            self._result(self._flush)
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
        self._result(self._executor.submit(self._owner.release, [task]))

    def close(self) -> None:
        """See `Sink.close`. A commit in flight is waited for, but not for ever: the process is about to end."""
        if self._own_thread is not None and not self._own_thread.stop(CLOSE_S):
            _log.warning("%s: a commit is left behind that has not come to an end in %g s", self._uri, CLOSE_S)

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

    def _result(self, future: Future[T]) -> T:
        wait([future], WAIT_S)
        if not future.done():
            raise problems.stuck(self._uri, WAIT_S)
        return future.result()

    def _raise_broken(self) -> None:
        if isinstance(self._broken, StreamprocError | KeyboardInterrupt | SystemExit):
            raise self._broken
        if self._broken is not None:
            raise TableError("SP510", f'writing table "{self._uri}" failed') from self._broken

    def _raise_failed(self) -> None:
        self._raise_broken()
        lost = self._owner.lost & self._buffers.keys()
        for task in lost:
            del self._buffers[task]
        if lost:
            raise problems.fenced(self._uri, lost)

    # What follows runs on the executor.

    def _commit(self, places: Mapping[str, tuple[Buffer, Place]], direct: bool) -> States:
        """Rows of an earlier commit that failed are still in the buffers, before those of this one."""
        self._raise_broken()
        try:
            parts = {
                task: committing.Part(place.end, place.counters, buffer.below(place.end))
                for task, (buffer, place) in places.items()
            }
            states = committing.commit(self._owner, parts)
            for task, state in states.items():
                places[task][0].landed(state.v)
        except BaseException as error:  # a panic of delta-rs is no Exception; whoever asks next must know
            self._broken = error
            self._raise_broken()
            raise
        lost = self._owner.lost & places.keys()
        if lost and direct:
            raise problems.fenced(self._uri, lost)
        return states

    def _maintain(self) -> None:
        try:
            if self._broken is None:
                self._owner.maintain()
        except BaseException as error:  # noqa: BLE001  nobody waits for this job: the next call raises it
            self._broken = error
