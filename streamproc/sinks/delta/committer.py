"""Claims and commits of one table, step by step as `protocol` decides. Everything here happens on one thread."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import polars as pl

from streamproc.errors import Fenced
from streamproc.position import offset_of
from streamproc.sinks.base import Claim, TableState
from streamproc.sinks.delta import problems
from streamproc.sinks.delta.log import Commit
from streamproc.sinks.delta.maintenance import Maintenance
from streamproc.sinks.delta.retry import Retry, Sleep
from streamproc.sinks.delta.table import Table
from streamproc.sinks.protocol import (
    AfterException,
    InTable,
    OnClaim,
    OnReload,
    after_claim,
    after_exception,
    on_claim,
    on_reload,
    owner_id,
    topic_hash,
    topic_id,
)

FORMAT = 1
"""Of the metadata in commits."""

_log = logging.getLogger(__name__)


class Part(NamedTuple):
    """What a commit brings of a task: everything below `end`."""

    end: int
    counters: Mapping[str, Any]
    rows: Sequence[pl.DataFrame]


@dataclass(slots=True)
class Owned:
    """A task that is ours: the epoch that we raised it to, and v as we last read or wrote it."""

    epoch: int
    v: int


class Committer:
    """Owner of some tasks in a table.

    Args:
        table: open; nobody else uses it.
        writer: id of this writer, in each commit.
        sleep: waits between attempts, in seconds.
    """

    def __init__(self, table: Table, writer: str, sleep: Sleep) -> None:
        self.table = table
        self.owned: dict[str, Owned] = {}
        self.lost: set[str] = set()
        """Tasks that turned out to be another's, until the caller takes note."""
        self._writer = writer
        self._sleep = sleep
        self._looked_at = table.version
        self._maintenance = Maintenance()

    # ------------------------------------------------------------------ claims

    def check(self, claims: Sequence[Claim]) -> None:
        """Raise what `claim` would refuse. See `Sink.check`."""
        self._reload()
        self._admit(claims, {claim.task: self.table.read(claim.task) for claim in claims})

    def claim(self, claims: Sequence[Claim]) -> dict[str, TableState]:
        """Become the owner of tasks. See `Sink.claim`."""
        tasks = [claim.task for claim in claims]
        self.release(tasks)
        retry = Retry(self.table.uri, "written", self._sleep)
        while True:
            self._reload()
            before = self.table.version
            found = {task: self.table.read(task) for task in tasks}
            verdicts = self._admit(claims, found)
            new = {c.task: Owned(found[c.task].epoch + 1, _v(c, found[c.task], verdicts[c.task])) for c in claims}
            restarts = {task: found[task].v for task in tasks if verdicts[task] is OnClaim.RESTART}
            topics = {topic_id(claim.task): topic_hash(claim.topic_id) for claim in claims}
            owned = self.owned | new
            metadata = self._metadata(owned) | {"claim": True, "v": {task: owned[task].v for task in tasks}}
            metadata |= {"restarts": restarts} if restarts else {}
            try:
                self.table.touch(_txns(owned) | topics, metadata)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:
                verdict = self._after_claim(before, found)
                if verdict is AfterException.FENCED:
                    raise self.fenced(tasks) from error
                if verdict is AfterException.RETRY:
                    retry.after(error)
                    continue
            self.owned = owned
            self._committed(before)
            if self.lost.intersection(tasks):
                raise self.fenced(tasks)
            self._tell(restarts)
            return self._states(tasks)

    def _admit(self, claims: Sequence[Claim], found: Mapping[str, InTable]) -> dict[str, OnClaim]:
        table, verdicts = self.table, {}
        for claim in claims:
            verdict = on_claim(claim, found[claim.task], table.id, table.version)
            verdicts[claim.task] = verdict
            if verdict not in (OnClaim.NEW, OnClaim.RESUME, OnClaim.RESTART):
                raise problems.refused(
                    table.uri, table.id, table.version, claim=claim, table=found[claim.task], verdict=verdict
                )
        known = [claim.confirmed.version for claim in claims if claim.confirmed]
        if known:
            table.check_foreign(min(known) + 1, table.version)
        return verdicts

    def _tell(self, restarts: Mapping[str, int | None]) -> None:
        for task, v in restarts.items():
            _log.warning(
                "%s: %s goes on at offset %d; what it read from offset %d to there was not written by this topology",
                self.table.uri,
                task,
                offset_of(self.owned[task].v),
                offset_of(v or 0),
            )

    def _after_claim(self, before: int, found: Mapping[str, InTable]) -> AfterException:
        self.table.reload()
        writers = _writers(self.table.commits(before + 1, self.table.version))
        verdicts = {
            after_claim(
                epoch_seen=self.table.read(task).epoch,
                epoch_read=read.epoch,
                writer_seen=writers.get(task, ""),
                my_writer=self._writer,
            )
            for task, read in found.items()
        }
        return verdicts.pop() if len(verdicts) == 1 else AfterException.FENCED

    # ----------------------------------------------------------------- commits

    def commit(self, parts: Mapping[str, Part]) -> dict[str, TableState]:
        """Make parts durable, all or none; without rows nothing is committed. Returns what is durable of our tasks.

        Raises:
            TableError: see `Sink.commit`. Fenced tasks are not raised: they are in `lost`.
        """
        parts = {task: part for task, part in parts.items() if task in self.owned}
        if any(part.rows for part in parts.values()):
            self._land(parts)
        return self._states(parts)

    def _land(self, parts: Mapping[str, Part]) -> None:
        rows = self.table.stored(pl.concat([frame for part in parts.values() for frame in part.rows], rechunk=False))
        ends = dict(self.owned)
        for task, part in parts.items():
            ends[task] = Owned(ends[task].epoch, max(ends[task].v, part.end))
        tasks = {
            task: {
                "from": self.owned[task].v,
                "to": ends[task].v,
                "rows": sum(frame.height for frame in part.rows),
                "counters": dict(part.counters),
            }
            for task, part in parts.items()
            if ends[task].v > self.owned[task].v
        }
        metadata = self._metadata(ends) | {"tasks": tasks}
        retry = Retry(self.table.uri, "written", self._sleep)
        while True:
            before = self.table.version
            try:
                self.table.append(rows, _txns(ends), metadata)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:  # noqa: BLE001  a panic of delta-rs too: none says whether the commit landed
                verdict = self._after_exception(before, ends)
                if verdict is AfterException.RETRY:
                    retry.after(error)
                    continue
                if verdict is AfterException.LANDED:
                    self._maintenance.committed()
                elif self.owned and self.lost.isdisjoint(parts):  # nobody who has rows here is fenced
                    self._land(parts)
                return
            self.owned = ends
            self._committed(before)
            return

    def _after_exception(self, before: int, ends: Mapping[str, Owned]) -> AfterException:
        """Look what has become of a commit and take note if it has landed. Fenced tasks are lost either way.

        FENCED: it has not landed, and some are.
        """
        self.table.reload()
        writers = _writers(self.table.commits(before + 1, self.table.version))
        verdicts = {}
        for task, owned in self.owned.items():
            seen = self.table.read(task)
            verdicts[task] = after_exception(
                epoch_seen=seen.epoch,
                my_epoch=owned.epoch,
                v_seen=seen.v,
                v_before=owned.v,
                end=ends[task].v,
                writer_seen=writers.get(task, ""),
                my_writer=self._writer,
            )
        for task, verdict in verdicts.items():
            if verdict is AfterException.LANDED:
                self.owned[task] = ends[task]
        fenced = [task for task, verdict in verdicts.items() if verdict is AfterException.FENCED]
        self._lose(fenced)
        self._look()
        if AfterException.LANDED in verdicts.values():
            return AfterException.LANDED
        return AfterException.FENCED if fenced else AfterException.RETRY

    def maintain(self) -> None:
        """Checkpoint the log, if it is time, and go on with a fresh handle."""
        if not self._maintenance.is_due:
            return
        self._maintenance.run(self.table)
        self._reload()

    def release(self, tasks: Iterable[str]) -> None:
        """Forget tasks."""
        for task in tasks:
            self.owned.pop(task, None)
            self.lost.discard(task)

    def fenced(self, tasks: Iterable[str]) -> Fenced:
        """The error that says that tasks are another's."""
        names = sorted(tasks)
        return Fenced(
            "SP701",
            f'another process owns tasks of table "{self.table.uri}"',
            tasks=names,
            detail=[f'task "{name}"' for name in names],
            fix="two jobs of one name? stop one; a task that has moved to another process goes on there",
        )

    # ------------------------------------------------------------------- shared

    def _committed(self, before: int) -> None:
        """A commit succeeded. Unless the handle moved by just that one, look at what else it has jumped over."""
        self._maintenance.committed()
        if self.table.version != before + 1:
            self._recheck()
        self._look(own=before + 1)

    def _reload(self) -> None:
        self.table.reload()
        self._recheck()
        self._look()

    def _recheck(self) -> None:
        """Drop the tasks that are no longer ours, as of the handle."""
        seen = {task: self.table.read(task) for task in self.owned}
        self._lose(
            [
                task
                for task, owned in self.owned.items()
                if on_reload(seen[task].epoch, owned.epoch, seen[task].v, owned.v) is OnReload.FENCED
            ]
        )

    def _look(self, own: int | None = None) -> None:
        """Look at commits up to the handle's version; `own` needs no look if it is the only one."""
        version = self.table.version
        if self.owned and (own is None or version != own or self._looked_at != own - 1):
            self.table.check_foreign(self._looked_at + 1, version)
        self._looked_at = version

    def _lose(self, tasks: Sequence[str]) -> None:
        self.lost.update(tasks)
        for task in tasks:
            del self.owned[task]

    def _states(self, tasks: Iterable[str]) -> dict[str, TableState]:
        return {
            task: TableState(self.table.id, self._looked_at, self.owned[task].v, self.owned[task].epoch)
            for task in tasks
            if task in self.owned
        }

    def _metadata(self, owned: Mapping[str, Owned]) -> dict[str, Any]:
        epochs = {task: o.epoch for task, o in owned.items()}
        return {"format": FORMAT, "topology": self.table.topology, "writer": self._writer, "epochs": epochs}


def _v(claim: Claim, found: InTable, verdict: OnClaim) -> int:
    return claim.start if found.v is None or verdict is OnClaim.RESTART else found.v


def _txns(owned: Mapping[str, Owned]) -> dict[str, int]:
    return {task: o.v for task, o in owned.items()} | {owner_id(task): o.epoch for task, o in owned.items()}


def _writers(commits: Iterable[Commit]) -> dict[str, str]:
    """Writer of the last of these commits that names a task, by task."""
    return {task: commit.metadata.get("writer", "") for commit in commits for task in commit.metadata.get("epochs", ())}
