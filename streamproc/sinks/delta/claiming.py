"""Claims of one table, step by step as `protocol` decides."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from streamproc.position import offset_of
from streamproc.sinks.base import Claim, TableState
from streamproc.sinks.delta import problems
from streamproc.sinks.delta.owner import Owned, Owner, txns
from streamproc.sinks.protocol import AfterException, InTable, OnClaim, after_claim, on_claim, topic_hash, topic_id

_log = logging.getLogger(__name__)


def check(owner: Owner, claims: Sequence[Claim]) -> None:
    """Raise what `claim` would refuse. See `Sink.check`."""
    owner.reload()
    _admit(owner, claims, {claim.task: owner.table.read(claim.task) for claim in claims})


def claim(owner: Owner, claims: Sequence[Claim]) -> dict[str, TableState]:
    """Become the owner of tasks, in a table that is created if it is missing. See `Sink.claim`."""
    tasks = [claim.task for claim in claims]
    owner.release(tasks)
    try:
        if not owner.table.is_ours:
            check(owner, claims)
            owner.table.take()
        return _claim(owner, claims)
    except BaseException:
        owner.release(tasks)
        raise


def _claim(owner: Owner, claims: Sequence[Claim]) -> dict[str, TableState]:
    table, tasks = owner.table, [claim.task for claim in claims]
    topics = {topic_id(claim.task): topic_hash(claim.topic_id) for claim in claims}
    retry = table.retry("written")
    while True:
        owner.reload()
        before = table.version
        found = {task: table.read(task) for task in tasks}
        verdicts = _admit(owner, claims, found)
        new = {c.task: Owned(found[c.task].epoch + 1, _v(c, found[c.task], verdicts[c.task])) for c in claims}
        restarts = {task: found[task].v for task in tasks if verdicts[task] is OnClaim.RESTART}
        owned = owner.owned | new
        metadata = owner.metadata(owned) | {"claim": True, "v": {task: new[task].v for task in tasks}}
        metadata |= {"restarts": restarts} if restarts else {}
        try:
            table.touch(txns(owned) | topics, metadata)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            verdict = _after_exception(owner, before, found)
            if verdict is AfterException.FENCED:
                raise problems.fenced(table.uri, tasks) from error
            if verdict is AfterException.RETRY:
                retry.after(error)
                continue
        owner.landed(owned, before)
        if owner.lost.intersection(tasks):
            raise problems.fenced(table.uri, tasks)
        for task, v in restarts.items():
            _tell_left_out(table.uri, task, v or 0, new[task].v)
        return owner.states(tasks)


def _admit(owner: Owner, claims: Sequence[Claim], found: Mapping[str, InTable]) -> dict[str, OnClaim]:
    table, verdicts = owner.table, {}
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


def _after_exception(owner: Owner, before: int, found: Mapping[str, InTable]) -> AfterException:
    owner.table.reload()
    writers = owner.table.writers(before + 1)
    verdicts = {
        after_claim(
            epoch_seen=owner.table.read(task).epoch,
            epoch_read=read.epoch,
            writer_seen=writers.get(task, ""),
            my_writer=owner.writer,
        )
        for task, read in found.items()
    }
    return verdicts.pop() if len(verdicts) == 1 else AfterException.FENCED


def _v(claim: Claim, found: InTable, verdict: OnClaim) -> int:
    return claim.start if found.v is None or verdict is OnClaim.RESTART else found.v


def _tell_left_out(uri: str, task: str, start: int, end: int) -> None:
    _log.warning(
        "%s: %s goes on at offset %d; what it read from offset %d to there was not written by this topology",
        uri,
        task,
        offset_of(end),
        offset_of(start),
    )
