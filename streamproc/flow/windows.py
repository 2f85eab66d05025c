"""Windows to group by."""

from __future__ import annotations

from dataclasses import dataclass

from streamproc.flow import arguments
from streamproc.flow.duration import Duration, text
from streamproc.flow.location import caller


@dataclass(frozen=True, slots=True)
class Tumbling:
    """Windows [k * every + offset, (k + 1) * every + offset), counted from 1970-01-01 UTC. In microseconds."""

    every: int
    offset: int = 0

    def __str__(self) -> str:
        return text(self.every) + (f" from {text(self.offset)}" if self.offset else "")


Window = Tumbling


def tumbling(every: Duration, *, offset: Duration = "0s") -> Tumbling:
    """Windows of a fixed length that follow each other.

    Args:
        every: their length, at least 1 ms.
        offset: shifts their edges, e.g. "15m" for hours that start at quarter past.

    Raises:
        TopologyError: SP101 not a duration, or below 1 ms.

    >>> str(tumbling("1m"))
    '1m'
    """
    at = caller()
    length = arguments.duration(at, "every", every, least=1_000)
    return Tumbling(length, arguments.duration(at, "offset", offset, least=-length) % length)
