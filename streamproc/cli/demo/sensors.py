"""Made-up truck sensors, with everything that goes wrong on the road. The same seed gives the same messages.

50 trucks report for 50 minutes of event time. A share of the readings arrives out of order, some twice, some too late
for their minute, some broken, implausible, or dated hours ahead.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson

TOPIC = "sensor-data"
PARTITIONS = 4
TRUCKS = 50
MINUTES = 50
START_MS = int(datetime(2026, 3, 2, 8, tzinfo=UTC).timestamp() * 1000)
SITES = ("Aarhus", "Gdansk", "Lyon", "Porto", "Turin")
OUT_OF_ORDER_SHARE = 0.1
OUT_OF_ORDER_MS_MAX = 20_000
"""Below the topology's lateness: these still make it into their window."""


@dataclass(frozen=True, slots=True)
class Mix:
    """How many messages of each kind; all others are good readings.

    Args:
        messages: all of them.
        duplicates: sent a second time.
        implausible: temperature of a broken sensor.
        broken: cut off in the middle.
        ahead: dated hours ahead.
        late: too late for their minute, in time for everything else.
    """

    messages: int = 120_000
    duplicates: int = 5_714
    implausible: int = 410
    broken: int = 240
    ahead: int = 70
    late: int = 180


class Message(NamedTuple):
    """A message as Kafka would hold it; `timestamp` in milliseconds since 1970 is when it arrived."""

    partition: int
    key: bytes
    value: bytes
    timestamp: int


def messages(mix: Mix | None = None, seed: int = 7, start_ms: int = START_MS) -> list[Message]:
    """All messages in the order of their arrival.

    Args:
        mix: how many of which kind.
        seed: of everything that is left to chance.
        start_ms: the first event time, milliseconds since 1970.

    >>> few = messages(Mix(messages=100, duplicates=3, implausible=1, broken=1, ahead=1, late=1))
    >>> len(few), few[0].key
    (100, b'truck-00')
    """
    mix = mix or Mix()
    dice = random.Random(seed)  # noqa: S311 - made-up data
    readings = mix.messages - mix.duplicates
    fate = _fates(readings, mix, dice)
    warmth = [dice.uniform(2.0, 6.0) for _ in range(TRUCKS)]
    sent: list[Message] = []
    for i in range(readings):
        truck = i % TRUCKS
        event_ms = start_ms + i * MINUTES * 60_000 // readings
        kind = fate.get(i)
        delay_ms = _delay_ms(kind, dice)
        reading = _reading(truck, event_ms, (event_ms - start_ms) / 60_000, warmth[truck], dice)
        if kind == "implausible":
            reading["temperature"] = dice.choice((-273.15, 999.0))
        elif kind == "ahead":
            reading["event_time"] = _iso(event_ms + dice.randint(2, 5) * 3_600_000)
        value = orjson.dumps(reading)
        if kind == "broken":
            value = value[: dice.randint(1, len(value) - 1)]
        key = f"truck-{truck:02d}".encode()
        message = Message(zlib.crc32(key) % PARTITIONS, key, value, event_ms + delay_ms)
        sent.append(message)
        if kind == "duplicate":
            sent.append(message._replace(timestamp=message.timestamp + dice.randint(0, OUT_OF_ORDER_MS_MAX)))
    sent.sort(key=lambda message: message.timestamp)
    return sent


def _fates(readings: int, mix: Mix, dice: random.Random) -> Mapping[int, str]:
    """Which readings something happens to. The last minutes stay clean: what is late there has nothing to miss."""
    kinds = ["duplicate"] * mix.duplicates + ["implausible"] * mix.implausible
    kinds += ["broken"] * mix.broken + ["ahead"] * mix.ahead + ["late"] * mix.late
    return dict(zip(dice.sample(range(readings * 4 // 5), len(kinds)), kinds, strict=True))


def _delay_ms(kind: str | None, dice: random.Random) -> int:
    if kind == "late":
        return dice.randint(4 * 60_000, 7 * 60_000)
    if kind is None and dice.random() < OUT_OF_ORDER_SHARE:
        return dice.randint(1_000, OUT_OF_ORDER_MS_MAX)
    return dice.randint(5, 50)


def _reading(truck: int, event_ms: int, minute: float, warmth: float, dice: random.Random) -> dict[str, Any]:
    return {
        "device_id": f"truck-{truck:02d}",
        "event_time": _iso(event_ms),
        "site": SITES[truck % len(SITES)],
        "temperature": round(dice.gauss(warmth, 1.5), 2),
        "battery": 100 - int(minute) // 2 - truck % 7,
        "location": {"lat": round(45 + truck / 10 + minute / 100, 4), "lon": round(9 + truck / 20, 4)},
    }


def _iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
