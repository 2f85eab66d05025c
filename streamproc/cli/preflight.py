"""What a run asks before it begins: nothing is made in the lake for a run that is refused."""

from __future__ import annotations

import structlog

from streamproc.cli import kafka
from streamproc.cli.known import KnownJob
from streamproc.errors import ConfigError, LogError
from streamproc.lake import Lake
from streamproc.plan import Plan
from streamproc.runtime.kafka.admin import Admin
from streamproc.runtime.kafka.log import check_lake
from streamproc.runtime.log import TopicPartition
from streamproc.runtime.worker import Skip

_log = structlog.get_logger("streamproc.run")


def check(admin: Admin, plan: Plan, lake: Lake, skip: Skip) -> None:
    """Check what can't be taken back, or would be passed over in silence; Kafka is asked only where there is reason to.

    Args:
        admin: of the cluster.
        plan: what is to run.
        lake: where; it may not exist yet.
        skip: records to reject unread.

    Raises:
        ConfigError: SP222 a record to skip is of a partition that is not there.
        LogError: SP308 this job writes to a lake that exists, and this one does not.
        Stopped: asked to stop meanwhile.
    """
    is_new = lake.known_identity() is None
    if not is_new and not skip:
        return
    with KnownJob(admin, plan) as job:
        if is_new:
            check_lake(plan.name, job.record(), "", lake.address)
        for topic, number, offset in sorted(skip):
            _check_skip(admin, job, TopicPartition(topic, number), offset)


def _check_skip(admin: Admin, job: KnownJob, partition: TopicPartition, offset: int) -> None:
    topic, number = partition
    try:
        there = admin.topics([topic])[topic].partitions
    except LogError as error:
        if error.code != kafka.MISSING:
            raise
        return  # the run says so, or waits for it
    if number >= there:
        raise ConfigError(
            "SP222",
            f"--skip: {topic} has no partition {number}",
            detail=[f"its partitions are 0 to {there - 1}"],
            fix="--skip TOPIC:PARTITION:OFFSET, as the error that stopped the run names it",
        )
    committed = job.committed(partition)
    if committed is not None and offset < committed:
        _log.warning(
            f"--skip {topic}:{number}:{offset} changes nothing: that record has been read already", goes_on_at=committed
        )
