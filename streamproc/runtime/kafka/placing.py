"""Puts tasks to a place of one's choice, while no worker runs: the end of a `reset` that keeps rows."""

from __future__ import annotations

from collections.abc import Mapping

from streamproc.position import offset_of
from streamproc.runtime.kafka.admin import Admin, state_topic
from streamproc.runtime.kafka.transactions import Transactions
from streamproc.runtime.log import TopicPartition
from streamproc.state.manifest import Manifest


def place(admin: Admin, topology: str, manifests: Mapping[TopicPartition, Manifest]) -> None:
    """Make these the newest manifests of their tasks, and their positions the group's offsets.

    The two are not one transaction, as there is no member of the group. Cut short between them, the next start finds
    that they disagree and says so.

    Raises:
        LogError: Kafka can't be reached, or refuses.
    """
    admin.create_state_topic(topology)
    transactions = Transactions(admin.retry, f"{topology}-reset")
    messages = {manifest.task: manifest.encode() for manifest in manifests.values()}
    transactions.commit(admin.physical(state_topic(topology)), messages, (), None)
    transactions.close()
    admin.set_offsets(topology, {partition: offset_of(m.position) for partition, m in manifests.items()})
