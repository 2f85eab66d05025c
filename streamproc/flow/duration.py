"""Durations as users write them: "500ms", "10s", "1m", "1h30m", "1d"."""

from __future__ import annotations

import re
from datetime import timedelta

Duration = str | timedelta

_UNITS = {
    "us": 1,
    "ms": 1_000,
    "s": 1_000_000,
    "m": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
    "w": 604_800_000_000,
}
_PART = re.compile(r"(\d+)(us|ms|s|m|h|d|w)")


def microseconds(duration: Duration) -> int:
    """Length of a duration in microseconds.

    Raises:
        ValueError: not a duration; the message says what one looks like.

    >>> microseconds("1h30m"), microseconds(timedelta(seconds=2))
    (5400000000, 2000000)
    """
    if isinstance(duration, timedelta):
        return duration // timedelta(microseconds=1)
    parts = _PART.findall(duration) if isinstance(duration, str) else []
    if not parts or "".join(n + unit for n, unit in parts) != duration:
        raise ValueError(f'{duration!r} is not a duration; write "500ms", "10s", "1m", "1h30m", "1d" or a timedelta')
    return sum(int(n) * _UNITS[unit] for n, unit in parts)


def text(us: int) -> str:
    """A length in microseconds as people write it.

    >>> text(5_400_000_000), text(0), text(500_000)
    ('1h30m', '0s', '500ms')
    """
    if us == 0:
        return "0s"
    out = "-" if us < 0 else ""
    rest = abs(us)
    for unit in ("d", "h", "m", "s", "ms", "us"):
        n, rest = divmod(rest, _UNITS[unit])
        out += f"{n}{unit}" if n else ""
    return out
