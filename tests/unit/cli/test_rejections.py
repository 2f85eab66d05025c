"""A run that rejects nearly everything says so, once, without the payload."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
import structlog

from streamproc.cli.demo import shipped
from streamproc.cli.rejections import Rejections
from streamproc.lake import Lake
from streamproc.plan import FAILED_SCHEMA, load_topology, plan
from streamproc.runtime.progress import Progress


def told(lake: Path, *seen: tuple[int, int], before: int = 0) -> list[dict[str, object]]:
    """What is logged while so many of so many messages are rejected; `before`: read by earlier runs."""
    look = Rejections(plan(load_topology(shipped.path("iot_sensors"))), Lake(str(lake))).look
    with structlog.testing.capture_logs() as logs:
        for rejected, read in seen:
            counters = {"source": {"in": read}, "json": {"in": read, "rejected": rejected}}
            look(Progress(read - before, 0, 0.1, 1, {"iot_sensors/sensor-data/0": counters}))
    return list(logs)


def test_nearly_all_rejected_is_told_once_with_the_first_reason(tmp_path: Path) -> None:
    row = {
        **dict.fromkeys(FAILED_SCHEMA),
        "topic": "sensor-data",
        "offset": 3,
        "timestamp": datetime(2026, 1, 1, tzinfo=UTC),
        "value": b"payload",
        "step": "json",
        "reason": "wrong_type",
        "detail": "payload",
    }
    pl.DataFrame([row], schema=dict(FAILED_SCHEMA)).write_delta(tmp_path / "iot_sensors__rejected")
    [line] = told(tmp_path, (999, 999), (1200, 1201), (1300, 1301))
    assert (line["rejected"], line["read"], line["step"], line["first_reason"]) == (1200, 1201, "json", "wrong_type")
    assert "payload" not in str(line)


def test_it_is_told_also_while_the_table_cannot_be_read(tmp_path: Path) -> None:
    assert len(told(tmp_path, (1000, 1000))) == 1


@pytest.mark.parametrize("seen", [(990, 1000), (999, 999), (0, 5000)])
def test_fewer_are_no_news(tmp_path: Path, seen: tuple[int, int]) -> None:
    assert told(tmp_path, seen) == []


def test_what_an_earlier_run_rejected_is_no_news(tmp_path: Path) -> None:
    assert told(tmp_path, (5000, 5000), (5000, 5000), before=5000) == []
    assert told(tmp_path, (5000, 5000), (5000, 9000), before=5000) == []
    [line] = told(tmp_path, (0, 5000), (4000, 9000), before=5000)
    assert (line["rejected"], line["read"]) == (4000, 4000)
