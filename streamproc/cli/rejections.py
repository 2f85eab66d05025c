"""Says it loudly when nearly everything is rejected: then it is the topology that is wrong, not the messages."""

from __future__ import annotations

import polars as pl
import structlog

from streamproc.cli import accounting, tables
from streamproc.errors import TableError
from streamproc.lake import Lake
from streamproc.plan.model import SOURCE, Plan
from streamproc.runtime.account import Counters
from streamproc.runtime.progress import Progress

MESSAGES_MIN = 1_000
SHARE = 0.99

_log = structlog.get_logger("streamproc.run")


class Rejections:
    """Looks once at each topic, when enough of its messages have been read by this run; what was before it is known.

    Args:
        plan: what runs.
        lake: where the rejected rows are.
    """

    def __init__(self, plan: Plan, lake: Lake) -> None:
        self._plan = plan
        self._lake = lake
        self._open = list(plan.stages)
        self._before: dict[str, tuple[int, int]] = {}

    def look(self, progress: Progress) -> None:
        """Called by the driver, after checkpoints."""
        for stage in list(self._open):
            counters = accounting.of_stage(self._plan, progress.accounts, stage)
            read, rejected = counters.get(SOURCE, {}).get("in", 0), _rejected(counters)
            if not progress.read:
                self._before[stage.topic] = read, rejected
            read_before, rejected_before = self._before.get(stage.topic, (0, 0))
            read, rejected = read - read_before, rejected - rejected_before
            if min(read, progress.read) < MESSAGES_MIN:
                continue
            self._open.remove(stage)
            if rejected > SHARE * read:
                self._tell(stage.topic, rejected, read)

    def _tell(self, topic: str, rejected: int, read: int) -> None:
        # Payloads, and details that quote them, stay in the table.
        _log.error(
            f"nearly all messages of {topic} are rejected: does the topology fit them?",
            rejected=rejected,
            read=read,
            look_with=f"streamproc show {self._plan.rejected}",
            **self._first(topic),
        )

    def _first(self, topic: str) -> dict[str, str]:
        try:
            rows = pl.scan_delta(tables.handle(self._lake, self._plan.rejected))
            first = (
                rows.filter(pl.col("topic") == topic)
                .sort("offset", "partition")
                .select("step", "reason")
                .head(1)
                .collect()
            )
        except (TableError, pl.exceptions.PolarsError):
            return {}
        return dict(zip(("step", "first_reason"), *first.rows(), strict=True)) if first.height else {}


def _rejected(counters: Counters) -> int:
    return sum(counts.get("rejected", 0) for counts in counters.values())
