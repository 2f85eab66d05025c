"""The demo's messages: the same each time, and with exactly the faults that were ordered."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime

from streamproc.cli.demo.sensors import PARTITIONS, Message, Mix, messages

MIX = Mix(messages=5_000, duplicates=120, implausible=30, broken=20, ahead=10, late=15)


def test_the_same_seed_gives_the_same_messages() -> None:
    assert messages(MIX) == messages(MIX)
    assert messages(MIX, seed=8) != messages(MIX)


def test_every_kind_comes_as_often_as_ordered() -> None:
    sent = messages(MIX)
    readings = [(message, body) for message in sent if (body := _body(message))]
    ages_min = [(message.timestamp - _event_ms(body)) / 60_000 for message, body in readings]
    assert len(sent) == MIX.messages
    assert len(sent) - len(readings) == MIX.broken
    assert sum(count - 1 for count in Counter(message.value for message in sent).values()) == MIX.duplicates
    assert sum(not -60 <= body["temperature"] <= 80 for _, body in readings) == MIX.implausible
    assert sum(age < -60 for age in ages_min) == MIX.ahead
    assert sum(age > 3 for age in ages_min) == MIX.late


def test_messages_come_in_the_order_of_their_arrival_each_truck_in_its_partition() -> None:
    sent = messages(MIX)
    arrivals = [message.timestamp for message in sent]
    assert arrivals == sorted(arrivals)
    places = {(message.key, message.partition) for message in sent}
    assert len(places) == len({key for key, _ in places}) == 50
    assert {partition for _, partition in places} == set(range(PARTITIONS))


def _body(message: Message) -> dict[str, object]:
    try:
        return json.loads(message.value)
    except json.JSONDecodeError:
        return {}


def _event_ms(body: dict[str, object]) -> float:
    return datetime.fromisoformat(str(body["event_time"])).timestamp() * 1000
