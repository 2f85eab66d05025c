"""The driver's loop without a broker: what it does around a worker that is fenced, and when it has caught up."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any, cast

import confluent_kafka as ck
import pytest
from confluent_kafka import KafkaError

from streamproc.errors import Fenced, LogError
from streamproc.operators.batch import Records
from streamproc.runtime.kafka import goal, rounds
from streamproc.runtime.kafka.admin import Admin
from streamproc.runtime.kafka.connection import KafkaSettings, Retry, Stopped
from streamproc.runtime.kafka.consumer import Slice
from streamproc.runtime.kafka.goal import Goal
from streamproc.runtime.kafka.rounds import Rounds
from streamproc.runtime.kafka.strikes import Strikes
from streamproc.runtime.kafka.transactions import Transactions
from streamproc.runtime.log import Facts, TopicPartition
from tests.kafka.fakes import FakeWorker, plan_of

A, B = TopicPartition("t", 0), TopicPartition("t", 1)
PLAN = plan_of("job", "t")


class Log:
    """Starts everything at 0 and takes whatever is committed."""

    def facts(self, partition: TopicPartition, task: str) -> Facts:
        return Facts("id", 2, None, 0, 0, None, None)

    def start_offset(self, partition: TopicPartition, start: object) -> int:
        return 0

    def transact(self, offsets: object, manifests: object) -> None:
        pass


class Reader:
    """Brings two records of each partition in a round, for ever."""

    generation = 1
    outage = False

    def __init__(self) -> None:
        self.owned = {A, B}
        self.at: dict[TopicPartition, int] = {}

    def start(self, partition: TopicPartition, offset: int) -> None:
        self.at[partition] = offset

    def stop(self, partitions: Iterable[TopicPartition]) -> None:
        for partition in partitions:
            self.at.pop(partition, None)

    def read(self, timeout_s: float) -> list[Slice]:
        slices = []
        for partition, at in sorted(self.at.items()):
            self.at[partition] = at + 2
            records = Records(*partition, [at, at + 1], [0, 0], [None, None], [b"", b""])
            slices.append(Slice(partition, records, at + 2))
        return slices


class FencingWorker(FakeWorker):
    """Keeps what it processes of each partition; `fences` are raised, at most once each, at a batch of a partition."""

    def __init__(self) -> None:
        super().__init__(PLAN, cast(Any, Log()))
        self.offsets: dict[TopicPartition, list[int]] = {A: [], B: []}
        self.fences: dict[TopicPartition, TopicPartition] = {}

    def process(self, partition: TopicPartition, records: Records, end_offset: int) -> None:
        whose = self.fences.pop(partition, None)
        if whose == partition:
            raise Fenced("SP701", "another owner", tasks={PLAN.task(*partition)})
        super().process(partition, records, end_offset)
        self.offsets[partition] += records.offsets
        if whose:
            raise Fenced("SP701", "another owner", tasks={PLAN.task(*whose)})

    def lost(self, partitions: Iterable[TopicPartition]) -> None:
        partitions = list(partitions)
        super().lost(partitions)
        for partition in partitions:
            self.offsets[partition].clear()


def _rounds(monkeypatch: pytest.MonkeyPatch, worker: FencingWorker) -> Rounds:
    monkeypatch.setattr(rounds, "FENCED_PAUSE_S", 0.0)
    admin = SimpleNamespace(topics=lambda names: {name: SimpleNamespace(id="id", name=name) for name in names})
    made = Rounds(PLAN, cast(Any, worker), cast(Any, Reader()), cast(Any, admin), {"t": "id"})
    made._waiting = {A, B}
    return made


@pytest.mark.parametrize("at", [A, B])
@pytest.mark.parametrize("whose", [A, B])
def test_a_fenced_task_costs_the_others_no_record(
    monkeypatch: pytest.MonkeyPatch, at: TopicPartition, whose: TopicPartition
) -> None:
    worker = FencingWorker()
    run = _rounds(monkeypatch, worker)
    run.go()
    worker.fences = {at: whose}
    for _ in range(5):
        run.go()
    assert "lost" in worker.calls
    for offsets in worker.offsets.values():
        assert len(offsets) >= 6
        assert offsets == list(range(len(offsets)))
    told: list[int] = []
    run._reader.lag = lambda positions: None  # type: ignore[method-assign]
    run.tell(lambda progress: told.append(progress.read), every_s=0)
    assert told[0] >= sum(map(len, worker.offsets.values()))


def test_what_a_survivor_was_not_given_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is fenced for another task before it has processed a batch stands where it stood."""
    worker = FencingWorker()
    run = _rounds(monkeypatch, worker)
    run.go()
    process, times = worker.process, iter([True])

    def refuse(partition: TopicPartition, records: Records, end_offset: int) -> None:
        if partition == B and next(times, False):
            raise Fenced("SP701", "another owner", tasks={PLAN.task(*A)})
        process(partition, records, end_offset)

    monkeypatch.setattr(worker, "process", refuse)
    for _ in range(5):
        run.go()
    assert worker.offsets[B] == list(range(len(worker.offsets[B])))
    assert len(worker.offsets[B]) >= 6


def test_fencings_count_only_within_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    rare, often = Strikes(2, 10.0), Strikes(2, 10.0)
    for _ in range(20):
        now[0] += 5.1
        assert not rare.add()
    assert [often.add() for _ in range(3)] == [False, False, True]
    often.clear()
    assert not often.add()


def test_a_run_outlives_fencings_that_are_days_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    worker, now = FencingWorker(), [0.0]
    run = _rounds(monkeypatch, worker)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    run.go()
    for _ in range(10):
        now[0] += 86_400
        run._checkpoint_at = now[0]
        worker.fences = {A: B}
        run.go()
        run._checkpoint_at = now[0]
        run.go()
    assert worker.calls.count("lost") == 10
    assert "checkpoint" not in worker.calls


class Live:
    """Rounds of which A has a hole at its end (4 of 5 offsets), and B never stops."""

    settled = True

    def __init__(self) -> None:
        self.a, self.b = 4, 0

    @property
    def positions(self) -> dict[TopicPartition, int]:
        self.b += 1
        return {A: self.a, B: self.b}

    def pass_over(self, ends: Mapping[TopicPartition, int]) -> None:
        self.a = ends.get(A, self.a)

    def checkpoint(self) -> None:
        pass


def test_a_hole_at_the_end_is_passed_beside_a_partition_that_is_never_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    now, asked = [0.0], list[set[TopicPartition]]()
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def passed(positions: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        asked.append(set(positions))
        return dict.fromkeys(positions, 5)

    admin = SimpleNamespace(ends=lambda partitions: {A: 5, B: 100})
    topics = {"t": SimpleNamespace(partitions=2)}
    aim = Goal(cast(Any, admin), cast(Any, None), cast(Any, SimpleNamespace(passed=passed)), cast(Any, topics))
    live = Live()
    for _ in range(200):
        if aim.reached(cast(Any, live)):
            break
        now[0] += goal.ASK_S / 5
    assert live.a == 5
    assert live.b < 150
    assert asked == [{A}], "what moves is not asked about"


def _admin(answers: list[int | None]) -> Admin:
    """Of which the broker answers so many error codes."""
    admin = Admin(KafkaSettings("127.0.0.1:1"), {}, threading.Event())

    def offsets(asked: list[Any], *, require_stable: bool, request_timeout: float) -> dict[str, Future[Any]]:
        assert require_stable
        code, future = answers.pop(0), Future[Any]()
        error = None if code is None else KafkaError(code)
        future.set_result(SimpleNamespace(topic_partitions=[SimpleNamespace(error=error, offset=7)]))
        return {"group": future}

    admin._client = cast(Any, SimpleNamespace(list_consumer_group_offsets=offsets, poll=int, list_topics=lambda **_: 0))
    return admin


def test_a_partition_that_is_refused_is_a_log_error() -> None:
    with pytest.raises(LogError, match="SP305") as caught:
        _admin([KafkaError.TOPIC_AUTHORIZATION_FAILED]).committed("group", A)
    assert "read committed offsets" in str(caught.value)


def test_a_partition_that_can_not_be_told_yet_is_asked_for_again() -> None:
    assert _admin([KafkaError.UNSTABLE_OFFSET_COMMIT, None]).committed("group", A) == 7


def test_all_that_is_done_in_a_drain_has_one_deadline() -> None:
    retry = Retry(KafkaSettings("127.0.0.1:1", patience_s=300), threading.Event())
    assert retry.limit_s == 300
    retry.drain(1.0)
    began = time.monotonic()

    def away(seconds: float) -> None:
        assert seconds <= 1.0
        raise ck.KafkaException(KafkaError(KafkaError._TRANSPORT))

    for _ in range(3):
        with pytest.raises(LogError, match="SP302"):
            retry.call("wait", away)
    assert 1.0 <= time.monotonic() - began < 1.5
    assert retry.limit_s == 0.0


def test_a_stop_ends_a_commit_that_goes_on_and_on() -> None:
    stop = threading.Event()
    transactions = Transactions(Retry(KafkaSettings("127.0.0.1:1"), stop), "id")
    error = KafkaError(KafkaError._TIMED_OUT, "no answer", retriable=True)

    def commit(seconds: float) -> None:
        stop.set()
        raise ck.KafkaException(error)

    producer = SimpleNamespace(begin_transaction=lambda: None, commit_transaction=commit)
    transactions._producer = cast(Any, producer)
    with pytest.raises(Stopped):
        transactions.commit("state", {}, (), None)


def test_a_client_that_waits_for_a_controller_in_vain_looks_again() -> None:
    admin = Admin(KafkaSettings("127.0.0.1:1"), {}, threading.Event())
    admin.retry.sleep = lambda seconds: None  # type: ignore[method-assign]
    looks = [-1, 1]
    asked: list[str] = []

    def look(timeout: float) -> object:
        asked.append("look")
        return SimpleNamespace(controller_id=looks.pop(0))

    def describe(names: object, request_timeout: float) -> dict[str, object]:
        asked.append("describe")
        if looks:
            raise ck.KafkaException(KafkaError(KafkaError._TIMED_OUT, "Failed while waiting for controller"))
        future = SimpleNamespace(result=lambda s: SimpleNamespace(topic_id="id", partitions=[0, 1]))
        return {"t": future}

    admin._client = cast(Any, SimpleNamespace(list_topics=look, describe_topics=describe, poll=int))
    assert admin.topics(["t"])["t"].partitions == 2
    assert asked == ["describe", "look", "look", "describe"]
