"""Delta tables: the sink, and what reads, proves and resets them."""

from __future__ import annotations

from streamproc.sinks.delta.handle import uri_of
from streamproc.sinks.delta.read import Existing, head, inspect, row_count, scan
from streamproc.sinks.delta.reset import Restart, reset
from streamproc.sinks.delta.sink import DeltaSink
from streamproc.sinks.delta.verify import LeftOut, Problem, Verification, counters, verify

__all__ = [
    "DeltaSink",
    "Existing",
    "LeftOut",
    "Problem",
    "Restart",
    "Verification",
    "counters",
    "head",
    "inspect",
    "reset",
    "row_count",
    "scan",
    "uri_of",
    "verify",
]
