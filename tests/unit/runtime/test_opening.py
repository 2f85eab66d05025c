"""Where a task may go on: every way in which state and log can disagree is refused, with the way out."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from streamproc import position
from streamproc.errors import LogError, StateError, StreamprocError
from streamproc.plan.model import Stage, Step
from streamproc.runtime import opening
from streamproc.runtime.log import Facts, TopicPartition
from streamproc.state.manifest import Manifest, StepState

PARTITION = TopicPartition("clicks", 3)
STEP = Step("deduplicate", "deduplicate", -1, {}, signature="deduplicate a", lineage="x")
STAGE = Stage("clicks", "clicks", (STEP,), "earliest", "f1", timedelta(seconds=1))
STATE = StepState("deduplicate a", "x")
MANIFEST = Manifest("t", position.before(10), "id-1", "f1", "file:///lake", 4, steps={"deduplicate": STATE})
FACTS = Facts("id-1", 4, 4, first=0, end=20, committed=10, manifest=b"")


def _check(manifest: Manifest | None = MANIFEST, facts: Facts = FACTS, lake: str = "file:///lake") -> None:
    opening.check(manifest, facts, PARTITION, STAGE, lake)


@pytest.mark.parametrize(
    "facts", [FACTS, replace(FACTS, first=10), replace(FACTS, end=10), replace(FACTS, committed=None)]
)
def test_goes_on_where_it_stood_also_when_the_broker_forgot_the_offset(facts: Facts) -> None:
    _check(facts=facts)


def test_a_stage_without_keys_takes_new_partitions_in_from_their_beginning() -> None:
    grown = replace(FACTS, partitions=5, committed=None)
    opening.check(None, grown, PARTITION, replace(STAGE, steps=()), "file:///lake")
    assert opening.added_later(grown, TopicPartition("clicks", 4))
    assert not opening.added_later(grown, TopicPartition("clicks", 3))
    assert not opening.added_later(replace(grown, partitions_before=None), TopicPartition("clicks", 4))


SECOND = Step("deduplicate-2", "deduplicate", -1, {}, signature="deduplicate a", lineage="y")


@pytest.mark.parametrize(
    ("steps", "state", "fits"),
    [
        ((STEP, SECOND), {"deduplicate": STATE, "deduplicate-2": replace(STATE, lineage="y")}, True),
        ((STEP, SECOND), {"deduplicate": STATE}, True),  # one more step
        ((replace(STEP, lineage="z"),), {"deduplicate": STATE}, True),  # what is before the only one has changed
        ((replace(STEP, lineage="y"),), {"deduplicate": STATE, "deduplicate-2": replace(STATE, lineage="y")}, False),
        (
            (replace(STEP, lineage="y"), replace(SECOND, lineage="x")),
            {"deduplicate": STATE, "deduplicate-2": replace(STATE, lineage="y")},
            False,
        ),
        ((replace(STEP, lineage=""), SECOND), {"deduplicate": STATE}, True),  # its name= tells it apart
    ],
)
def test_no_step_takes_the_state_of_another_of_its_kind(
    steps: tuple[Step, ...], state: dict[str, StepState], fits: bool
) -> None:
    def check() -> None:
        opening.check(replace(MANIFEST, steps=state), FACTS, PARTITION, replace(STAGE, steps=steps), "file:///lake")

    if fits:
        check()
        return
    with pytest.raises(StateError, match="at another place of the topology"):
        check()


def test_a_new_task_starts() -> None:
    _check(None, replace(FACTS, committed=None))


def test_another_fingerprint_or_step_is_not_a_misfit() -> None:
    _check(replace(MANIFEST, fingerprint="f0", steps={"gone": StepState("x")}))


@pytest.mark.parametrize(
    ("manifest", "facts", "lake", "error", "code", "says"),
    [
        (None, FACTS, "file:///lake", StateError, "SP410", "clicks/3 has a committed offset .10. but no state"),
        (MANIFEST, replace(FACTS, topic_id="id-2"), "file:///lake", LogError, "SP310", "made anew"),
        (MANIFEST, replace(FACTS, committed=9), "file:///lake", StateError, "SP411", "offset 10, .* offset is 9"),
        (MANIFEST, replace(FACTS, end=9), "file:///lake", LogError, "SP311", "ends at offset 9, but was read up to 10"),
        (MANIFEST, replace(FACTS, first=13), "file:///lake", LogError, "SP312", "3 unread records are gone"),
        (MANIFEST, FACTS, "s3://other", StateError, "SP412", "belongs to the lake file:///lake"),
        (MANIFEST, replace(FACTS, partitions=5), "file:///lake", LogError, "SP313", "has 5 partitions, it had 4"),
        (None, replace(FACTS, partitions=5, committed=None), "file:///lake", LogError, "SP313", "keys may have moved"),
        (
            replace(MANIFEST, steps={"deduplicate": StepState("deduplicate b")}),
            FACTS,
            "file:///lake",
            StateError,
            "SP413",
            "does not fit",
        ),
    ],
)
def test_refuses(
    manifest: Manifest | None, facts: Facts, lake: str, error: type[StreamprocError], code: str, says: str
) -> None:
    with pytest.raises(error, match=says) as caught:
        _check(manifest, facts, lake)
    assert caught.value.code == code
    assert "streamproc reset" in caught.value.fix
