"""Transactions of one producer: all that is given, or nothing, or not known (law 5).

A transaction is opened only once everything else is durable, so it lives for milliseconds. Whatever goes wrong, the
next one begins with `init_transactions`, which settles what the last one left open.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import confluent_kafka as ck
from confluent_kafka import KafkaError, KafkaException, Producer

from streamproc.errors import LogError
from streamproc.runtime.kafka.connection import Backoff, Retry, cause, kind, make

TRANSACTION_TIMEOUT_MS = 10_000
"""After this the broker aborts what a dead process left open; until then readers of its partitions wait."""


class ProducerFenced(Exception):
    """Another producer or member took over; nothing was committed."""


class _Failed(Exception):
    """An attempt failed; `undone`: it is certain that nothing of it was committed."""

    def __init__(self, error: KafkaError, *, undone: bool) -> None:
        super().__init__(error)
        self.error = error
        self.undone = undone


class Transactions:
    """Args:
    retry: how long the broker may be away.
    transactional_id: stable over restarts: a successor aborts what its predecessor left open.
    """

    def __init__(self, retry: Retry, transactional_id: str) -> None:
        self._retry = retry
        self._config = retry.settings.config(
            transactional_id=transactional_id,
            transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
            compression_type="lz4",
            message_max_bytes=8 * 1024 * 1024,
        )
        self._producer: Producer | None = None

    def open(self) -> Producer:
        """The producer; a new one fences its predecessors and aborts what they left open.

        Raises:
            ProducerFenced: another process opens the same id at the same time.
            LogError: not reachable within the limit, or refused.
            Stopped: asked to stop meanwhile.
        """
        if self._producer is None:
            producer = make(self._retry.settings, Producer, self._config)
            try:
                self._retry.call("begin transactions", producer.init_transactions)
            except KafkaException as error:
                raise ProducerFenced(cause(error).name()) from None
            self._producer = producer
        return self._producer

    def commit(
        self,
        topic: str,
        messages: Mapping[str, bytes | None],
        offsets: Sequence[ck.TopicPartition],
        member: bytes | None,
    ) -> None:
        """Commit messages (by key, to partition 0 of the topic) and the group's offsets.

        Args:
            member: the group's metadata of this consumer; None if there are no offsets.

        Raises:
            ProducerFenced: see there.
            LogError: SP307 not done within the limit, outcome unknown; SP305 refused, nothing was committed.
            Stopped: asked to stop while the broker was away; the next start finds out what was committed.
        """
        backoff = Backoff(self._retry.limit_s)
        while True:
            try:
                self._attempt(topic, messages, offsets, member)
                return
            except _Failed as failed:
                if kind(failed.error) == "fenced":
                    raise ProducerFenced(failed.error.name()) from None
                if kind(failed.error) == "refused":
                    raise self._refused(failed.error) from None
                if not failed.undone or backoff.over:
                    raise self._unknown(failed.error, backoff.limit_s) from None
                reason = self._retry.settings.clean(failed.error.str())
            self._retry.sleep(backoff.next_s("transaction aborted", reason))

    def _attempt(
        self,
        topic: str,
        messages: Mapping[str, bytes | None],
        offsets: Sequence[ck.TopicPartition],
        member: bytes | None,
    ) -> None:
        producer = self.open()
        deadline = time.monotonic() + self._retry.limit_s
        committing = False
        try:
            producer.begin_transaction()
            for key, value in messages.items():
                producer.produce(topic, value, key.encode(), partition=0)
            if member is not None:
                self._until(deadline, lambda s: producer.send_offsets_to_transaction(list(offsets), member, s))
            committing = True
            self._until(deadline, producer.commit_transaction)
        except KafkaException as exception:
            error = cause(exception)
            undone = self._undo(error)
            raise _Failed(error, undone=undone or not committing) from None

    def close(self) -> None:
        """Let go of the producer; nothing of it is open."""
        self._producer = None

    def _until(self, deadline: float, request: Callable[[float], object]) -> None:
        """Call again while librdkafka says that this is allowed: it then goes on where it was."""
        while True:
            try:
                request(self._retry.attempt_s)
                return
            except KafkaException as exception:
                if not cause(exception).retriable() or time.monotonic() > deadline:
                    raise
            self._retry.sleep(0)

    def _undo(self, error: KafkaError) -> bool:
        """Abort if that is what the error asks for; in all other cases the next producer settles it."""
        producer, self._producer = self._producer, None
        if producer is None or not error.txn_requires_abort():
            return False
        try:
            producer.abort_transaction(self._retry.attempt_s)
        except KafkaException:
            return False
        self._producer = producer
        return True

    def _unknown(self, error: KafkaError, limit_s: float) -> LogError:
        return LogError(
            "SP307",
            f"a transaction was not done within {limit_s:.3g} s; whether it took effect is not known",
            detail=[self._retry.settings.clean(error.str())],
            fix="start again when the broker answers: the start finds out",
        )

    def _refused(self, error: KafkaError) -> LogError:
        return LogError(
            "SP305",
            f"Kafka refused a transaction: {error.name()}",
            detail=[self._retry.settings.clean(error.str())],
            fix="check the rights of this user on the transactional id, the group and the state topic",
        )
