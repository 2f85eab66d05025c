"""The shipped truck topology: what becomes of good, doubled, late and bad readings; a crash changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from streamproc.cli.demo import sensors, shipped
from streamproc.runtime.log import TopicPartition
from streamproc.testing import TopologyTest

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def reading(second: int, truck: str = "truck-01", temperature: float | None = 4.0, **more: Any) -> dict[str, Any]:
    at = (NOON + timedelta(seconds=second)).isoformat()
    return {"device_id": truck, "event_time": at, "temperature": temperature, **more}


@pytest.fixture
def trucks() -> Iterator[TopologyTest]:
    with TopologyTest(shipped.path("iot_sensors"), start=NOON) as test:
        yield test


def test_a_minute_of_a_truck(trucks: TopologyTest) -> None:
    trucks.send("sensor-data", [reading(0, temperature=3.0, battery=90), reading(30, temperature=9.0, battery=89)])
    trucks.send("sensor-data", [reading(20, temperature=6.0, battery=91), reading(95)])
    trucks.run()
    [minute] = trucks.table("gold/truck_minutes").to_dicts()
    assert minute == {
        "window_start": NOON,
        "window_end": NOON + timedelta(minutes=1),
        "device_id": "truck-01",
        "readings": 3,
        "too_warm": 1,
        "average": 6.0,
        "warmest": 9.0,
        "battery": 89,
    }


def test_a_reading_too_late_for_its_minute_is_still_in_silver(trucks: TopologyTest) -> None:
    trucks.send("sensor-data", [reading(10), reading(90), reading(20)])
    trucks.run()
    assert trucks.table("silver/readings").height == 3
    assert trucks.table("gold/truck_minutes")["readings"].to_list() == [1]
    assert trucks.late()["offset"].to_list() == [2]


def test_what_is_refused_and_why(trucks: TopologyTest) -> None:
    bad = [
        b"{",
        reading(0, temperature=999.0),
        reading(0, temperature=None),
        reading(3 * 3600),
        {"device_id": "truck-01"},
        None,
    ]
    trucks.send("sensor-data", bad, key=b"truck-01")
    trucks.run()
    assert trucks.rejected().sort("offset")["reason"].to_list() == [
        "not_json",
        "expectation",
        "expectation",
        "event_time_ahead",
        "missing_field",
        "tombstone",
    ]
    assert trucks.table("silver/readings").is_empty()


def test_the_second_of_two_equal_readings_is_dropped(trucks: TopologyTest) -> None:
    trucks.send("sensor-data", [reading(0), reading(1), reading(0), reading(0, truck="truck-02")])
    trucks.run()
    assert trucks.table("silver/readings").height == 3
    assert trucks.accounts()["deduplicate"]["duplicates"] == 1


def test_a_crash_in_the_middle_changes_nothing() -> None:
    sent = sensors.messages(sensors.Mix(messages=2_000, duplicates=60, implausible=20, broken=10, ahead=5, late=8))
    straight, broken = (tables(sent, crash=crash) for crash in (False, True))
    assert straight == broken


def tables(sent: list[sensors.Message], *, crash: bool) -> dict[str, list[Any]]:
    with TopologyTest(shipped.path("iot_sensors"), partitions=sensors.PARTITIONS) as test:
        for part in (sent[:900], sent[900:]):
            for message in part:
                place = TopicPartition(sensors.TOPIC, message.partition)
                test.broker.append(place, [message.value], [message.key], [message.timestamp])
            test.step()
            if crash:
                test.crash(in_checkpoint=True)
                test.restart(batch_size=100)
        test.run()
        test.verify()
        return {name: sorted(test.table(name).rows(), key=repr) for name in test.plan.tables}
