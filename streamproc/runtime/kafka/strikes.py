"""What may happen now and then, but not again and again."""

from __future__ import annotations

import time


class Strikes:
    """Args:
    most: how often within the time is fine.
    within_s: that time, in seconds.
    """

    def __init__(self, most: int, within_s: float) -> None:
        self._most = most
        self._within_s = within_s
        self._at: list[float] = []

    def add(self) -> bool:
        """One more, now; returns whether that is too many."""
        now = time.monotonic()
        self._at = [at for at in self._at if now - at < self._within_s] + [now]
        return len(self._at) > self._most

    def clear(self) -> None:
        """Forget them all."""
        self._at.clear()
