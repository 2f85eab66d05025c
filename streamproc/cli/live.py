"""What a run shows while it goes on: one line that moves on a terminal, log lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

import structlog
from rich.live import Live as RichLive
from rich.text import Text

from streamproc.cli import accounting, screen
from streamproc.plan.model import Plan
from streamproc.runtime.progress import Progress

LOG_EVERY_S = 10.0
RATE_OVER_S = 5.0

_log = structlog.get_logger("streamproc.run")


class Live:
    """Args:
    plan: what runs.
    where: from where to where, for people.
    """

    def __init__(self, plan: Plan, where: str) -> None:
        self._plan = plan
        self._where = where
        self._live = RichLive(console=screen.err, refresh_per_second=4, transient=True)
        self._marks: list[tuple[float, int]] = [(time.monotonic(), 0)]
        self._logged = time.monotonic()
        self._last: Progress | None = None

    def __enter__(self) -> Self:
        if screen.err.is_terminal:
            screen.note(f"{self._plan.name}: {self._where}", "bold")
            self._live.start()
        else:
            _log.info("started", topology=self._plan.name, where=self._where)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._live.stop()
        if self._last is None:
            return
        if screen.err.is_terminal:
            self._tell(self._last)
        elif kind is None:
            _log.info("ended", **self._facts(self._last), accounts=self._accounts(self._last))
        else:
            _log.warning("ended by an error, which follows", **self._facts(self._last))

    def update(self, progress: Progress) -> None:
        """Called by the driver."""
        now = time.monotonic()
        self._last = progress
        self._marks.append((now, progress.read))
        while len(self._marks) > 2 and self._marks[0][0] < now - RATE_OVER_S:
            self._marks.pop(0)
        if screen.err.is_terminal:
            self._live.update(Text(line(self._plan.name, progress, self._rate())))
        elif now - self._logged >= LOG_EVERY_S:
            self._logged = now
            _log.info("progress", **self._facts(progress))

    def stopping(self) -> None:
        """The run has been asked to end."""
        if screen.err.is_terminal:
            screen.note("stopping: what has been read is being committed; Ctrl-C again ends at once")
        else:
            _log.info("stopping", topology=self._plan.name)

    def _rate(self) -> float:
        (t0, read0), (t1, read1) = self._marks[0], self._marks[-1]
        return (read1 - read0) / (t1 - t0) if t1 > t0 else 0.0

    def _facts(self, progress: Progress) -> dict[str, object]:
        return {
            "topology": self._plan.name,
            "read": progress.read,
            "per_second": round(self._rate()),
            "lag": progress.lag,
            "freshness_s": None if progress.freshness_s is None else round(progress.freshness_s, 3),
            "tasks": progress.tasks,
        }

    def _accounts(self, progress: Progress) -> dict[str, dict[str, dict[str, int]]]:
        return {s.topic: accounting.of_stage(self._plan, progress.accounts, s) for s in self._plan.stages}

    def _tell(self, progress: Progress) -> None:
        screen.note(f"{progress.read:,} messages read; since the first start, by the tasks that ran here:", "bold")
        for stage in self._plan.stages:
            counters = accounting.of_stage(self._plan, progress.accounts, stage)
            for account in accounting.tables(stage, counters):
                screen.note(f"  {account.table:<28} {account.rows:>12,}  rows")
                for part in account.lines:
                    screen.note(f"  {'':<28} {part.rows:>12,}  {part.outcome}   {part.step.id}")


def line(name: str, progress: Progress, per_second: float) -> str:
    """The moving line.

    >>> line("iot", Progress(read=1200, lag=0, freshness_s=0.314, tasks=4, accounts={}), 99.6)
    'iot  1,200 read  100/s  lag 0  freshness 0.31 s  4 tasks'
    """
    lag = "unknown" if progress.lag is None else f"{progress.lag:,}"
    freshness = "" if progress.freshness_s is None else f"  freshness {progress.freshness_s:.2f} s"
    tasks = screen.many(progress.tasks, "task")
    return f"{name}  {progress.read:,} read  {per_second:,.0f}/s  lag {lag}{freshness}  {tasks}"
