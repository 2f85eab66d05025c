"""Patience with a lake that fails for a moment: growing pauses, a log line each, an end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence

from streamproc.sinks.delta import problems

BRIEF = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Pauses in seconds where a person waits: 1.6 s in total."""

PATIENT = (*BRIEF, 1.6, 3.2, 5.0, 5.0, 5.0, 5.0, 5.0)
"""Those of a job: 31 s in total, for an object store or a network disk that comes back."""

Sleep = Callable[[float], None]
"""Waits, in seconds, between attempts. Simulations bring their own."""

_log = logging.getLogger(__name__)


class Retry:
    """One thing that is tried until it works or its pauses are used up.

    Args:
        uri: of the table.
        doing: "written" or "read".
        sleep: waits, in seconds.
        pauses: in seconds, one after each attempt but the last.
    """

    def __init__(self, uri: str, doing: str, sleep: Sleep, pauses: Sequence[float] = PATIENT) -> None:
        self._uri = uri
        self._doing = doing
        self._sleep = sleep
        self._pauses: Iterator[float] = iter(pauses)

    def after(self, error: BaseException) -> None:
        """Wait before another attempt.

        Raises:
            TableError: none is left, or none can help (disk full, no right to write).
        """
        seconds = None if problems.is_hopeless(error) else next(self._pauses, None)
        if seconds is None:
            raise problems.unreachable(self._uri, error, self._doing) from error
        _log.warning("%s can't be %s, trying again in %g s: %s", self._uri, self._doing, seconds, error)
        self._sleep(seconds)
