"""Commits of rows to one table, step by step as `protocol` decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from streamproc.sinks.base import TableState
from streamproc.sinks.delta.owner import Owned, Owner, txns
from streamproc.sinks.protocol import AfterException, after_exception


class Part(NamedTuple):
    """What a commit brings of a task: everything below `end`."""

    end: int
    counters: Mapping[str, Any]
    rows: Sequence[pl.DataFrame]


def commit(owner: Owner, parts: Mapping[str, Part]) -> dict[str, TableState]:
    """Make parts durable, all or none; without rows nothing is committed. Returns what is durable of our tasks.

    Raises:
        TableError: see `Sink.commit`. Fenced tasks are not raised: they are in `Owner.lost`.
    """
    parts = {task: part for task, part in parts.items() if task in owner.owned}
    if any(part.rows for part in parts.values()):
        _land(owner, parts)
    return owner.states(parts)


def _land(owner: Owner, parts: Mapping[str, Part]) -> None:
    table = owner.table
    rows = table.stored(pl.concat([frame for part in parts.values() for frame in part.rows], rechunk=False))
    ends = dict(owner.owned)
    for task, part in parts.items():
        ends[task] = Owned(ends[task].epoch, max(ends[task].v, part.end))
    tasks = {
        task: {
            "from": owner.owned[task].v,
            "to": ends[task].v,
            "rows": sum(frame.height for frame in part.rows),
            "counters": dict(part.counters),
        }
        for task, part in parts.items()
        if ends[task].v > owner.owned[task].v
    }
    metadata = owner.metadata(ends) | {"tasks": tasks}
    retry = table.retry("written")
    while True:
        before = table.version
        try:
            table.append(rows, txns(ends), metadata)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001  a panic of delta-rs too: none says whether the commit landed
            verdict = _after_exception(owner, before, ends)
            if verdict is AfterException.RETRY:
                retry.after(error)
                continue
            if verdict is AfterException.LANDED:
                owner.count()
            elif owner.owned and owner.lost.isdisjoint(parts):  # nobody who has rows here is fenced
                _land(owner, parts)
            return
        owner.landed(ends, before)
        return


def _after_exception(owner: Owner, before: int, ends: Mapping[str, Owned]) -> AfterException:
    """Look what has become of a commit and take note if it has landed. Fenced tasks are lost either way.

    FENCED: it has not landed, and some are.
    """
    owner.table.reload()
    writers = owner.table.writers(before + 1)
    verdicts = {}
    for task, owned in owner.owned.items():
        seen = owner.table.read(task)
        verdicts[task] = after_exception(
            epoch_seen=seen.epoch,
            my_epoch=owned.epoch,
            v_seen=seen.v,
            v_before=owned.v,
            end=ends[task].v,
            writer_seen=writers.get(task, ""),
            my_writer=owner.writer,
        )
    for task, verdict in verdicts.items():
        if verdict is AfterException.LANDED:
            owner.owned[task] = ends[task]
    fenced = [task for task, verdict in verdicts.items() if verdict is AfterException.FENCED]
    owner.lose(fenced)
    owner.look()
    if AfterException.LANDED in verdicts.values():
        return AfterException.LANDED
    return AfterException.FENCED if fenced else AfterException.RETRY
