"""`streamproc run`: runs a topology on Kafka until it is stopped, or has caught up."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from types import FrameType
from typing import Annotated
from uuid import uuid4

import typer

from streamproc.cli import failures, kafka, preflight, tables
from streamproc.cli.live import Live
from streamproc.cli.options import ConfigFile, Sets, TopologyFile, settings
from streamproc.cli.rejections import Rejections
from streamproc.config import Config
from streamproc.errors import ConfigError
from streamproc.plan import Plan, load_topology
from streamproc.plan import plan as planned
from streamproc.runtime.job import open_worker
from streamproc.runtime.kafka import slots
from streamproc.runtime.kafka.admin import Admin
from streamproc.runtime.kafka.connection import Stopped
from streamproc.runtime.kafka.driver import KafkaDriver
from streamproc.runtime.log import Log
from streamproc.runtime.progress import Progress
from streamproc.runtime.worker import Worker
from streamproc.settings import check_names
from streamproc.state.files import FileChunks
from streamproc.state.rocks import RocksChunks

PATIENCE_S = 300.0


def run(
    file: TopologyFile,
    config: ConfigFile = None,
    sets: Sets = None,
    until_caught_up: Annotated[
        bool, typer.Option("--until-caught-up", help="End when everything that is there now has been read.")
    ] = False,
    skip: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TOPIC:PARTITION:OFFSET", help="Reject this record unread. Repeatable.", show_default=False
        ),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for topics that don't exist yet.")] = False,
) -> None:
    """Run a topology on Kafka; SIGTERM or Ctrl-C ends it cleanly."""
    with failures.logged():
        loaded = settings(config, sets)
        _run(file, loaded, until_caught_up=until_caught_up, skip=skip or [], wait=wait)


def _run(file: Path, loaded: Config, *, until_caught_up: bool, skip: list[str], wait: bool) -> None:
    plan = planned(load_topology(file))
    check_names(plan, loaded.settings.topics, loaded.settings.tables)
    skipped = frozenset(_place(text, plan) for text in skip)
    connection, lake = kafka.connection(loaded, PATIENCE_S), tables.lake_of(loaded)
    with slots.take(loaded.settings.state_dir) as slot:
        rejections = Rejections(plan, lake)

        def worker(log: Log) -> Worker:
            chunks = RocksChunks(slot.path / plan.name, FileChunks(lake.store()))
            return open_worker(plan, log, lake, chunks, new_id=_new_id, skip=skipped)

        with Live(plan, _where(loaded)) as live, _signals(live) as stop:

            def on_progress(progress: Progress) -> None:
                live.update(progress)
                rejections.look(progress)

            try:
                preflight.check(Admin(connection, loaded.settings.topics, stop), plan, lake, skipped)
            except Stopped:
                return
            driver = KafkaDriver(
                plan,
                connection,
                worker,
                slot=slot,
                lake=lake.identity(_new_id),
                address=lake.address,
                topics=loaded.settings.topics,
                wait=wait,
            )
            driver.run(until_caught_up=until_caught_up, stop=stop, on_progress=on_progress)


def _place(text: str, plan: Plan) -> tuple[str, int, int]:
    """A record as `--skip` names it."""
    topic, *numbers = text.split(":")
    if len(numbers) != 2 or not all(number.isdecimal() for number in numbers):
        raise ConfigError("SP222", f'"{text}" is not a record', fix="--skip TOPIC:PARTITION:OFFSET")
    topics = [stage.topic for stage in plan.stages]
    if topic not in topics:
        raise ConfigError(
            "SP222", f'--skip: "{topic}" is no topic of {plan.name}', detail=[f"topics: {', '.join(topics)}"]
        )
    return topic, int(numbers[0]), int(numbers[1])


@contextmanager
def _signals(live: Live) -> Iterator[threading.Event]:
    """Set by the first SIGTERM or SIGINT; the second ends the process at once.

    A handler may interrupt any line of the main thread, also one that holds the event's lock or is writing: so it only
    hands the signal on, by a queue that is made for that, and a thread does the rest.
    """
    asked = threading.Event()
    signals: SimpleQueue[int] = SimpleQueue()
    seen = False

    def handle(number: int, _: FrameType | None) -> None:
        nonlocal seen
        if seen:
            os._exit(128 + number)
        seen = True
        signals.put(number)

    def wait() -> None:
        if signals.get():
            asked.set()
            live.stopping()

    thread = threading.Thread(target=wait, name="signals", daemon=True)
    thread.start()
    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signals.put(0)
        thread.join(1.0)


def _where(config: Config) -> str:
    return f"{config.bootstrap_servers} -> {config.lake}"


def _new_id() -> str:
    return uuid4().hex
