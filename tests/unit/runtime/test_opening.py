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
STEP = Step("deduplicate", "deduplicate", -1, {}, signature="keys a")
STAGE = Stage("clicks", "clicks", (STEP,), "earliest", "f1", timedelta(seconds=1))
MANIFEST = Manifest("t", position.before(10), "id-1", "f1", "file:///lake", {"deduplicate": StepState("keys a")})
FACTS = Facts("id-1", first=0, end=20, committed=10, manifest=b"")


def _check(manifest: Manifest | None = MANIFEST, facts: Facts = FACTS, lake: str = "file:///lake") -> None:
    opening.check(manifest, facts, PARTITION, STAGE, lake)


@pytest.mark.parametrize(
    "facts", [FACTS, replace(FACTS, first=10), replace(FACTS, end=10), replace(FACTS, committed=None)]
)
def test_goes_on_where_it_stood_also_when_the_broker_forgot_the_offset(facts: Facts) -> None:
    _check(facts=facts)


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
        (
            replace(MANIFEST, steps={"deduplicate": StepState("keys b")}),
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
