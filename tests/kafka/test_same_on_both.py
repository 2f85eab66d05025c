"""One suite of topologies on both drivers: the same messages give the same tables, row by row."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from streamproc.cli.demo import sensors
from streamproc.testing import TopologyTest
from tests.kafka.running import JOBS, PARTITIONS, Job, Sent
from tests.oracle.readings import generate

START_MS = 1_760_000_000_000
SHIPPED = Path(__file__).parents[2] / "topologies"


def _readings() -> list[Sent]:
    rows = generate(4_000, seed=5, start_ms=START_MS)
    return [Sent(int(device[-1]) % PARTITIONS, device.encode(), at, value) for device, at, value in rows]


def _orders() -> list[Sent]:
    dice = random.Random(6)
    sent = []
    for i in range(3_000):
        order, at = f"order-{dice.randrange(40)}", START_MS + i * 100
        items = [{"sku": f"s{dice.randrange(9)}", "n": dice.randrange(5)} for _ in range(dice.randrange(4))]
        event = datetime.fromtimestamp((at - dice.randrange(30_000)) / 1000, UTC).isoformat()
        row = {"order": order, "at": event, "total": f"{dice.randrange(10_000) / 100:.2f}", "items": items}
        value = b"{" if i % 97 == 0 else json.dumps(row).encode()
        sent.append(Sent(sum(order.encode()) % PARTITIONS, order.encode(), at, value))
    return sent


def _sensors() -> list[Sent]:
    return [Sent(m.partition, m.key, m.timestamp, m.value) for m in sensors.messages()[:8_000]]


SUITE: dict[str, tuple[Path, str, Callable[[], list[Sent]]]] = {
    "readings": (JOBS / "readings.py", "readings", _readings),
    "orders": (JOBS / "orders.py", "orders", _orders),
    "iot_sensors": (SHIPPED / "iot_sensors.py", "sensor-data", _sensors),
}


@pytest.mark.parametrize("name", SUITE)
def test_the_same_messages_give_the_same_tables(kafka: str, tmp_path: Path, name: str) -> None:
    source, topic, messages = SUITE[name]
    job, sent = Job(tmp_path, kafka, source, topic), messages()
    job.send(sent)
    assert job.run("--until-caught-up") == 0, job.printed()
    with TopologyTest(job.file, partitions=PARTITIONS, batch_size=700) as memory:
        for message in sent:
            at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=message.timestamp)
            memory.send(topic, message.value, key=message.key, timestamp=at, partition=message.partition)
        memory.run()
        for table in memory.plan.tables:
            ours = memory.table(table)
            assert ours.height or table.endswith(("__late", "__rejected"))
            assert_frame_equal(_sorted(job.table(table)), _sorted(ours), rel_tol=1e-9)


def _sorted(frame: pl.DataFrame) -> pl.DataFrame:
    plain = [name for name, type in frame.schema.items() if not type.is_nested() and not type.is_float()]
    return frame.select(sorted(frame.columns)).sort(sorted(plain))
