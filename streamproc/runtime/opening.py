"""Where a task may go on, decided from what its manifest and the broker say (laws 2, 5 and 8)."""

from __future__ import annotations

from streamproc.errors import LogError, StateError
from streamproc.plan.model import Stage, Step
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
        _check_partitions(facts.partitions_before, facts, stage)
        return
    _check_log(manifest, facts, name)
    _check_partitions(manifest.partitions, facts, stage)
    _check_fit(manifest, stage, lake, name)


def added_later(facts: Facts, partition: TopicPartition) -> bool:
    """Whether a partition without a manifest is younger than the job: then it is read from its beginning."""
    return facts.partitions_before is not None and partition.partition >= facts.partitions_before


def _check_partitions(before: int | None, facts: Facts, stage: Stage) -> None:
    if before is not None and facts.partitions > before and any(step.local_keys for step in stage.steps):
        raise LogError(
            "SP313",
            f'topic "{stage.topic}" has {facts.partitions} partitions, it had {before} when this job first read it',
            detail=["keys may have moved to other partitions, where state knows nothing of them"],
            fix=_RESET,
        )


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
    steps = [step for step in stage.steps if step.signature]
    changed = [text for step in steps if (text := _misfit(step, manifest, steps))]
    if changed:
        raise StateError(
            "SP413",
            f"the state of {name} does not fit the topology",
            detail=changed,
            fix="give the changed step another name= to start it empty, or reset: " + _RESET,
        )


def _misfit(step: Step, manifest: Manifest, steps: list[Step]) -> str | None:
    """How the state of a step does not fit it; None if it fits, or there is none."""
    state = manifest.steps.get(step.id)
    if state is None:
        return None
    if state.signature != step.signature:
        return f'"{step.id}": state is of {state.signature}; the topology now says {step.signature}'
    # Steps of one kind are numbered as they come. Where there are several, what is before them tells them apart.
    kind = step.signature.split()[0]
    several = sum(each.signature.split()[0] == kind for each in steps) > 1 or (
        sum(each.signature.split()[0] == kind for each in manifest.steps.values()) > 1
    )
    if several and state.lineage and step.lineage and state.lineage != step.lineage:
        return f'"{step.id}": state is of a {kind} at another place of the topology'
    return None
