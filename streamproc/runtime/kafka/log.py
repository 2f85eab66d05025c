"""The broker as a worker sees it: offsets of the group and manifests in the state topic, always together."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC

import confluent_kafka as ck
import orjson

from streamproc.errors import Fenced, LogError
from streamproc.plan.model import Plan, Start
from streamproc.position import offset_of
from streamproc.runtime.kafka.admin import Admin, state_topic
from streamproc.runtime.kafka.snapshot import Snapshot
from streamproc.runtime.kafka.transactions import ProducerFenced, Transactions
from streamproc.runtime.log import Facts, TopicPartition, fewest_partitions

SETTLE_S_MAX = 15.0
"""Longer than the broker lets a transaction of a dead process stay open."""
SETTLE_PAUSE_S = 0.1
JOB = "job"
"""Key of the record that says which job this is."""
_METADATA_MAGIC = b"CGMDv2:"


class KafkaLog:
    """A `runtime.log.Log` on Kafka.

    Args:
        plan: what runs; its name is the consumer group.
        admin: of the cluster.
        transactional_id: stable over restarts of this process, and of no other process.
        member: `consumer_group_metadata` of the consumer whose assignment the tasks are.
    """

    def __init__(self, plan: Plan, admin: Admin, transactional_id: str, member: Callable[[], bytes]) -> None:
        self._plan = plan
        self._admin = admin
        self._member = member
        self._state_topic = admin.physical(state_topic(plan.name))
        self._transactions = Transactions(admin.retry, transactional_id)
        self._snapshot = Snapshot(admin, plan.name, state_topic(plan.name))

    def open(self) -> None:
        """Make the state topic if there is none; abort what a predecessor left open.

        Raises:
            LogError: not reachable within the limit, or refused; SP309 another process has this identity.
        """
        self._admin.create_state_topic(self._plan.name)
        try:
            self._transactions.open()
        except ProducerFenced as error:
            raise LogError(
                "SP309",
                "another process runs with this worker's identity",
                detail=[str(error)],
                fix="give each machine a state directory of its own; never copy one",
            ) from None

    def check_job(self, lake: str, fingerprint: str, instance: str, address: str = "") -> None:
        """Refuse to run beside, or in place of, another job of the same name; else put this one on record.

        Args:
            lake: identity of the lake that this job writes to.
            fingerprint: of its plan; it may change while no other worker is active.
            instance: `group.instance.id` of this worker, or of the one whose place it takes.
            address: of the lake, for people.

        Raises:
            LogError: SP308 another job has this name.
        """
        self._snapshot.refresh()
        known = job_on_record(self._snapshot)
        check_lake(self._plan.name, known, lake, address)
        if known.get("fingerprint", fingerprint) != fingerprint:
            self._wait_alone(instance)
        if known != (ours := {"lake": lake, "address": address, "fingerprint": fingerprint}):
            self._transactions.commit(self._state_topic, {JOB: orjson.dumps(ours)}, (), None)

    def facts(self, partition: TopicPartition, task: str) -> Facts:
        """See `Log.facts`.

        Raises:
            LogError: topic or partition missing, broker not reachable within the limit.
            Fenced: another process has this worker's identity.
        """
        try:
            self._transactions.open()  # else what an outage has left open here would be waited for
        except ProducerFenced as error:
            raise _fenced(str(error), {task}) from error
        topic = self._admin.topics([partition.topic])[partition.topic]
        if partition.partition >= topic.partitions:
            raise LogError("SP301", f'topic "{topic.name}" has no partition {partition.partition}')
        committed, manifest = self._together(partition, task)
        return Facts(
            topic_id=topic.id,
            partitions=topic.partitions,
            partitions_before=fewest_partitions(self._snapshot.under(f"{task.rpartition('/')[0]}/")),
            first=self._admin.firsts([partition])[partition],
            end=self._admin.ends([partition])[partition],
            committed=committed,
            manifest=manifest,
        )

    def start_offset(self, partition: TopicPartition, start: Start) -> int:
        """See `Log.start_offset`; a time without a zone is UTC."""
        if start == "earliest":
            return self._admin.firsts([partition])[partition]
        end = self._admin.ends([partition])[partition]
        if start == "latest":
            return end
        moment = start if start.tzinfo else start.replace(tzinfo=UTC)
        found = self._admin.offset_at(partition, int(moment.timestamp() * 1000))
        return end if found is None else found

    def transact(self, offsets: Mapping[TopicPartition, int], manifests: Mapping[str, bytes | None]) -> None:
        """See `Log.transact`."""
        tasks = {self._plan.task(*partition) for partition in offsets} | manifests.keys()
        member = self._member()
        if not in_group(member):
            raise _fenced("this worker is not in the group", tasks)
        positions = [ck.TopicPartition(self._admin.physical(p.topic), p.partition, o) for p, o in offsets.items()]
        try:
            self._transactions.commit(self._state_topic, manifests, positions, member)
        except ProducerFenced as error:
            raise _fenced(str(error), tasks) from error

    def committed(self, partition: TopicPartition) -> int | None:
        """The group's committed offset, or None."""
        return self._snapshot.committed(partition)

    def close(self) -> None:
        """Close the connections."""
        self._transactions.close()
        self._snapshot.close()

    def _together(self, partition: TopicPartition, task: str) -> tuple[int | None, bytes | None]:
        """Offset and manifest of one and the same transaction.

        They are in two topics, and the marker that ends a transaction reaches one before the other. Where they differ
        and nothing is open that could still change them, they are told as they are: something else has altered them.
        """
        deadline = time.monotonic() + SETTLE_S_MAX
        while True:
            committed = self._snapshot.committed(partition)
            settled = self._snapshot.refresh()
            manifest = self._snapshot.newest(task)
            if committed == _offset(manifest):
                return committed, manifest
            if settled and committed == self._snapshot.committed(partition):
                return committed, manifest
            if time.monotonic() > deadline:
                return committed, manifest
            self._admin.retry.sleep(SETTLE_PAUSE_S)

    def _wait_alone(self, instance: str) -> None:
        """The code changed: fine once no worker of the old one is active; a dead one counts until its session ends."""
        deadline = time.monotonic() + self._admin.settings.session_s + 2
        while others := [m for m in self._admin.members(self._plan.name) if m.instance != instance]:
            if time.monotonic() > deadline:
                hosts = ", ".join(sorted({member.host for member in others}))
                raise _other_job(self._plan.name, f"workers on {hosts} run another version of it", "stop them first")
            self._admin.retry.sleep(SETTLE_PAUSE_S)


def in_group(member: bytes) -> bool:
    """Whether group metadata is that of a member. Without a generation the broker would accept any transaction."""
    at = len(_METADATA_MAGIC)
    return member.startswith(_METADATA_MAGIC) and member[at : at + 4] != b"\xff\xff\xff\xff"


def job_on_record(snapshot: Snapshot) -> dict[str, str]:
    """What `check_job` has put on record last: lake, its address, fingerprint; empty if nothing."""
    try:
        return dict(orjson.loads(snapshot.newest(JOB) or b"{}"))
    except (ValueError, TypeError):
        return {}


def check_lake(name: str, known: Mapping[str, str], lake: str, address: str) -> None:
    """Check that a job writes to the lake that is on record.

    Raises:
        LogError: SP308 it does not.
    """
    if known.get("lake", lake) == lake:
        return
    there, here = known.get("address") or known["lake"], address or lake
    how = f"it writes to {there}, this one to {here}"
    if there == here:
        how = f"it writes to {there}, but that is another lake now, or none: it was emptied or made anew"
    raise _other_job(name, how, "is STREAMPROC_LAKE right? Run it with that lake")


def _other_job(name: str, how: str, way_out: str) -> LogError:
    return LogError(
        "SP308",
        f'there is another job named "{name}"',
        detail=[how],
        fix=f"{way_out}, give this topology another name, or forget the other with `streamproc reset`",
    )


def _offset(manifest: bytes | None) -> int | None:
    """The offset that a manifest is as of; only this field is looked at here."""
    if manifest is None:
        return None
    try:
        return offset_of(int(orjson.loads(manifest)["position"]))
    except (ValueError, KeyError, TypeError):
        return None


def _fenced(reason: str, tasks: frozenset[str] | set[str]) -> Fenced:
    return Fenced("SP701", "another process owns these tasks: nothing was committed", tasks=tasks, detail=[reason])
