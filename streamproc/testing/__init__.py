"""Test a topology with pytest: the real code, in memory, on a clock that the test moves. See `TopologyTest`."""

from __future__ import annotations

from streamproc.testing.kit import TopologyTest
from streamproc.testing.recut import recut

__all__ = ["TopologyTest", "recut"]
