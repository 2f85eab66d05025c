"""The answer of the job `tests/kafka/jobs/readings.py`, one record at a time, from what was produced.

Plain Python that shares nothing with the engine: a slow reading of the rules. Times are microseconds since 1970.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import dataclass, field

SECOND = 1_000_000
LATENESS, AHEAD, WITHIN, WINDOW = 20 * SECOND, 3600 * SECOND, 60 * SECOND, 10 * SECOND


@dataclass
class Answer:
    """What the tables must hold, as multisets of rows."""

    silver: Counter[tuple[int, int, int]] = field(default_factory=Counter)  # partition, offset, id
    gold: Counter[tuple[int, str, int, int, float, int]] = field(default_factory=Counter)
    rejected: Counter[tuple[int, int]] = field(default_factory=Counter)  # partition, offset
    late: Counter[tuple[int, int, str]] = field(default_factory=Counter)  # partition, offset, step
    duplicates: int = 0


def answer(logs: dict[int, list[tuple[int, int, bytes | None]]]) -> Answer:
    """Args:
    logs: partition -> (offset, Kafka timestamp in ms, value) in the order of the log.
    """
    result = Answer()
    for partition, log in logs.items():
        _partition(partition, log, result)
    return result


def _partition(partition: int, log: list[tuple[int, int, bytes | None]], result: Answer) -> None:
    newest: int | None = None
    kept: dict[str, list[int]] = {}
    windows: dict[tuple[int, str], list[tuple[int, int, float, int]]] = {}
    for offset, timestamp, value in log:
        row = _parse(value)
        if row is None or row["at"] > timestamp * 1000 + AHEAD:
            result.rejected[partition, offset] += 1
            continue
        at, device = row["at"], row["device"]
        newest = at if newest is None else max(newest, at)
        watermark = newest - LATENESS
        for key in [key for key in windows if key[0] + WINDOW <= watermark]:
            _close(key, windows.pop(key), result)
        if row["celsius"] is None or not -60 <= row["celsius"] <= 80:
            result.rejected[partition, offset] += 1
            continue
        if at < watermark - WITHIN:
            result.late[partition, offset, "deduplicate"] += 1
            continue
        if any(abs(at - other) <= WITHIN and at == other for other in kept.get(device, ())):
            result.duplicates += 1
            continue
        kept.setdefault(device, []).append(at)
        result.silver[partition, offset, row["id"]] += 1
        start = at // WINDOW * WINDOW
        if start + WINDOW <= watermark:
            result.late[partition, offset, "group_by"] += 1
        else:
            windows.setdefault((start, device), []).append((at, offset, row["celsius"], row["id"]))


def _close(key: tuple[int, str], rows: list[tuple[int, int, float, int]], result: Answer) -> None:
    values = [celsius for _, _, celsius, _ in rows]
    hot = sum(celsius > 20 for celsius in values)
    result.gold[key[0], key[1], len(rows), hot, sum(values), max(rows)[3]] += 1


def _parse(value: bytes | None) -> dict | None:
    try:
        row = json.loads(value or b"")
    except ValueError:
        return None
    if not isinstance(row, dict) or not isinstance(row.get("device"), str) or not isinstance(row.get("at"), int):
        return None
    return row


def generate(count: int, seed: int, start_ms: int) -> list[tuple[str, int, bytes | None]]:
    """Messages as (device, Kafka timestamp in ms, value): repeated, disordered, late, broken, implausible, ahead."""
    dice = random.Random(seed)
    sent: list[tuple[str, bytes]] = []
    out: list[tuple[str, int, bytes | None]] = []
    for i in range(count):
        clock = start_ms + i * 5
        kind = dice.random()
        device = f"device-{dice.randrange(20)}"
        delay = dice.choice([0, 0, 0, dice.randrange(15_000), dice.randrange(40_000), dice.randrange(120_000)])
        row = {"id": i, "device": device, "at": (clock - delay) * 1000, "celsius": dice.randrange(-80, 80) / 2}
        if kind < 0.05 and sent:
            device, value = sent[-dice.randrange(1, min(len(sent), 200) + 1)]
            out.append((device, clock, value))
            continue
        if kind < 0.06:
            out.append((device, clock, dice.choice([b"{broken", b"", None, b'{"device": 1', b'["list"]'])))
            continue
        if kind < 0.07:
            row["celsius"] = dice.choice([999.0, None])
        elif kind < 0.08:
            row["at"] = (clock + 7_200_000) * 1000
        value = json.dumps(row).encode()
        sent.append((device, value))
        out.append((device, clock, value))
    return out
