"""Where a task may go on, decided from what its manifest and the broker say (laws 2, 5 and 8)."""

from __future__ import annotations

from streamproc.errors import LogError, StateError
from streamproc.plan.model import Stage
from streamproc.position import offset_of
from streamproc.runtime.log import Facts, TopicPartition
from streamproc.state.manifest import Manifest

_RESET = "`streamproc reset` shows what would be forgotten and read again, then asks"


def check(manifest: Manifest | None, facts: Facts, partition: TopicPartition, stage: Stage, lake: str) -> None:
    """Check that a task can go on from its manifest, or start without one.

    Raises:
        LogError: the topic was made anew, ends before the position, or lost unread records.
        StateError: the state is missing, of another position, lake or shape of the topology.
    """
    name = f"{partition.topic}/{partition.partition}"
    if manifest is None:
        if facts.committed is not None:
            raise StateError(
                "SP410",
                f"{name} has a committed offset ({facts.committed}) but no state",
                detail=["its manifest in the state topic is gone, or the group belongs to another program"],
                fix=_RESET,
            )
        return
    _check_log(manifest, facts, name)
    _check_fit(manifest, stage, lake, name)


def _check_log(manifest: Manifest, facts: Facts, name: str) -> None:
    offset = offset_of(manifest.position)
    if manifest.topic_id != facts.topic_id:
        raise LogError(
            "SP310",
            f"the topic of {name} was made anew: its id is not the one that was read so far",
            detail=[f"read up to offset {offset} of topic id {manifest.topic_id}; now it is {facts.topic_id}"],
            fix=_RESET,
        )
    if facts.committed is not None and facts.committed != offset:
        raise StateError(
            "SP411",
            f"state of {name} is as of offset {offset}, the group's committed offset is {facts.committed}",
            detail=["offsets and state are committed together: something else has changed one of them"],
            fix=f"put the group's offset back to {offset}, or reset: {_RESET}",
        )
    if facts.end < offset:
        raise LogError(
            "SP311",
            f"{name} ends at offset {facts.end}, but was read up to {offset}",
            detail=["the broker has lost records, or the topic was truncated"],
            fix=_RESET,
        )
    if facts.first > offset:
        raise LogError(
            "SP312",
            f"{name}: {facts.first - offset:,} unread records are gone: the earliest is {facts.first}, needed {offset}",
            detail=["retention removed them before they were read"],
            fix=_RESET,
        )


def _check_fit(manifest: Manifest, stage: Stage, lake: str, name: str) -> None:
    if manifest.lake != lake:
        raise StateError(
            "SP412",
            f"the state of {name} belongs to the lake {manifest.lake}, this run writes to {lake}",
            fix="run with that lake, give the topology another name, or reset: " + _RESET,
        )
    signatures = {step.id: step.signature for step in stage.steps if step.signature}
    changed = [
        f'"{id}": state is of {state.signature}; the topology now says {signatures[id]}'
        for id, state in manifest.steps.items()
        if id in signatures and state.signature != signatures[id]
    ]
    if changed:
        raise StateError(
            "SP413",
            f"the state of {name} does not fit the topology",
            detail=changed,
            fix="give the changed step another name= to start it empty, or reset: " + _RESET,
        )
