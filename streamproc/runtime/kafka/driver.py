"""Runs a worker on Kafka: opens everything, goes round until it is told to stop or has caught up, drains."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack

import structlog

from streamproc.plan.model import Plan
from streamproc.runtime.kafka.admin import Admin
from streamproc.runtime.kafka.connection import KafkaSettings, Stopped
from streamproc.runtime.kafka.consumer import GroupConsumer
from streamproc.runtime.kafka.goal import Goal
from streamproc.runtime.kafka.log import KafkaLog
from streamproc.runtime.kafka.probe import Probe
from streamproc.runtime.kafka.rounds import Rounds
from streamproc.runtime.kafka.slots import Slot
from streamproc.runtime.log import Log
from streamproc.runtime.progress import Progress
from streamproc.runtime.worker import Worker

DRAIN_S_MAX = 20.0

_log = structlog.get_logger()


class KafkaDriver:
    """One worker of a topology on Kafka.

    Args:
        plan: what to run.
        settings: of the connection.
        worker: makes the worker over the log that it is given.
        slot: which of the processes on this machine this is.
        lake: identity of the lake, so that another job of the same name is recognised.
        address: of the lake, for people.
        topics: logical topic name -> name in Kafka, where they differ.
        wait: wait for topics that are missing.
        drain_s: seconds for all that is done after a stop.
    """

    def __init__(
        self,
        plan: Plan,
        settings: KafkaSettings,
        worker: Callable[[Log], Worker],
        *,
        slot: Slot,
        lake: str,
        address: str = "",
        topics: Mapping[str, str] | None = None,
        wait: bool = False,
        drain_s: float = DRAIN_S_MAX,
    ) -> None:
        self._plan = plan
        self._settings = settings
        self._make_worker = worker
        self._identity = slot.identity(plan.name)
        self._lake = lake
        self._address = address
        self._names = dict(topics or {})
        self._wait = wait
        self._drain_s = drain_s

    def run(
        self,
        until_caught_up: bool = False,
        stop: threading.Event | None = None,
        on_progress: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        """Run until `stop` is set, then drain: a last checkpoint, leave the group, close, within one deadline.

        Args:
            until_caught_up: end by itself once the group has committed every partition to the end it had at first.
            stop: set by another thread or a signal handler.
            on_progress: called after each checkpoint and at least once a second.

        Raises:
            StreamprocError: the run stopped; what was committed stays, everything else is dropped and closed.
        """
        stop = stop or threading.Event()
        admin = Admin(self._settings, self._names, stop)
        with ExitStack() as closing:
            try:
                rounds, goal = self._open(admin, closing, until_caught_up)
                while not stop.is_set() and not (goal and goal.reached(rounds)):
                    rounds.go()
                    rounds.tell(on_progress)
            except Stopped:
                _log.warning("stopped while the broker was away: what was not committed is read again")
                return
            admin.retry.drain(self._drain_s)
            rounds.checkpoint()
            rounds.tell(on_progress, every_s=0.0)

    def _open(self, admin: Admin, closing: ExitStack, until_caught_up: bool) -> tuple[Rounds, Goal | None]:
        topics = admin.topics([stage.topic for stage in self._plan.stages], wait=self._wait)
        headers = {s.topic for s in self._plan.stages if any("_headers" in step.hidden for step in s.steps)}
        names = {logical: topic.name for logical, topic in topics.items()}
        reader = GroupConsumer(self._settings, self._plan.name, self._identity, names, headers)
        closing.callback(lambda: reader.leave(min(self._drain_s, admin.retry.limit_s)))
        log = KafkaLog(self._plan, admin, self._identity, reader.metadata)
        closing.callback(log.close)
        log.open()
        log.check_job(self._lake, _fingerprint(self._plan), self._identity, self._address)
        goal = None
        if until_caught_up:
            probe = Probe(admin, self._plan.name)
            closing.callback(probe.close)
            goal = Goal(admin, log, probe, topics)
        worker = self._make_worker(log)
        rounds = Rounds(self._plan, worker, reader, admin, {name: topic.id for name, topic in topics.items()})
        closing.callback(rounds.close)
        rounds.join()
        return rounds, goal


def _fingerprint(plan: Plan) -> str:
    parts = "\n".join(sorted(f"{stage.name} {stage.fingerprint}" for stage in plan.stages))
    return hashlib.sha256(parts.encode()).hexdigest()[:16]
