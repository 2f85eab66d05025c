"""`streamproc demo`: made-up messages, the in-memory broker, real Delta tables, and proof that nothing got lost."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated
from uuid import uuid4

import typer
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Bar

from streamproc import telemetry
from streamproc.cli import accounting, screen, verify
from streamproc.cli.demo import folder, sensors, shipped, summary
from streamproc.cli.demo.feed import Feed, WallClock
from streamproc.lake import Lake
from streamproc.plan import Plan, load_topology
from streamproc.plan import plan as planned
from streamproc.runtime.job import open_worker
from streamproc.runtime.memory.broker import MemoryBroker
from streamproc.runtime.memory.driver import MemoryDriver
from streamproc.runtime.progress import Progress
from streamproc.sinks.delta.verify import verify as verify_log
from streamproc.state.files import FileChunks
from streamproc.state.rocks import RocksChunks

FEED_S = 9.0
ROUND_S = 0.1


def demo(
    topology: Annotated[str, typer.Option(help="A shipped topology.")] = "iot_sensors",
    lake: Annotated[Path, typer.Option(help="Folder for the tables; emptied if the demo has made it.")] = Path("lake"),
) -> None:
    """Run the main job without any server: made-up truck sensors, the in-memory broker, tables in a folder."""
    telemetry.configure(level=logging.WARNING)
    file = shipped.path(topology)
    loaded = load_topology(file)
    plan = planned(loaded)
    folder.prepare(lake)
    at = Lake(str(lake))
    screen.say(
        f"{plan.name} on the in-memory broker: {sensors.PARTITIONS} partitions, {sensors.TRUCKS} trucks, "
        f"{sensors.MINUTES} min of event time; tables in {_shown(lake)}",
        "bold",
    )
    messages = sensors.messages()
    with tempfile.TemporaryDirectory(prefix="streamproc-demo-") as state:
        progress, seconds = _run(plan, at, Path(state), messages)
    accounting.check(plan, progress.accounts, {sensors.TOPIC: len(messages)}, summary.row_counts(plan, at))
    screen.say(f"\n{progress.read:,} messages read in {seconds:.1f} s, every one accounted for", "bold")
    summary.accounts(loaded, plan, progress.accounts, at)
    summary.first_rows(plan, at)
    proofs = [verify_log(at.table_uri(name)) for name in plan.tables]
    screen.say("")
    screen.say(*verify.line(proofs))
    me = _command()
    screen.say(f"Next: read {file}; {me} show gold/truck_minutes --set lake={lake}; {me} infer TOPIC")
    if not all(proof.ok for proof in proofs):
        raise typer.Exit(1)


def _run(plan: Plan, lake: Lake, state: Path, messages: list[sensors.Message]) -> tuple[Progress, float]:
    """Feed and process everything; the time it took."""
    broker = MemoryBroker(WallClock(), _new_id)
    broker.create_topic(sensors.TOPIC, sensors.PARTITIONS)
    chunks = RocksChunks(state, FileChunks(lake.store()))
    driver = MemoryDriver(plan, broker, lambda log: open_worker(plan, log, lake, chunks, new_id=_new_id), session="60s")
    began = time.monotonic()
    with _bar() as bar:
        shown = bar.add_task(sensors.TOPIC, total=len(messages), rate="", lag="", freshness="")
        feed = Feed(broker, sensors.TOPIC, messages, FEED_S)
        seen = _Freshness(feed)
        progress = driver.progress()
        while not feed.done or progress.lag:
            round_ends = time.monotonic() + ROUND_S
            feed.send()
            driver.step()
            progress = driver.progress()
            seen.look(progress)
            _show(bar, shown, progress, began, seen)
            time.sleep(max(0.0, round_ends - time.monotonic()))
        driver.checkpoint()
        progress = driver.progress()
        seen.look(progress)
        _show(bar, shown, progress, began, seen)
        seconds = time.monotonic() - began
    driver.close()
    return progress, seconds


class _Freshness:
    """Time from sending to commit of the last checkpoint's oldest message. (Messages carry made-up timestamps.)"""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._committed = 0
        self._mark: float | None = None
        self.seconds: float | None = None

    def look(self, progress: Progress) -> None:
        """The driver's own freshness changes with each checkpoint: then everything read is committed."""
        if progress.freshness_s != self._mark:
            self._mark = progress.freshness_s
            self.seconds = self._feed.age_s(self._committed)
            self._committed = progress.read


def _bar() -> Bar:
    return Bar(
        TextColumn("{task.description}"),
        BarColumn(20),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
        TextColumn("{task.fields[rate]}  {task.fields[lag]}  {task.fields[freshness]}"),
        console=screen.out,
        refresh_per_second=8,
    )


def _show(bar: Bar, task: TaskID, progress: Progress, began: float, freshness: _Freshness) -> None:
    rate = progress.read / max(time.monotonic() - began, 0.001)
    fresh = "" if freshness.seconds is None else f"freshness {freshness.seconds:.2f} s"
    bar.update(task, completed=progress.read, rate=f"{rate:,.0f}/s", lag=f"lag {progress.lag:,}", freshness=fresh)


def _shown(path: Path) -> str:
    return str(path) if path.is_absolute() else f"./{path}"


def _command() -> str:
    """How to call this command from here."""
    script = Path(sys.argv[0])
    found = script.name == "streamproc" and script.is_file() and shutil.which("streamproc") is None
    return os.path.relpath(script) if found else "streamproc"


def _new_id() -> str:
    return uuid4().hex
