"""Time as the in-memory broker and its drivers know it: it passes only when told to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Protocol

from streamproc.flow.duration import Duration, microseconds

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
START = datetime(2026, 1, 1, tzinfo=UTC)
"""When a virtual clock starts unless told otherwise."""


class Clock(Protocol):
    """What tells the time."""

    def now(self) -> int:
        """Microseconds since 1970-01-01 UTC; never goes back."""
        ...


class VirtualClock:
    """A clock that stands still until it is moved.

    Args:
        start: first moment; a naive one is taken as UTC.

    >>> clock = VirtualClock(datetime(2026, 1, 1, 8, 0))
    >>> clock.advance("1m30s")
    >>> clock.moment.isoformat()
    '2026-01-01T08:01:30+00:00'
    """

    def __init__(self, start: datetime = START) -> None:
        aware = start if start.tzinfo else start.replace(tzinfo=UTC)
        self._now = (aware - _EPOCH) // timedelta(microseconds=1)

    def now(self) -> int:
        """Microseconds since 1970-01-01 UTC."""
        return self._now

    @property
    def moment(self) -> datetime:
        """The time as a datetime in UTC."""
        return _EPOCH + timedelta(microseconds=self._now)

    def advance(self, duration: Duration) -> None:
        """Move on by `duration`.

        Raises:
            ValueError: not a duration, or a negative one.
        """
        us = microseconds(duration)
        if us < 0:
            raise ValueError(f"time does not go back: {duration!r}")
        self._now += us
